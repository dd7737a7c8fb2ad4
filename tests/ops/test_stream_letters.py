"""What functions could not tell of a change of a picture's row is made up for by `python -m ops redrive`."""

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import boto3
import pytest
from botocore.exceptions import ReadTimeoutError

from chalicelib.dispatching import Dispatching
from chalicelib.errors import ServiceFailed
from chalicelib.indexing import Indexing
from chalicelib.model import Label
from chalicelib.queue import NO_LONGER_OURS
from chalicelib.services import Services
from chalicelib.settings import Settings
from local_cloud.clock import SystemClock
from local_cloud.functions import Function, FunctionSettings
from ops import redrive
from ops.account import Account
from ops.configuration import SIZES
from ops.problems import Problem
from ops.stage import Stage
from ops.stream_letters import _LONGEST, READERS
from tests.answered import Answered
from tests.crash_points import Crash
from tests.faults import json_error, plan, raising
from tests.lambda_events import changes
from tests.ops.conftest import Screen
from tests.ops.lambda_service import invoking

KEY = "a/é #1.png"
DOG = Label("Dog", 98.1)


@pytest.fixture
def services(settings: Settings) -> Services:
    return Services(replace(settings, callback_url="https://hooks.example.com/"))


@pytest.fixture
def deployed(
    services: Services, project: Path, app_module: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Stage]:
    """A stage with a picture that has an answer of which nobody was told."""
    stage = Stage(services.settings.stage, project)
    monkeypatch.setattr(app_module, "services", services)
    Answered(services.claims, services.store).label(KEY, DOG)
    functions = {
        name: Function(name, app_module.app.handler_map[handler], FunctionSettings(), SystemClock())
        for handler in READERS
        for name in [stage.function_name(handler)]
    }
    with invoking(functions) as url:
        monkeypatch.setenv("AWS_ENDPOINT_URL_LAMBDA", url)
        yield stage


def put_aside(services: Services, *letters: Any) -> None:
    for letter in letters:
        services.stream_dead_letters.send(json.dumps(letter))


def left(services: Services) -> list[Any]:
    """What may be received at once."""
    client = boto3.client("sqs")
    url = services.settings.stream_dead_letters_url
    answer = client.receive_message(QueueUrl=url, MaxNumberOfMessages=10, VisibilityTimeout=0)
    return [json.loads(message["Body"]) for message in answer.get("Messages", [])]


def changes_of(services: Services) -> list[Any]:
    records = changes(services.settings.images_stream_arn)["Records"]
    told = [record["dynamodb"] for record in records]
    return [change for change in told if change["Keys"]["entry"] == {"S": "image"}]


def place_of(services: Services, stage: Stage, reader: str, told: list[Any]) -> Any:
    """https://docs.aws.amazon.com/lambda/latest/dg/services-dynamodb-errors.html"""
    arn = services.settings.images_stream_arn
    described = boto3.client("dynamodbstreams").describe_stream(StreamArn=arn)["StreamDescription"]
    function = f"arn:aws:lambda:us-east-1:123456789012:function:{stage.function_name(reader)}"
    return {
        "requestContext": {"functionArn": function, "condition": "RecordAgeExceeded"},
        "DDBStreamBatchInfo": {
            "shardId": described["Shards"][0]["ShardId"],
            "startSequenceNumber": told[0]["SequenceNumber"],
            "endSequenceNumber": told[-1]["SequenceNumber"],
            "batchSize": len(told),
            "streamArn": arn,
        },
    }


def in_short(change: Any) -> Any:
    return {name: change[name] for name in ("Keys", "SequenceNumber")}


def is_told(services: Services) -> tuple[bool, bool]:
    """Whether there is a callback of it, and whether it is found."""
    announced = services.callbacks.of_image(KEY, services.now())
    return len(announced) == 1, len(list(services.search.names("", "", 10))) == 1


