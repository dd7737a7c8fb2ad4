from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import boto3
import pytest
from botocore.config import Config

from chalicelib import items
from chalicelib.errors import AccessLost, Retryable, ServiceFailed, Throttled
from chalicelib.receivers import GONE_LIFE, MEMORY, PAUSE, TIMEOUTS, Receivers, Standing
from chalicelib.settings import Settings
from tests import faults

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

NOW = datetime(2026, 1, 2, 3, 4, 5, 678_901, UTC)
HOST, OTHER = "example.com", "example.com:8443"
URL = "https://example.com/hook?token=5ec2e7"
SECOND = timedelta(seconds=1)


@pytest.fixture
def client(endpoint: object) -> "DynamoDBClient":
    return boto3.client("dynamodb", config=Config(retries={"total_max_attempts": 1}))


@pytest.fixture
def receivers(client: "DynamoDBClient", settings: Settings) -> Receivers:
    return Receivers(client, settings.state_table)


def time_out(receivers: Receivers, times: int, now: datetime = NOW) -> None:
    for _ in range(times):
        receivers.timed_out(receivers.standing(HOST, now), now)


def admits(receivers: Receivers, now: datetime, host: str = HOST) -> bool:
    return receivers.admits(receivers.standing(host, now), now)


def test_who_is_unknown_is_admitted(receivers: Receivers) -> None:
    assert receivers.standing(HOST, NOW) == Standing(HOST)
    assert admits(receivers, NOW)


def test_who_times_out_five_times_in_a_row_is_put_off_for_a_minute(receivers: Receivers) -> None:
    time_out(receivers, TIMEOUTS - 1)
    before = admits(receivers, NOW)
    time_out(receivers, 1)

    assert before
    assert not admits(receivers, NOW)
    assert not admits(receivers, NOW + PAUSE - SECOND)
    assert admits(receivers, NOW, OTHER)


def test_then_one_at_a_time_may_try(receivers: Receivers) -> None:
    time_out(receivers, TIMEOUTS)
    later = NOW + PAUSE
    standing = receivers.standing(HOST, later)

    turns = [receivers.admits(standing, later) for _ in range(3)]

    assert turns == [True, False, False]
    assert not admits(receivers, later + SECOND)
    assert admits(receivers, later + PAUSE)


@pytest.mark.parametrize(("more", "pauses"), [(1, 2), (2, 4), (3, 8), (4, 15), (5, 15), (3000, 15)])
def test_each_further_time_out_puts_off_for_twice_as_long_up_to_a_quarter_of_an_hour(
    more: int, pauses: int
) -> None:
    standing = Standing(HOST, TIMEOUTS + more - 1)

    assert standing.pause == pauses * PAUSE


def test_who_times_out_at_his_turn_is_put_off_from_then_on(receivers: Receivers) -> None:
    time_out(receivers, TIMEOUTS)
    later = NOW + PAUSE
    assert admits(receivers, later)
    time_out(receivers, 1, later + 15 * SECOND)

    assert not admits(receivers, later + 2 * PAUSE)
    assert admits(receivers, later + 15 * SECOND + 2 * PAUSE)


def test_an_answer_ends_the_row_of_time_outs(receivers: Receivers) -> None:
    time_out(receivers, TIMEOUTS - 1)
    receivers.answered(receivers.standing(HOST, NOW))
    time_out(receivers, TIMEOUTS - 1)

    assert admits(receivers, NOW)


def test_who_behaves_costs_no_write(receivers: Receivers, client: "DynamoDBClient") -> None:
    sent = faults.plan(client.meta.events, "dynamodb.DeleteItem")

    receivers.answered(receivers.standing(HOST, NOW))

    assert sent == []


