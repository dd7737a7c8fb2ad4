import json
import secrets
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError, ReadTimeoutError

from chalicelib.errors import AccessLost, Retryable, ServiceFailed, Throttled
from chalicelib.state import Counter, State
from tests import faults

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
DAY = timedelta(days=1)
ONE_ATTEMPT = Config(retries={"total_max_attempts": 1})


@dataclass(frozen=True)
class Note:
    text: str
    sizes: tuple[float, ...] = ()


@dataclass(frozen=True)
class Pair:
    one: str | None = None
    two: str | None = None


@pytest.fixture(scope="module")
def table(endpoint: object) -> str:
    name = f"state-{secrets.token_hex(6)}"
    boto3.client("dynamodb").create_table(
        TableName=name,
        BillingMode="PAY_PER_REQUEST",
        AttributeDefinitions=[
            {"AttributeName": "name", "AttributeType": "S"},
            {"AttributeName": "entry", "AttributeType": "S"},
        ],
        KeySchema=[
            {"AttributeName": "name", "KeyType": "HASH"},
            {"AttributeName": "entry", "KeyType": "RANGE"},
        ],
    )
    return name


@pytest.fixture
def client(endpoint: object) -> "DynamoDBClient":
    return boto3.client("dynamodb", config=ONE_ATTEMPT)


@pytest.fixture
def at(client: "DynamoDBClient", table: str) -> Callable[[datetime], State]:
    """The state at a time."""
    return lambda now: State(client, table, lambda: now)


@pytest.fixture
def state(at: Callable[[datetime], State]) -> State:
    return at(NOW)


@pytest.fixture
def name() -> str:
    return secrets.token_hex(4)


def row(client: "DynamoDBClient", table: str, name: str) -> Any:
    return client.get_item(TableName=table, Key={"name": {"S": name}, "entry": {"S": "e"}}).get("Item")


def test_what_was_put_is_got_as_it_was(state: State, name: str) -> None:
    state.put(name, "e", Note("old"), DAY)
    state.put(name, "e", Note("new", (1.5, 2.0)), DAY)
    state.put(name, "other", Note("other"), DAY)

    assert state.get(name, "e", Note) == Note("new", (1.5, 2.0))


def test_what_is_got_is_what_stands_there_now(state: State, name: str, client: "DynamoDBClient") -> None:
    sent: list[Any] = faults.plan(client.meta.events, "dynamodb.GetItem")

    state.get(name, "e", Note)

    assert [json.loads(request.body)["ConsistentRead"] for request in sent] == [True]


def test_a_row_is_left_to_dynamodb_to_delete(
    state: State, name: str, client: "DynamoDBClient", table: str
) -> None:
    state.put(name, "e", Note("text"), DAY)

    assert row(client, table, name) == {
        "name": {"S": name},
        "entry": {"S": "e"},
        "text": {"S": "text"},
        "sizes": {"L": []},
        "expires_at": {"N": str(int((NOW + DAY).timestamp()))},
    }


def test_what_is_not_there_is_none(state: State, name: str) -> None:
    assert state.get(name, "e", Note) is None


@pytest.mark.parametrize(
    ("seconds", "is_there"), [(-1, True), (0, False), (1, False)], ids=["before", "then", "after"]
)
def test_a_row_that_has_expired_is_none_though_dynamodb_has_it(
    seconds: int, is_there: bool, at: Callable[[datetime], State], name: str
) -> None:
    at(NOW).put(name, "e", Note("text"), DAY)

    found = at(NOW + DAY + timedelta(seconds=seconds)).get(name, "e", Note)

    assert (found is not None) is is_there


def test_what_is_spelled_in_another_way_is_none(state: State, name: str) -> None:
    state.put(name, "e", Pair(one="1"), DAY)

    assert state.get(name, "e", Note) is None


def test_what_stands_there_besides_is_passed_over(state: State, name: str) -> None:
    state.put(name, "e", Note("text"), DAY)
    state.set(name, "e", {"colour": "red"}, DAY)

    assert state.get(name, "e", Note) == Note("text")


def test_fields_are_set_beside_others(state: State, name: str) -> None:
    state.set(name, "e", {"one": "1"}, DAY)
    state.set(name, "e", {"two": "2"}, DAY)

    assert state.get(name, "e", Pair) == Pair("1", "2")