def failing_by(failure: BaseException) -> Callable[..., None]:
    def fail(*_: Any) -> None:
        raise failure

    return fail


@pytest.mark.parametrize("letter_of", [lambda change: change, in_short], ids=["whole", "in short"])
def test_a_change_that_was_put_aside_is_told_to_all_who_read_the_stream(
    letter_of: Callable[[Any], Any], deployed: Stage, services: Services, screen: Screen
) -> None:
    put_aside(services, *map(letter_of, changes_of(services)))
    assert is_told(services) == (False, False)

    redrive.run(deployed, "stream", screen)

    assert is_told(services) == (True, True)
    assert left(services) == []
    count = len(changes_of(services))
    assert screen.lines == [f"Handed on {count} of {deployed.prefix}-stream-dead-letters."]


@pytest.mark.parametrize(("reader", "told"), [("notify", (True, False)), ("index_image", (False, True))])
def test_what_lambda_gave_up_is_read_from_the_stream(
    reader: str, told: tuple[bool, bool], deployed: Stage, services: Services, screen: Screen
) -> None:
    put_aside(services, place_of(services, deployed, reader, changes_of(services)))

    redrive.run(deployed, "stream", screen)

    assert is_told(services) == told
    assert left(services) == []


def test_what_was_told_already_is_told_to_nobody_again(
    deployed: Stage, services: Services, screen: Screen
) -> None:
    for _ in range(2):
        put_aside(services, *changes_of(services))
        redrive.run(deployed, "stream", screen)

    assert is_told(services) == (True, True)


