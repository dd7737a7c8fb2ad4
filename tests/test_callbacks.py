from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import boto3
import pytest
from botocore.config import Config

from chalicelib import items, rows
from chalicelib.callback import Callback, PastAttempt, State
from chalicelib.callbacks import EARLY, GRACE, HANDOVER, LEASE, LIFE, Callbacks, Due
from chalicelib.errors import AccessLost, Retryable, ServiceFailed, Throttled
from chalicelib.settings import Settings
from tests import faults

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

NOW = datetime(2026, 1, 2, 3, 4, 5, 678_900, UTC)
KEY, EVENT = "a/car #1.png", "evt_0123456789abcdef0123456789abcdef"
CALLBACK = Callback(
    source_file=KEY,
    event_id=EVENT,
    type="image.labelled",
    url="https://example.com/hook?token=5ec2e7",
    host="example.com",
    body='{"type":"image.labelled"}',
    created_at="2026-01-02T03:04:05Z",
    started_at=NOW.timestamp(),
    due_at=NOW.timestamp(),
    round="first",
)
FAILED = PastAttempt("2026-01-02T03:04:05Z", "5xx", 12)
UPDATE = "dynamodb.UpdateItem"
MINUTE = timedelta(minutes=1)

Row = Callable[[], dict[str, Any]]


@pytest.fixture
def client(endpoint: object) -> "DynamoDBClient":
    return boto3.client("dynamodb", config=Config(retries={"total_max_attempts": 2}))


@pytest.fixture
def callbacks(client: "DynamoDBClient", settings: Settings) -> Callbacks:
    return Callbacks(client, settings.images_table)


@pytest.fixture
def row(client: "DynamoDBClient", settings: Settings) -> Row:
    """The row as it stands in the table."""

    def read() -> dict[str, Any]:
        key = items.marshal({"source_file": KEY, "entry": f"delivery#{EVENT}"})
        return items.unmarshal(client.get_item(TableName=settings.images_table, Key=key)["Item"])

    return read


@pytest.fixture
def pending(callbacks: Callbacks) -> Callback:
    assert callbacks.announce(CALLBACK, NOW)
    return CALLBACK


def due_at(moment: datetime) -> str:
    return rows.position(KEY, moment)


def claimed(callbacks: Callbacks, now: datetime = NOW) -> Callback:
    callback = callbacks.claim(KEY, EVENT, "mine", now)
    assert callback is not None
    return callback


def failed(callback: Callback, wait: timedelta = MINUTE) -> Callback:
    return replace(callback, attempts=(*callback.attempts, FAILED), due_at=(NOW + wait).timestamp())


def test_a_callback_is_a_row_beside_its_image_for_thirty_days(callbacks: Callbacks, row: Row) -> None:
    assert callbacks.announce(CALLBACK, NOW) is True

    written = row()
    assert {name: written.pop(name) for name in ("entry", "status_key", "expires_at", "schema")} == {
        "entry": f"delivery#{EVENT}",
        "status_key": "due#0",
        "expires_at": int((NOW + LIFE).timestamp()),
        "schema": 1,
    }
    assert written.pop("updated_at") == due_at(NOW + GRACE)
    assert written.pop("lease_until") == 0
    assert items.read(written, dict) == {
        **{name: value for name, value in vars(CALLBACK).items() if name != "event_id"},
        "attempts": [],
    }


def test_an_event_has_one_row_however_often_it_is_announced(
    callbacks: Callbacks, pending: Callback, row: Row
) -> None:
    before = row()

    again = replace(CALLBACK, body="another", round="second")

    assert callbacks.announce(again, NOW + MINUTE) is False
    assert row() == before


def test_an_announcement_whose_answer_is_lost_is_known_for_ones_own(
    callbacks: Callbacks, client: "DynamoDBClient"
) -> None:
    sent = faults.plan(client.meta.events, UPDATE, faults.lose_answer)

    assert callbacks.announce(CALLBACK, NOW) is True
    assert len(sent) == 2


def test_what_is_due_is_claimed_once(callbacks: Callbacks, pending: Callback, row: Row) -> None:
    first = callbacks.claim(KEY, EVENT, "mine", NOW)
    second = callbacks.claim(KEY, EVENT, "another's", NOW)

    assert (first, second) == (CALLBACK, None)
    assert row()["updated_at"] == due_at(NOW + HANDOVER)


def test_a_claim_whose_answer_is_lost_is_known_for_ones_own(
    callbacks: Callbacks, pending: Callback, client: "DynamoDBClient"
) -> None:
    faults.plan(client.meta.events, UPDATE, faults.lose_answer)

    assert callbacks.claim(KEY, EVENT, "mine", NOW) == CALLBACK


def test_who_died_leaves_his_claim_to_the_next(callbacks: Callbacks, pending: Callback) -> None:
    claimed(callbacks)

    early = callbacks.claim(KEY, EVENT, "another's", NOW + LEASE - timedelta(seconds=1))
    late = callbacks.claim(KEY, EVENT, "another's", NOW + LEASE)

    assert (early, late) == (None, CALLBACK)


