import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError, ReadTimeoutError
from hypothesis import given
from hypothesis import strategies as st

from chalicelib.errors import AccessLost, Retryable, ServiceFailed, Throttled
from chalicelib.settings import Settings
from chalicelib.tokens import FORM, Scope, Token, Tokens
from tests import faults

NOON = datetime(2026, 1, 2, 12, 0, 0, tzinfo=UTC)
DAY = timedelta(days=1)
UNKNOWN = f"ilt_{12 * 'a'}_{64 * 'a'}"
KNOWN = Token(12 * "a", "ci", (Scope.READ,), NOON, NOON + DAY)


@dataclass
class Bench:
    """The tokens of a stage of the test's own, at a time that the test sets."""

    client: Any
    table: str
    now: datetime = field(default=NOON)

    @property
    def tokens(self) -> Tokens:
        return Tokens(self.client, self.table, lambda: self.now)

    def create(self, name: str = "ci", *scopes: Scope, life: timedelta = DAY) -> str:
        return self.tokens.create(name, scopes or (Scope.READ,), life)

    def found(self, text: str) -> Token:
        token = self.tokens.find(text)
        assert token is not None
        return token

    def later(self, **by: int) -> None:
        self.now += timedelta(**by)

    @property
    def items(self) -> list[dict[str, Any]]:
        items: list[dict[str, Any]] = self.client.scan(TableName=self.table)["Items"]
        return items


@pytest.fixture
def bench(settings: Settings) -> Bench:
    client = boto3.client("dynamodb", config=Config(retries={"total_max_attempts": 1}))
    return Bench(client, settings.state_table)


def id_of(text: str) -> str:
    return text.split("_")[1]


def test_a_token_is_found_by_its_text(bench: Bench) -> None:
    text = bench.create("the build, on Mondays", Scope.ADMIN, Scope.READ, Scope.READ)

    assert bench.tokens.find(text) == Token(
        id=id_of(text),
        name="the build, on Mondays",
        scopes=(Scope.READ, Scope.ADMIN),
        created_at=NOON,
        expires_at=NOON + DAY,
        used_at=None,
    )


def test_a_token_is_good_at_once(bench: Bench) -> None:
    text = bench.create()
    sent: list[Any] = faults.plan(bench.client.meta.events, "dynamodb.GetItem")

    bench.found(text)

    assert [json.loads(request.body)["ConsistentRead"] for request in sent] == [True]


def test_a_token_says_what_it_is_and_no_two_are_alike(bench: Bench) -> None:
    texts = [bench.create() for _ in range(10)]

    assert all(re.fullmatch(r"ilt_[0-9a-f]{12}_[0-9a-f]{64}", text) for text in texts)
    assert len({part for text in texts for part in text.split("_")[1:]}) == 20


def test_what_is_stored_is_no_token(bench: Bench) -> None:
    text = bench.create()

    [item] = bench.items
    assert text.split("_")[2] not in str(item)
    assert item == {
        "name": {"S": "token"},
        "entry": {"S": id_of(text)},
        "holder": {"S": "ci"},
        "scopes": {"L": [{"S": "read"}]},
        "digest": item["digest"],
        "created_at": {"N": str(int(NOON.timestamp()))},
        "expires_at": {"N": str(int((NOON + DAY).timestamp()))},
    }


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda text: text[:-1] + ("0" if text[-1] != "0" else "1"), id="last digit"),
        pytest.param(
            lambda text: text[:17] + ("0" if text[17] != "0" else "1") + text[18:], id="first digit"
        ),
        pytest.param(lambda text: f"ilt_{id_of(text)}_{64 * '0'}", id="another secret"),
        pytest.param(lambda text: f"ilt_{12 * '0'}_{text.split('_')[2]}", id="another id"),
        pytest.param(lambda text: text + "0", id="longer"),
        pytest.param(lambda text: text[:-1], id="shorter"),
        pytest.param(str.upper, id="upper case"),
        pytest.param(lambda text: f" {text}", id="space"),
        pytest.param(lambda text: f"{text}\n", id="line feed"),
        pytest.param(lambda text: text.replace(text[-1], "٣"), id="digits that are no ASCII"),
        pytest.param(lambda _: "", id="nothing"),
        pytest.param(lambda text: text.split("_")[2], id="the secret alone"),
        pytest.param(id_of, id="the id alone"),
    ],
)
def test_a_token_with_any_change_is_none(change: Callable[[str], str], bench: Bench) -> None:
    text = bench.create()

    assert bench.tokens.find(change(text)) is None


@given(st.text() | st.from_regex(r"ilt_.*_.*"))
def test_nothing_that_only_looks_like_a_token_costs_a_read(text: str) -> None:
    no_client: Any = None

    if not FORM.fullmatch(text):
        assert Tokens(no_client, "state", lambda: NOON).find(text) is None