def test_time_outs_are_forgotten_after_a_day(
    receivers: Receivers, client: "DynamoDBClient", settings: Settings
) -> None:
    time_out(receivers, TIMEOUTS)

    assert receivers.standing(HOST, NOW + MEMORY) == Standing(HOST)
    key = items.marshal({"name": f"receiver#{HOST}", "entry": "host"})
    row = items.unmarshal(client.get_item(TableName=settings.state_table, Key=key)["Item"])
    assert row["expires_at"] == int((NOW + MEMORY).timestamp())


def test_what_is_forgotten_does_not_come_back_with_the_next_time_out(receivers: Receivers) -> None:
    time_out(receivers, TIMEOUTS)
    later = NOW + MEMORY
    time_out(receivers, 1, later)

    assert receivers.standing(HOST, later) == Standing(HOST, 1, (later + PAUSE).timestamp())


def test_a_time_out_counts_whoever_else_noted_one_meanwhile(receivers: Receivers) -> None:
    time_out(receivers, TIMEOUTS)
    later = NOW + MEMORY
    read = [receivers.standing(HOST, later) for _ in range(TIMEOUTS)]
    for standing in read:
        receivers.timed_out(standing, later)

    assert receivers.standing(HOST, later).timeouts == TIMEOUTS


def test_a_url_that_is_gone_is_remembered_until_it_is_forgotten(receivers: Receivers) -> None:
    receivers.note_gone(URL, NOW)
    noted = [receivers.is_gone(url, NOW) for url in (URL, "https://example.com/hook")]
    receivers.forget_gone(URL)

    assert noted == [True, False]
    assert not receivers.is_gone(URL, NOW)


def test_a_url_that_was_just_forgotten_is_not_taken_for_gone(
    receivers: Receivers, client: "DynamoDBClient"
) -> None:
    sent = faults.plan(client.meta.events, "dynamodb.GetItem")

    receivers.is_gone(URL, NOW)

    [request] = sent
    assert b'"ConsistentRead": true' in request.body  # type: ignore[operator]


def test_a_url_that_is_gone_is_asked_again_after_a_month(receivers: Receivers) -> None:
    receivers.note_gone(URL, NOW)

    assert receivers.is_gone(URL, NOW + GONE_LIFE - SECOND)
    assert not receivers.is_gone(URL, NOW + GONE_LIFE)


def test_a_url_is_not_to_be_read_in_the_table(
    receivers: Receivers, client: "DynamoDBClient", settings: Settings
) -> None:
    receivers.note_gone(URL, NOW)

    assert "5ec2e7" not in str(client.scan(TableName=settings.state_table)["Items"])


@pytest.mark.parametrize(
    ("step", "failure"),
    [
        (faults.json_error(400, "AccessDeniedException"), AccessLost),
        (faults.json_error(400, "RequestLimitExceeded"), Throttled),
        (faults.json_error(500, "InternalServerError"), ServiceFailed),
    ],
    ids=["no right", "throttled", "outage"],
)
@pytest.mark.parametrize(
    "call",
    [
        lambda receivers: receivers.standing(HOST, NOW),
        lambda receivers: receivers.admits(Standing(HOST, TIMEOUTS), NOW),
        lambda receivers: receivers.timed_out(Standing(HOST), NOW),
        lambda receivers: receivers.answered(Standing(HOST, 1)),
        lambda receivers: receivers.is_gone(URL, NOW),
        lambda receivers: receivers.note_gone(URL, NOW),
        lambda receivers: receivers.forget_gone(URL),
    ],
    ids=["standing", "admits", "timed_out", "answered", "is_gone", "note_gone", "forget_gone"],
)
def test_what_dynamodb_cannot_do_is_told_by_its_class(
    call: Callable[[Receivers], object],
    step: faults.Step,
    failure: type[Retryable],
    receivers: Receivers,
    client: "DynamoDBClient",
) -> None:
    for operation in ("GetItem", "PutItem", "UpdateItem", "DeleteItem"):
        faults.plan(client.meta.events, f"dynamodb.{operation}", step)

    with pytest.raises(Retryable) as raised:
        call(receivers)

    assert type(raised.value) is failure