def test_what_is_unknown_is_not_claimed(callbacks: Callbacks) -> None:
    assert callbacks.claim(KEY, EVENT, "mine", NOW) is None


def test_a_failed_attempt_and_the_time_of_the_next_are_one_write(
    callbacks: Callbacks, pending: Callback, client: "DynamoDBClient", row: Row
) -> None:
    after = failed(claimed(callbacks))
    sent = faults.plan(client.meta.events, UPDATE)

    assert callbacks.record(after, "mine", NOW + MINUTE) is True

    assert len(sent) == 1
    assert row()["updated_at"] == due_at(NOW + MINUTE)
    assert callbacks.of_image(KEY, NOW) == [after]


@pytest.mark.parametrize(
    ("seconds", "is_due"), [(0, False), (60 - EARLY - 0.1, False), (60 - EARLY, True), (600, True)]
)
def test_the_next_attempt_is_not_made_before_it_is_due(
    seconds: float, is_due: bool, callbacks: Callbacks, pending: Callback
) -> None:
    callbacks.record(failed(claimed(callbacks)), "mine", NOW + MINUTE)

    callback = callbacks.claim(KEY, EVENT, "again", NOW + timedelta(seconds=seconds))

    assert (callback is not None) is is_due


def test_a_record_whose_answer_is_lost_is_written_once(
    callbacks: Callbacks, pending: Callback, client: "DynamoDBClient"
) -> None:
    after = failed(claimed(callbacks))
    faults.plan(client.meta.events, UPDATE, faults.lose_answer)

    assert callbacks.record(after, "mine", NOW + MINUTE) is True
    assert callbacks.of_image(KEY, NOW) == [after]


def test_who_has_lost_his_claim_records_nothing(callbacks: Callbacks, pending: Callback) -> None:
    late = failed(claimed(callbacks))
    callbacks.claim(KEY, EVENT, "another's", NOW + LEASE)

    assert callbacks.record(late, "mine", NOW + MINUTE) is False
    assert callbacks.of_image(KEY, NOW) == [CALLBACK]


@pytest.mark.parametrize("state", [State.DELIVERED, State.GONE, State.EXHAUSTED])
def test_what_is_over_waits_for_nobody_and_is_never_claimed(
    state: State, callbacks: Callbacks, pending: Callback
) -> None:
    over = replace(claimed(callbacks), state=state)

    assert callbacks.record(over, "mine", None) is True

    assert callbacks.due(NOW + LIFE, 10) == []
    assert callbacks.claim(KEY, EVENT, "again", NOW + LEASE) is None
    assert callbacks.of_image(KEY, NOW) == [over]


def test_what_is_due_is_found_with_the_longest_waiting_first(callbacks: Callbacks) -> None:
    for minutes in (3, 1, 2):
        callback = replace(CALLBACK, event_id=f"evt_{minutes}", round=str(minutes))
        callbacks.announce(callback, NOW + minutes * MINUTE)

    found = callbacks.due(NOW + 3 * MINUTE + timedelta(seconds=1), 10)
    first = callbacks.due(NOW + LIFE, 1)

    assert [(due.source_file, due.event_id, due.moment) for due in found] == [
        (KEY, "evt_1", NOW + MINUTE + GRACE),
        (KEY, "evt_2", NOW + 2 * MINUTE + GRACE),
    ]
    assert first == found[:1]


