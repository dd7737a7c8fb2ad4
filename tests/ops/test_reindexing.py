from typing import Any

import boto3
import pytest

from chalicelib.claims import Claims
from chalicelib.indexing import ROUNDS
from chalicelib.items import marshal
from chalicelib.model import Label
from chalicelib.rows import image_key
from chalicelib.store import Store
from ops import reindexing
from ops.account import Account
from ops.problems import Problem
from ops.stage import Stage
from tests.answered import Answered
from tests.faults import cancelled, plan
from tests.ops.conftest import Operator, Screen
from tests.search_index import expected, indexed, rows_of

pytestmark = pytest.mark.thorough

DOG, CAT = Label("Dog", 98.1, (), ("Animal",), ("Canine",)), Label("Cat", 88, (), ("Animal",))
KEYS = [f"{number}.png" for number in range(7)]


@pytest.fixture
def answered(resources: object, stage: Stage, session: boto3.Session) -> Answered:
    client, table = session.client("dynamodb"), stage.images_table
    answered = Answered(Claims(client, table), Store(client, table))
    for number, key in enumerate(KEYS):
        answered.label(key, DOG, *([CAT] if number % 2 else []), text="taxi")
    answered.begin(KEYS[1])
    answered.quarantine(KEYS[2])
    answered.fail(KEYS[3])
    return answered


def terms(stage: Stage) -> list[dict[str, Any]]:
    return rows_of(stage.terms_table)


def of_all(answered: Answered) -> Any:
    return expected(answered.image(key) for key in KEYS)


def test_a_stage_that_is_older_than_search_is_indexed_once(
    answered: Answered, stage: Stage, operate: Operator
) -> None:
    first = operate("reindex", "--stage", stage.name)
    then = terms(stage)
    again = operate("reindex", "--stage", stage.name)

    assert indexed(then) == of_all(answered)
    assert terms(stage) == then
    told = "What search finds is as the pictures are: 7 were looked at."
    assert [result.stdout.splitlines()[-1] for result in (first, again)] == [told, told]


def test_what_the_stream_has_not_told_of_is_made_up_for(
    answered: Answered,
    stage: Stage,
    session: boto3.Session,
    screen: Screen,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("ops.reindexing.PAGE", 2)
    reindexing.run(stage, screen)
    answered.label(KEYS[0], CAT)
    answered.remove(KEYS[4])
    key: Any = marshal(image_key(KEYS[5]))
    session.client("dynamodb").delete_item(TableName=stage.images_table, Key=key)

    reindexing.run(stage, screen)

    assert indexed(terms(stage)) == of_all(answered)
    assert screen.lines[-1] == "What search finds is as the pictures are: 7 were looked at."


@pytest.fixture
def slept(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    slept: list[float] = []
    monkeypatch.setattr("ops.reindexing.sleep", slept.append)
    monkeypatch.setattr("ops.reindexing.AT_ONCE", 1)
    return slept


@pytest.mark.parametrize("code", ["ConditionalCheckFailed", "TransactionConflict"])
def test_what_others_write_meanwhile_is_tried_again_until_it_is_in_line(
    code: str,
    answered: Answered,
    stage: Stage,
    screen: Screen,
    slept: list[float],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    session = boto3.Session()
    plan(session.events, "dynamodb.TransactWriteItems", *[cancelled(code)] * ROUNDS * 2)
    monkeypatch.setattr("ops.reindexing.Account", lambda: Account(session))

    reindexing.run(stage, screen)

    assert indexed(terms(stage)) == of_all(answered)
    assert slept == [1, 2]


def test_what_cannot_be_brought_in_line_is_a_problem(
    answered: Answered,
    stage: Stage,
    screen: Screen,
    slept: list[float],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    session = boto3.Session()
    plan(session.events, "dynamodb.TransactWriteItems", *[cancelled("ConditionalCheckFailed")] * 9999)
    monkeypatch.setattr("ops.reindexing.Account", lambda: Account(session))

    with pytest.raises(Problem, match="pictures are written by others all the time, such as"):
        reindexing.run(stage, screen)

    assert slept == [*reindexing.PAUSES]


def test_counters_of_what_nobody_has_go(answered: Answered, stage: Stage, operate: Operator) -> None:
    operate("reindex", "--stage", stage.name)
    for key in KEYS[1:]:
        answered.remove(key)

    operate("reindex", "--stage", stage.name)

    counters = {row["entry"]: row["count"] for row in terms(stage) if "count" in row}
    assert counters == {"dog": 1, "animal": 1, "canine": 1, "taxi": 1}


def test_a_stage_without_tables_is_a_problem(stage: Stage, screen: Screen) -> None:
    with pytest.raises(Problem, match=f"There is no table {stage.images_table}"):
        reindexing.run(stage, screen)
