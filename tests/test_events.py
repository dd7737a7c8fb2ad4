import json
from datetime import UTC, datetime, timedelta
from typing import Any

import boto3
import pytest

from chalicelib import items, rows
from chalicelib.deaths import MOST, SUSPECT
from chalicelib.errors import Throttled
from chalicelib.events import LONGEST_MESSAGE, Messages, ObjectsChanged, RowsChanged, item_failures
from chalicelib.notifications import notification_of
from chalicelib.queue import Message
from chalicelib.settings import Settings
from chalicelib.state import State
from tests.crash_points import Crash
from tests.lambda_events import context
from tests.log_lines import log_lines

CREATED = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


@pytest.fixture
def state(settings: Settings) -> State:
    """As changes are handed over at once."""
    return State(boto3.client("dynamodb"), settings.state_table, lambda: CREATED)


def messages(*bodies: str) -> Any:
    """https://docs.aws.amazon.com/lambda/latest/dg/with-sqs.html"""
    return {
        "Records": [
            {
                "messageId": f"m{number}",
                "receiptHandle": f"handle {number}",
                "body": body,
                "attributes": {"ApproximateReceiveCount": str(number), "SentTimestamp": "1545082649183"},
                "messageAttributes": {},
                "md5OfBody": "e4e68fb7bd0e697a0ae8f1bb342846b3",
                "eventSource": "aws:sqs",
                "eventSourceARN": "arn:aws:sqs:us-east-2:123456789012:my-queue",
                "awsRegion": "us-east-2",
            }
            for number, body in enumerate(bodies, start=1)
        ]
    }


def changes(*keys: str) -> Any:
    """https://docs.aws.amazon.com/lambda/latest/dg/with-ddb.html"""
    return {
        "Records": [
            {
                "eventID": f"e{number}",
                "eventName": "INSERT",
                "dynamodb": {
                    "ApproximateCreationDateTime": CREATED.timestamp(),
                    "Keys": items.marshal(rows.image_key(key)),
                    "NewImage": items.marshal({**rows.image_key(key), "size": number}),
                    "SequenceNumber": str(number),
                },
            }
            for number, key in enumerate(keys, start=1)
        ]
    }


def test_an_event_of_the_bucket_names_its_keys_and_stays_at_hand() -> None:
    event = notification_of("a b.png")

    changed = ObjectsChanged(event, context=None)

    assert changed.keys == ["a b.png"]
    assert changed.to_dict() == event


def test_messages_tell_how_often_they_were_received() -> None:
    assert list(Messages(messages("one", "two"), None)) == [
        Message("m1", "one", "handle 1", 1),
        Message("m2", "two", "handle 2", 2),
    ]


def test_what_is_not_done_with_comes_again() -> None:
    event = Messages(messages("done", "again", "done"), None)

    told = event.handled(lambda message: message.body == "done")

    assert told == {"batchItemFailures": [{"itemIdentifier": "m2"}]}


def test_when_all_is_done_nothing_comes_again() -> None:
    assert item_failures([]) == {"batchItemFailures": []}


def test_a_change_of_a_row_is_handed_over_as_it_was_and_as_it_is(state: State) -> None:
    event = changes("a.png", "b.png", "c.png")
    _, changed, deleted = (record["dynamodb"] for record in event["Records"])
    changed["OldImage"] = items.marshal({"size": 1})
    deleted["OldImage"] = deleted.pop("NewImage")
    handed: list[Any] = []
    aside: list[str] = []

    told = RowsChanged(event, None).handled(
        lambda before, after: handed.append((before, after)), aside.append, state
    )

    assert told == {"batchItemFailures": []}
    assert handed == [
        (None, {"source_file": "a.png", "entry": "image", "size": 1}),
        ({"size": 1}, {"source_file": "b.png", "entry": "image", "size": 2}),
        ({"source_file": "c.png", "entry": "image", "size": 3}, None),
    ]


def test_an_event_without_changes_is_handled(state: State) -> None:
    aside: list[str] = []

    told = RowsChanged({"Records": []}, None).handled(lambda *_: None, aside.append, state)

    assert told == {"batchItemFailures": []}


