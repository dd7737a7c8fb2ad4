from collections.abc import Callable
from typing import Any

import pytest
from botocore.exceptions import ClientError

from chalicelib.dynamodb import PAUSES, in_the_way, patiently
from chalicelib.errors import AccessLost, Contended, Retryable, ServiceFailed, Throttled

CONFLICT, THROTTLE = "TransactionConflictException", "ThrottlingException"


def failure(code: str, *reasons: Any) -> ClientError:
    response: Any = {"Error": {"Code": code, "Message": ""}, "CancellationReasons": [*reasons]}
    return ClientError(response, "TransactWriteItems")


def cancelled(*reasons: Any) -> ClientError:
    return failure("TransactionCanceledException", *reasons)


def failing(*failures: Exception) -> Callable[[], str]:
    """A call that fails so often, and then succeeds."""
    left = [*failures]

    def call() -> str:
        if left:
            raise left.pop(0)
        return "done"

    return call


@pytest.mark.parametrize("times", range(len(PAUSES) + 1))
def test_a_conflict_is_sat_out_as_long_as_there_are_pauses(times: int) -> None:
    pauses: list[float] = []

    answer = patiently(failing(*[failure(CONFLICT)] * times), pauses.append, Contended)

    assert answer == "done"
    assert all(0 <= pause <= most for pause, most in zip(pauses, PAUSES[:times], strict=True))


def test_a_conflict_that_does_not_end_is_raised() -> None:
    pauses: list[float] = []

    with pytest.raises(Contended):
        patiently(failing(*[failure(CONFLICT)] * 9), pauses.append, Contended)

    assert len(pauses) == len(PAUSES)


@pytest.mark.parametrize(
    ("code", "expected"),
    [(THROTTLE, Throttled), ("AccessDeniedException", AccessLost), ("InternalServerError", ServiceFailed)],
)
def test_what_is_not_to_be_sat_out_is_raised_at_once(code: str, expected: type[Retryable]) -> None:
    pauses: list[float] = []

    with pytest.raises(expected):
        patiently(failing(failure(code)), pauses.append, Contended)

    assert pauses == []


def test_a_bug_stays_what_it_is() -> None:
    with pytest.raises(ClientError, match="ValidationException"):
        patiently(failing(failure("ValidationException")), print, Contended)


@pytest.mark.parametrize(
    ("reasons", "item"),
    [
        ([{"Code": "ConditionalCheckFailed", "Item": {"a": {"S": "b"}}}], {"a": {"S": "b"}}),
        ([{"Code": "ConditionalCheckFailed"}, {"Code": "TransactionConflict"}], {}),
    ],
    ids=["a row", "no row"],
)
def test_what_stands_in_the_way_of_a_transaction_is_the_row_of_its_first_action(
    reasons: list[Any], item: Any
) -> None:
    assert in_the_way(cancelled(*reasons)) == item


@pytest.mark.parametrize(
    ("reasons", "expected"),
    [
        (["TransactionConflict", "None"], Contended),
        (["None", "ThrottlingError"], Throttled),
        (["None", "ProvisionedThroughputExceeded"], Throttled),
    ],
)
def test_what_passes_is_told_from_what_stands_in_the_way(
    reasons: list[str], expected: type[Retryable]
) -> None:
    with pytest.raises(expected):
        in_the_way(cancelled(*({"Code": reason} for reason in reasons)))


def test_a_transaction_that_can_never_pass_is_a_bug() -> None:
    with pytest.raises(ClientError, match="TransactionCanceledException"):
        in_the_way(cancelled({"Code": "None"}, {"Code": "ValidationError"}))