@pytest.mark.parametrize(
    ("failure", "reason"),
    [(Crash(), "-index_image failed"), (ServiceFailed("no answer"), "could not reach DynamoDB or SQS")],
    ids=["it dies", "an outage"],
)
def test_a_function_that_fails_again_costs_no_change(
    failure: BaseException,
    reason: str,
    deployed: Stage,
    services: Services,
    screen: Screen,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    told = changes_of(services)
    put_aside(services, *told)
    with monkeypatch.context() as patch:
        patch.setattr(Indexing, "index", failing_by(failure))

        with pytest.raises(Problem, match=f"{len(told)} are left in .*{reason}.* run the same command again"):
            redrive.run(deployed, "stream", screen)

    assert is_told(services) == (True, False)
    redrive.run(deployed, "stream", screen)
    assert is_told(services) == (True, True)


def test_what_is_put_aside_once_more_waits_for_the_next_time(
    deployed: Stage, services: Services, screen: Screen, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_aside(services, change := changes_of(services)[-1])
    with monkeypatch.context() as patch:
        patch.setattr(Dispatching, "announce", failing_by(KeyError("status")))

        redrive.run(deployed, "stream", screen)

    [again] = left(services)
    assert again["SequenceNumber"] == change["SequenceNumber"]
    assert is_told(services) == (False, True)


def test_what_functions_died_of_before_is_tried_all_the_same(
    deployed: Stage, services: Services, screen: Screen, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The counter of deaths is for Lambda's tries, and remembers a day."""
    monkeypatch.setattr("chalicelib.deaths.MOST", 0)
    put_aside(services, {**changes_of(services)[-1], "ApproximateCreationDateTime": 0})

    redrive.run(deployed, "stream", screen)

    assert is_told(services) == (True, True)


@pytest.mark.parametrize("code", ["TrimmedDataAccessException", "ResourceNotFoundException"])
def test_what_the_stream_has_forgotten_is_left_and_said(
    code: str, deployed: Stage, services: Services, screen: Screen, monkeypatch: pytest.MonkeyPatch
) -> None:
    letter = place_of(services, deployed, "notify", changes_of(services))
    put_aside(services, letter)
    session = boto3.Session()
    plan(session.events, "dynamodb-streams.GetShardIterator", json_error(400, code))
    monkeypatch.setattr(redrive, "Account", lambda: Account(session))

    with pytest.raises(Problem, match=r"the stream, which remembers a day, has forgotten"):
        redrive.run(deployed, "stream", screen)

    assert left(services) == [letter]


def test_a_change_that_the_stream_does_not_end_with_is_forgotten_too(
    deployed: Stage, services: Services, screen: Screen
) -> None:
    letter = place_of(services, deployed, "notify", changes_of(services))
    letter["DDBStreamBatchInfo"]["startSequenceNumber"] = letter["DDBStreamBatchInfo"]["endSequenceNumber"]
    letter["DDBStreamBatchInfo"]["endSequenceNumber"] = "0"
    put_aside(services, letter)

    with pytest.raises(Problem, match="has forgotten a change"):
        redrive.run(deployed, "stream", screen)


def test_a_row_that_is_gone_cannot_be_told_of_in_full(
    deployed: Stage, services: Services, screen: Screen
) -> None:
    put_aside(
        services, {"Keys": {"source_file": {"S": "gone.png"}, "entry": {"S": "image"}}, "SequenceNumber": "1"}
    )

    with pytest.raises(Problem, match=r"the row of 'gone.png' is gone by now"):
        redrive.run(deployed, "stream", screen)


@pytest.mark.parametrize("letter", ["", "[]", "7", "{}", '{"DDBStreamBatchInfo": {"shardId": ""}}'])
def test_what_is_no_letter_of_the_stream_is_left_and_said(
    letter: str, deployed: Stage, services: Services, screen: Screen
) -> None:
    services.stream_dead_letters.send(letter or "no JSON")

    with pytest.raises(Problem, match=r"1 are left in .*: a message is no change of a row"):
        redrive.run(deployed, "stream", screen)


def test_a_function_that_does_not_answer_in_time_is_asked_once_and_holds_up_no_other_letter(
    deployed: Stage, services: Services, screen: Screen, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_aside(services, *(change := changes_of(services)[-1], {**change, "SequenceNumber": "1"}))
    session, timeout = boto3.Session(), ReadTimeoutError(endpoint_url="https://lambda.example")
    sent = plan(session.events, "lambda.Invoke", raising(timeout))
    monkeypatch.setattr(redrive, "Account", lambda: Account(session))

    with pytest.raises(Problem, match=r"1 are left in .*: \S+-notify did not answer: Read timeout"):
        redrive.run(deployed, "stream", screen)

    assert len(sent) == 1 + len(READERS)
    assert len(left(services)) == 1
    assert is_told(services) == (True, True)


def test_no_reader_runs_for_longer_than_it_is_waited_for() -> None:
    assert all(SIZES[reader].timeout < _LONGEST for reader in READERS)


@pytest.mark.parametrize("code", NO_LONGER_OURS)
def test_a_letter_whose_time_was_up_meanwhile_takes_nobodys_reason_away(
    code: str, deployed: Stage, services: Services, screen: Screen, monkeypatch: pytest.MonkeyPatch
) -> None:
    services.stream_dead_letters.send("no JSON")
    services.stream_dead_letters.send("nor this")
    session = boto3.Session()
    sent = plan(session.events, "sqs.ChangeMessageVisibility", json_error(400, code))
    monkeypatch.setattr(redrive, "Account", lambda: Account(session))

    with pytest.raises(Problem, match=r"2 are left in .*: a message is no change of a row"):
        redrive.run(deployed, "stream", screen)

    assert len(sent) == 2


def test_letters_are_not_hidden_by_a_command_that_ends_half_way(
    deployed: Stage, services: Services, screen: Screen, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_aside(services, *changes_of(services))
    monkeypatch.setenv("AWS_ENDPOINT_URL_LAMBDA", services.settings.images_bucket)  # which is no URL

    with pytest.raises(ValueError, match="Invalid endpoint"):
        redrive.run(deployed, "stream", screen)

    assert len(left(services)) == len(changes_of(services))
