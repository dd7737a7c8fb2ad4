from datetime import UTC, datetime

import pytest

from chalicelib.claim import EXHAUSTED, UNCLAIMED, Claim, Partial
from chalicelib.model import (
    Findings,
    StoredObject,
)

KNOWN = Findings(text=(), model_versions={"text": "3.0"})


def found(version: str, **metadata: str) -> StoredObject:
    return StoredObject("car.png", version, "e", 1, None, datetime(2026, 1, 2, tzinfo=UTC), metadata, b"")


@pytest.mark.parametrize(
    ("version", "recipe", "known"),
    [
        pytest.param("v1", "today's", KNOWN, id="same version, same question"),
        pytest.param("v2", "today's", Findings(), id="other version"),
        pytest.param("v1", "another", Findings(), id="other question"),
    ],
)
def test_what_is_known_of_a_version_need_not_be_asked_again(
    version: str, recipe: str, known: Findings
) -> None:
    claim = Claim("r1", None, "v1", 0, (), partial=Partial("v1", "today's", KNOWN))

    assert claim.known(found(version), recipe) == Partial(version, recipe, known)


@pytest.mark.parametrize(
    ("version", "recipe", "is_counted"),
    [("v1", "today's", True), ("v1", "another", True), ("v2", "today's", False)],
    ids=["same version", "other question", "other version"],
)
def test_a_version_is_counted_once_whatever_is_asked(version: str, recipe: str, is_counted: bool) -> None:
    claim = Claim("r1", None, "v1", 0, (), partial=Partial("v1", "today's", KNOWN, is_counted=True))

    assert claim.known(found(version), recipe).is_counted is is_counted


def test_nothing_is_known_of_what_nobody_has_looked_at() -> None:
    claim = Claim("r1", None, "v1", 0, ())

    assert claim.known(found("v1"), "today's") == Partial("v1", "today's", Findings())


@pytest.mark.parametrize(
    ("run", "committed_run", "asked", "answers"),
    [
        pytest.param("r1", "r1", "v1", True, id="finished, same version"),
        pytest.param("r1", "r1", "v2", False, id="finished, other version"),
        pytest.param("r1", "r1", None, False, id="finished, object gone"),
        pytest.param("r2", "r1", "v1", False, id="claimed again"),
        pytest.param("r1", None, "v1", False, id="never committed"),
        pytest.param(None, None, "v1", False, id="never claimed"),
    ],
)
def test_a_row_answers_for_the_version_that_its_last_run_committed(
    run: str | None, committed_run: str | None, asked: str | None, answers: bool
) -> None:
    claim = Claim(run, committed_run, "v1", lease_until=0, label_keys=())

    assert claim.answers(asked) is answers


def test_a_row_answers_for_nothing_while_another_answer_is_wanted() -> None:
    claim = Claim("r1", "r1", "v1", 100.0, (), relabel="t2", relabelled="t1")

    assert claim.answers("v1") is False
    assert claim.is_held("v1", 99.9) is False
    assert claim.is_wanted_anew is True


def test_a_row_answers_again_once_a_wish_came_true() -> None:
    claim = Claim("r1", "r1", "v1", 100.0, (), relabel="t2", relabelled="t2")

    assert claim.answers("v1") is True
    assert claim.is_wanted_anew is False


@pytest.mark.parametrize(
    ("row", "version", "is_suspect"),
    [
        (Claim("r1", None, "v1", 70, ()), "v1", True),
        (Claim("r1", None, "v1", 70, ()), "v2", False),
        (Claim("r1", None, "v1", 0, ()), "v1", False),
        (Claim("r1", "r1", "v1", 0, ()), "v1", False),
        (Claim("r1", "r1", "v1", 0, (), reason=EXHAUSTED), "v1", True),
        (Claim("r1", "r1", "v1", 0, (), reason=EXHAUSTED), "v2", False),
        (UNCLAIMED, "v1", False),
    ],
    ids=["no end", "of another", "let go", "answered", "exhausted", "another was", "nobody"],
)
def test_who_began_with_a_version_and_did_not_end_may_have_died_of_it(
    row: Claim, version: str, is_suspect: bool
) -> None:
    assert row.is_suspect(version) is is_suspect


def test_a_tombstone_answers_for_there_being_no_object() -> None:
    assert Claim("r1", "r1", None, 0, ()).answers(None) is True


def test_a_row_that_nobody_claimed_does_not_answer_for_there_being_no_object() -> None:
    assert Claim(None, None, None, 0, ()).answers(None) is False


@pytest.mark.parametrize(
    ("committed_run", "asked", "now", "held"),
    [
        pytest.param(None, "v1", 99.9, True, id="within the lease"),
        pytest.param("r0", "v1", 99.9, True, id="an older answer stands"),
        pytest.param(None, "v1", 100.0, False, id="lease over"),
        pytest.param(None, "v2", 99.9, False, id="other version"),
        pytest.param("r1", "v1", 99.9, False, id="finished"),
    ],
)
def test_a_row_is_held_while_somebody_is_at_work_on_that_version(
    committed_run: str | None, asked: str, now: float, held: bool
) -> None:
    claim = Claim("r1", committed_run, "v1", lease_until=100.0, label_keys=())

    assert claim.is_held(asked, now) is held
