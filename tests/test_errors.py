import pytest

from chalicelib import errors
from chalicelib.errors import LabellerError, PictureRefused, Retryable, outcome_of

RETRYABLE = {
    "access_lost": errors.AccessLost,
    "contended": errors.Contended,
    "message_gone": errors.MessageGone,
    "object_unavailable": errors.ObjectUnavailable,
    "service_failed": errors.ServiceFailed,
    "throttled": errors.Throttled,
}


@pytest.mark.parametrize(("outcome", "failure"), RETRYABLE.items(), ids=RETRYABLE)
def test_what_a_later_try_can_heal_has_an_outcome_of_its_name(outcome: str, failure: type[Retryable]) -> None:
    assert outcome_of(failure("said")) == outcome


def test_every_such_failure_is_told_apart() -> None:
    assert set(RETRYABLE.values()) == set(Retryable.__subclasses__())


@pytest.mark.parametrize("bug", [KeyError("x"), LabellerError(), PictureRefused("too_large")])
def test_whatever_else_gets_out_is_a_crash(bug: Exception) -> None:
    assert outcome_of(bug) == "crashed"
