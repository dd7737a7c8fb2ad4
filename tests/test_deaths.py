from datetime import UTC, datetime

import boto3
import pytest
from botocore.config import Config

from chalicelib.deaths import MEMORY, MOST, Deaths
from chalicelib.errors import Deadly, ServiceFailed, Throttled
from chalicelib.settings import Settings
from chalicelib.state import State
from tests.crash_points import Crash
from tests.faults import lose_answer, plan

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


@pytest.fixture
def state(settings: Settings) -> State:
    return State(boto3.client("dynamodb"), settings.state_table, lambda: NOW)


@pytest.fixture
def deaths(state: State) -> Deaths:
    return Deaths(state, "image-labeller-dev-notify")


def die(deaths: Deaths, change: str, times: int = MOST) -> None:
    for _ in range(times):
        with pytest.raises(Crash), deaths.risked(change):
            raise Crash


def test_what_too_many_died_of_is_not_begun_again(deaths: Deaths) -> None:
    die(deaths, "1")

    with pytest.raises(Deadly), deaths.risked("1"):
        pytest.fail("begun")


def test_each_change_and_each_function_has_deaths_of_its_own(state: State, deaths: Deaths) -> None:
    die(deaths, "1")

    for others, change in ((deaths, "2"), (Deaths(state, "image-labeller-dev-index_image"), "1")):
        die(others, change, 1)


def test_whoever_ends_with_a_failure_that_heals_is_alive(deaths: Deaths) -> None:
    for _ in range(MOST):
        die(deaths, "1", MOST - 1)
        with pytest.raises(Throttled), deaths.risked("1"):
            raise Throttled("slower")


def test_a_count_whose_answer_is_lost_is_no_death(state: State, deaths: Deaths) -> None:
    once = Config(retries={"total_max_attempts": 1})
    client = boto3.client("dynamodb", config=once)
    slow = Deaths(State(client, state._table, state.now), deaths.function)
    plan(client.meta.events, "dynamodb.UpdateItem", *[lose_answer] * MOST)

    for _ in range(MOST):
        with pytest.raises(ServiceFailed), slow.risked("1"):
            pytest.fail("begun")

    die(deaths, "1")


def test_deaths_are_forgotten_when_the_stream_has_forgotten_the_change(state: State, deaths: Deaths) -> None:
    die(deaths, "1")
    row = state._client.get_item(
        TableName=state._table, Key={"name": {"S": deaths._name}, "entry": {"S": "1"}}
    )["Item"]

    assert row["expires_at"] == {"N": str(int((NOW + MEMORY).timestamp()))}