def test_a_change_that_fails_costs_its_neighbours_nothing_and_is_where_lambda_goes_on(state: State) -> None:
    done: list[str] = []
    aside: list[str] = []

    def handle(_: Any, row: Any) -> None:
        if row["source_file"] == "b.png":
            raise KeyError("status")
        if row["source_file"] in ("d.png", "e.png"):
            raise Throttled("slower")
        done.append(row["source_file"])

    event = changes("a.png", "b.png", "c.png", "d.png", "e.png", "f.png")
    with log_lines() as lines:
        told = RowsChanged(event, None).handled(handle, aside.append, state)

    assert done == ["a.png", "c.png", "f.png"]
    assert told == {"batchItemFailures": [{"itemIdentifier": "4"}]}
    assert [json.loads(each) for each in aside] == [event["Records"][1]["dynamodb"]]
    assert lines.facts("level", "outcome", "image", "record") == [
        {"level": "ERROR", "outcome": "crashed", "image": "b.png", "record": "2"},
        {"level": "WARNING", "outcome": "throttled", "image": "d.png", "record": "4"},
        {"level": "WARNING", "outcome": "throttled", "image": "e.png", "record": "5"},
    ]


def test_a_change_that_cannot_be_read_is_put_aside_alone(state: State) -> None:
    event = changes("a.png", "b.png", "c.png")
    event["Records"][0]["dynamodb"]["NewImage"] = {"size": {"N": "much"}}
    done: list[Any] = []
    aside: list[str] = []

    told = RowsChanged(event, None).handled(
        lambda _, row: done.append(row and row["source_file"]), aside.append, state
    )

    assert (done, told, len(aside)) == (["b.png", "c.png"], {"batchItemFailures": []}, 1)


def test_a_change_that_cannot_be_put_aside_comes_again(state: State) -> None:
    def handle(*_: Any) -> None:
        raise KeyError("status")

    def put_aside(_: str) -> None:
        raise Throttled("slower")

    told = RowsChanged(changes("a.png"), None).handled(handle, put_aside, state)

    assert told == {"batchItemFailures": [{"itemIdentifier": "1"}]}


def test_of_a_change_too_long_for_a_message_there_is_where_it_stands(state: State) -> None:
    event = changes("a.png")
    change = event["Records"][0]["dynamodb"]
    change["NewImage"]["text"] = {"S": "x" * LONGEST_MESSAGE}
    aside: list[str] = []

    def handle(*_: Any) -> None:
        raise KeyError("status")

    RowsChanged(event, None).handled(handle, aside.append, state)

    assert [json.loads(each) for each in aside] == [{"Keys": change["Keys"], "SequenceNumber": "1"}]


@pytest.mark.parametrize(
    ("keys", "age", "is_put_aside"),
    [
        pytest.param(["a.png"], SUSPECT, True, id="late and alone"),
        pytest.param(["a.png"], SUSPECT - timedelta(seconds=1), False, id="new"),
        pytest.param(["a.png", "b.png"], SUSPECT, False, id="in company, that would be halved"),
    ],
)
def test_a_change_that_functions_die_of_is_put_aside_once_it_is_known(
    state: State, keys: list[str], age: timedelta, is_put_aside: bool
) -> None:
    event = changes(*keys)
    state.now = lambda: CREATED + age
    aside: list[str] = []

    outcomes = [attempted(event, aside, state) for _ in range(MOST + 1)]

    assert outcomes == ["death"] * MOST + ["end" if is_put_aside else "death"]
    assert [json.loads(each) for each in aside] == [event["Records"][0]["dynamodb"]] * is_put_aside


def attempted(event: Any, aside: list[str], state: State) -> str:
    """What becomes of a function that dies of whatever change it begins with."""

    def die(*_: Any) -> None:
        raise Crash

    try:
        RowsChanged(event, context()).handled(die, aside.append, state)
    except Crash:
        return "death"
    return "end"