def test_more_than_a_page_of_what_is_due_is_found(
    callbacks: Callbacks, client: "DynamoDBClient", monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(5):
        callbacks.announce(replace(CALLBACK, event_id=f"evt_{number}", round=str(number)), NOW)
    query = client.query
    monkeypatch.setattr(client, "query", lambda **given: query(**{**given, "Limit": 2}))

    assert len(callbacks.due(NOW + LIFE, 5)) == 5


def test_what_is_due_is_handed_over_once(callbacks: Callbacks, pending: Callback) -> None:
    [due] = callbacks.due(NOW + LIFE, 10)

    assert callbacks.hand_over(due, NOW + GRACE) is True
    assert callbacks.hand_over(due, NOW + GRACE + MINUTE) is False
    assert callbacks.due(NOW + HANDOVER, 10) == []
    assert len(callbacks.due(NOW + GRACE + HANDOVER + MINUTE, 10)) == 1


def test_a_hand_over_whose_answer_is_lost_is_known_for_ones_own(
    callbacks: Callbacks, pending: Callback, client: "DynamoDBClient"
) -> None:
    [due] = callbacks.due(NOW + LIFE, 10)
    faults.plan(client.meta.events, UPDATE, faults.lose_answer)

    assert callbacks.hand_over(due, NOW) is True


def test_nothing_is_handed_over_that_is_gone(callbacks: Callbacks) -> None:
    assert callbacks.hand_over(Due(KEY, EVENT, due_at(NOW)), NOW) is False


@pytest.mark.parametrize("state", list(State))
def test_a_replay_begins_anew_whatever_has_become_of_it(
    state: State, callbacks: Callbacks, pending: Callback, row: Row
) -> None:
    over = replace(failed(claimed(callbacks)), state=state)
    callbacks.record(over, "mine", None)
    later = NOW + timedelta(days=3)

    renewed = callbacks.replay(KEY, EVENT, "second", later)

    at = later.timestamp()
    assert renewed == replace(CALLBACK, started_at=at, due_at=at, round="second")
    assert row()["expires_at"] == int((later + LIFE).timestamp())
    assert [due.moment for due in callbacks.due(later + LIFE, 10)] == [later + GRACE]
    assert callbacks.claim(KEY, EVENT, "again", later) == renewed


def test_an_attempt_under_way_is_not_recorded_in_the_round_after_it(
    callbacks: Callbacks, pending: Callback
) -> None:
    under_way = failed(claimed(callbacks))

    renewed = callbacks.replay(KEY, EVENT, "second", NOW)

    assert callbacks.record(under_way, "mine", NOW + MINUTE) is False
    assert callbacks.of_image(KEY, NOW) == [renewed]


def test_a_replay_whose_answer_is_lost_is_known_for_ones_own(
    callbacks: Callbacks, pending: Callback, client: "DynamoDBClient"
) -> None:
    faults.plan(client.meta.events, UPDATE, faults.lose_answer)

    assert callbacks.replay(KEY, EVENT, "second", NOW) == replace(CALLBACK, round="second")


def test_nothing_is_replayed_that_is_unknown(callbacks: Callbacks) -> None:
    assert callbacks.replay(KEY, EVENT, "second", NOW) is None


@pytest.mark.parametrize(
    ("state", "after", "renewed"),
    [
        (State.EXHAUSTED, "first", True),
        (State.EXHAUSTED, "another", False),
        (State.PENDING, "first", False),
        (State.DELIVERED, "first", False),
        (State.GONE, "first", False),
    ],
)
def test_after_a_round_that_came_to_nothing_another_begins_once(
    state: State, after: str, renewed: bool, callbacks: Callbacks, pending: Callback
) -> None:
    callbacks.record(replace(claimed(callbacks), state=state), "mine", None)

    answers = [callbacks.replay(KEY, EVENT, name, NOW, after=after) for name in ("second", "third")]

    assert [answer is not None for answer in answers] == [renewed, False]


def test_the_callbacks_of_an_image_are_the_newest_first_and_no_other_rows(
    callbacks: Callbacks, client: "DynamoDBClient", settings: Settings
) -> None:
    other = items.marshal(rows.tombstone(KEY, "run", 0))
    client.put_item(TableName=settings.images_table, Item=other)
    for number in (2, 1, 3):
        at = f"2026-01-02T03:04:0{number}Z"
        callbacks.announce(replace(CALLBACK, event_id=f"evt_{number}", created_at=at), NOW)
    callbacks.announce(replace(CALLBACK, source_file="other.png"), NOW)

    found = callbacks.of_image(KEY, NOW)

    assert [callback.event_id for callback in found] == ["evt_3", "evt_2", "evt_1"]
    assert callbacks.of_image("none.png", NOW) == []
    assert callbacks.of_image(KEY, NOW + LIFE + MINUTE) == []


@pytest.mark.parametrize(
    ("step", "failure"),
    [
        (faults.json_error(400, "AccessDeniedException"), AccessLost),
        (faults.json_error(400, "ResourceNotFoundException"), AccessLost),
        (faults.json_error(400, "RequestLimitExceeded"), Throttled),
        (faults.json_error(500, "InternalServerError"), ServiceFailed),
    ],
    ids=["no right", "no table", "throttled", "outage"],
)
@pytest.mark.parametrize(
    "call",
    [
        lambda callbacks: callbacks.announce(CALLBACK, NOW),
        lambda callbacks: callbacks.claim(KEY, EVENT, "mine", NOW),
        lambda callbacks: callbacks.record(CALLBACK, "mine", None),
        lambda callbacks: callbacks.replay(KEY, EVENT, "second", NOW),
        lambda callbacks: callbacks.of_image(KEY, NOW),
        lambda callbacks: callbacks.due(NOW, 10),
    ],
    ids=["announce", "claim", "record", "replay", "of_image", "due"],
)
def test_what_dynamodb_cannot_do_is_told_by_its_class(
    call: Callable[[Callbacks], object],
    step: faults.Step,
    failure: type[Retryable],
    callbacks: Callbacks,
    client: "DynamoDBClient",
) -> None:
    for operation in (UPDATE, "dynamodb.Query"):
        faults.plan(client.meta.events, operation, step, step)

    with pytest.raises(Retryable) as raised:
        call(callbacks)

    assert type(raised.value) is failure