def test_a_token_is_good_until_it_expires_though_its_row_is_still_there(bench: Bench) -> None:
    text = bench.create(life=DAY)

    bench.later(hours=23, minutes=59, seconds=59)
    before = bench.tokens.find(text)
    bench.later(seconds=1)
    after = bench.tokens.find(text)

    assert before is not None
    assert after is None
    assert len(bench.items) == 1


def test_a_revoked_token_is_none_and_is_named_once(bench: Bench) -> None:
    text, other = bench.create("a"), bench.create("b")
    token = bench.found(text)

    revoked = bench.tokens.revoke(token.id)
    again = bench.tokens.revoke(token.id)

    assert (revoked, again) == (token, None)
    assert bench.tokens.find(text) is None
    assert bench.found(other).name == "b"


def test_use_is_noted_once_an_hour(bench: Bench) -> None:
    text = bench.create()
    sent = faults.plan(bench.client.meta.events, "dynamodb.UpdateItem")

    for minutes in (0, 1, 58, 1, 59):
        bench.later(minutes=minutes)
        bench.tokens.note_use(bench.found(text))

    assert len(sent) == 2
    assert bench.found(text).used_at == NOON + timedelta(hours=1)


def test_regression_a_use_that_is_noted_late_does_not_bring_a_revoked_token_back(bench: Bench) -> None:
    token = bench.found(bench.create())
    bench.tokens.revoke(token.id)

    bench.tokens.note_use(token)

    assert bench.items == []


def test_all_tokens_are_listed_and_nothing_else_of_the_table(bench: Bench) -> None:
    texts = {bench.create(name) for name in ("a", "b", "c")}
    bench.client.put_item(TableName=bench.table, Item={"name": {"S": "sweep"}, "entry": {"S": "here"}})

    listed = list(bench.tokens.all())

    assert {token.id for token in listed} == {id_of(text) for text in texts}
    assert {token.name for token in listed} == {"a", "b", "c"}


def test_a_list_of_tokens_goes_on_over_pages(bench: Bench) -> None:
    for name in ("x" * 60, "y" * 60):
        bench.create(name)
    pages = [{"Items": [item], "LastEvaluatedKey": item} for item in bench.items]
    del pages[-1]["LastEvaluatedKey"]
    answers = iter(pages)
    bench.client.meta.events.register("before-call.dynamodb.Query", lambda **_: answer(next(answers)))

    assert sorted(token.name[0] for token in bench.tokens.all()) == ["x", "y"]


def answer(parsed: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
    class Http:
        status_code = 200

    return Http, parsed


@pytest.mark.parametrize(
    ("step", "failure"),
    [
        pytest.param(faults.json_error(400, "ResourceNotFoundException"), AccessLost, id="no table"),
        pytest.param(faults.json_error(400, "AccessDeniedException"), AccessLost, id="no right"),
        pytest.param(faults.json_error(400, "ThrottlingException"), Throttled, id="throttled"),
        pytest.param(faults.json_error(400, "RequestLimitExceeded"), Throttled, id="account's limit"),
        pytest.param(faults.json_error(500, "InternalServerError"), ServiceFailed, id="outage"),
        pytest.param(
            faults.raising(ReadTimeoutError(endpoint_url="https://dynamodb.example")),
            ServiceFailed,
            id="no answer",
        ),
    ],
)
@pytest.mark.parametrize(
    ("operation", "act"),
    [
        ("GetItem", lambda tokens: tokens.find(UNKNOWN)),
        ("UpdateItem", lambda tokens: tokens.note_use(KNOWN)),
        ("PutItem", lambda tokens: tokens.create("b", [Scope.READ], DAY)),
        ("DeleteItem", lambda tokens: tokens.revoke(KNOWN.id)),
        ("Query", lambda tokens: list(tokens.all())),
    ],
    ids=["find", "note_use", "create", "revoke", "all"],
)
def test_what_dynamodb_cannot_do_is_told_by_its_class(
    operation: str, act: Callable[..., object], step: faults.Step, failure: type[Retryable], bench: Bench
) -> None:
    faults.plan(bench.client.meta.events, f"dynamodb.{operation}", step)

    with pytest.raises(Retryable) as raised:
        act(bench.tokens)

    assert type(raised.value) is failure


def test_an_answer_that_nobody_foresaw_is_a_bug(bench: Bench) -> None:
    faults.plan(
        bench.client.meta.events, "dynamodb.UpdateItem", faults.json_error(400, "ValidationException")
    )

    with pytest.raises(ClientError):
        bench.tokens.note_use(KNOWN)