def test_what_is_set_lives_on(at: Callable[[datetime], State], name: str) -> None:
    at(NOW).set(name, "e", {"one": "1"}, DAY)
    at(NOW + DAY / 2).set(name, "e", {"two": "2"}, DAY)

    assert at(NOW + DAY).get(name, "e", Pair) == Pair("1", "2")


def test_names_that_dynamodb_keeps_for_itself_can_be_set(state: State, name: str) -> None:
    state.set(name, "e", {"text": "text", "sizes": "none", "value": "1", "count": "2"}, DAY)


def test_a_counter_stops_at_its_limit(state: State, name: str) -> None:
    counted = [state.count(name, "e", 2, DAY) for _ in range(4)]

    assert counted == [True, True, False, False]
    assert state.get(name, "e", Counter) == Counter(2)


def test_a_counter_follows_its_limit(state: State, name: str) -> None:
    counted = [state.count(name, "e", limit, DAY) for limit in (1, 1, 3, 3, 3, 1)]

    assert counted == [True, False, True, True, False, False]


def test_counters_count_apart_and_expire(
    at: Callable[[datetime], State], name: str, client: "DynamoDBClient", table: str
) -> None:
    state = at(NOW)

    counted = [state.count(f"{name}{day}", "e", 1, DAY) for day in (1, 2)]

    assert counted == [True, True]
    assert row(client, table, f"{name}1")["expires_at"] == {"N": str(int((NOW + DAY).timestamp()))}


def test_many_who_count_at_once_stay_within_the_limit(state: State, name: str) -> None:
    with ThreadPoolExecutor(8) as pool:
        counted = list(pool.map(lambda _: state.count(name, "e", 5, DAY), range(12)))

    assert sorted(counted) == [False] * 7 + [True] * 5


@pytest.mark.parametrize("so_far", [1, 2, 3])
def test_what_has_expired_counts_no_more_though_its_row_is_there(
    state: State, name: str, so_far: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(so_far):
        state.count(name, "e", 3, DAY)
    monkeypatch.setattr(state, "now", lambda: NOW + DAY)

    counted = [state.count(name, "e", 3, DAY) for _ in range(4)]

    assert counted == [True, True, True, False]


def test_a_count_whose_answer_is_lost_may_have_counted_and_is_not_counted_again(
    state: State, name: str, client: "DynamoDBClient"
) -> None:
    sent = faults.plan(client.meta.events, "dynamodb.UpdateItem", faults.lose_answer)

    with pytest.raises(ServiceFailed):
        state.count(name, "e", 5, DAY)

    assert len(sent) == 1
    assert state.get(name, "e", Counter) == Counter(1)


CALLS: dict[str, Callable[[State], object]] = {
    "get": lambda state: state.get("n", "e", Note),
    "put": lambda state: state.put("n", "e", Note("text"), DAY),
    "set": lambda state: state.set("n", "e", {"one": "1"}, DAY),
    "count": lambda state: state.count("n", "e", 5, DAY),
}


@pytest.mark.parametrize(
    ("fault", "failure"),
    [
        pytest.param(faults.json_error(400, "AccessDeniedException"), AccessLost, id="access denied"),
        pytest.param(faults.json_error(400, "ResourceNotFoundException"), AccessLost, id="no table"),
        pytest.param(faults.json_error(400, "ThrottlingException"), Throttled, id="throttling"),
        pytest.param(faults.json_error(400, "RequestLimitExceeded"), Throttled, id="request limit"),
        pytest.param(faults.json_error(500, "InternalServerError"), ServiceFailed, id="500"),
        pytest.param(faults.answering(503, b"<html>"), ServiceFailed, id="503 in HTML"),
        pytest.param(
            faults.raising(ReadTimeoutError(endpoint_url="https://d.example")), ServiceFailed, id="timeout"
        ),
    ],
)
@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_an_outage_is_told_by_its_class(
    state: State,
    client: "DynamoDBClient",
    call: Callable[[State], object],
    fault: faults.Step,
    failure: type[Retryable],
) -> None:
    faults.plan(client.meta.events, "dynamodb", fault)

    with pytest.raises(Retryable) as raised:
        call(state)

    assert type(raised.value) is failure


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_a_request_that_dynamodb_finds_wrong_is_a_bug(
    state: State, client: "DynamoDBClient", call: Callable[[State], object]
) -> None:
    faults.plan(client.meta.events, "dynamodb", faults.json_error(400, "ValidationException"))

    with pytest.raises(ClientError, match="ValidationException"):
        call(state)
