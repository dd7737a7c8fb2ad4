"""What DynamoDB refuses only while others write the same rows, and how long to sit that out."""

import random
from collections.abc import Callable
from typing import Any, TypeVar

from botocore.exceptions import ClientError

from chalicelib.aws_errors import DYNAMODB, Codes, translated
from chalicelib.errors import Contended, Retryable, Throttled

T = TypeVar("T")

PAUSES = (0.05, 0.1, 0.2, 0.4)  # seconds at most: the SDK does not retry a cancelled transaction

CODES: Codes = {
    **DYNAMODB,
    "TransactionConflictException": Contended,
    "TransactionInProgressException": Contended,
}
PASSING: Codes = {
    "ProvisionedThroughputExceeded": Throttled,
    "ThrottlingError": Throttled,
    "TransactionConflict": Contended,
}


def patiently(call: Callable[[], T], sleep: Callable[[float], None], *failures: type[Retryable]) -> T:
    """What the call answers; these failures, which the SDK does not sit out, are sat out here."""
    for pause in PAUSES:
        try:
            with translated(CODES):
                return call()
        except failures:
            sleep(random.uniform(0, pause))  # noqa: S311 - jitter
    with translated(CODES):
        return call()


def in_the_way(cancelled: ClientError) -> Any:
    """The item that failed the condition of a transaction's first action; raises what else cancelled it."""
    reasons = cancelled.response["CancellationReasons"]
    if reasons[0].get("Code") == "ConditionalCheckFailed":
        return reasons[0].get("Item", {})
    for reason in reasons:
        passing = PASSING.get(reason.get("Code", ""))
        if passing:
            raise passing(str(cancelled)) from cancelled
    raise cancelled
