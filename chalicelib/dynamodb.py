"""How DynamoDB is asked, whatever for: page by page, and again if others are writing the same rows."""

import random
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any, TypeVar

from botocore.exceptions import ClientError

from chalicelib.aws_errors import DYNAMODB, Codes, error_code, translated
from chalicelib.errors import Contended, Retryable, Throttled

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

T = TypeVar("T")

MOST_KEYS = 100  # that one BatchGetItem takes

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


def is_done(write: Callable[[], object]) -> bool:
    """Whether the condition of the write holds, so that it is done."""
    try:
        write()
    except ClientError as error:
        if error_code(error) != "ConditionalCheckFailedException":
            raise
        return False
    return True


def transact(client: "DynamoDBClient", actions: list[Any], sleep: Callable[[float], None]) -> Any | None:
    """Does all of it, or nothing: then the answer is the item that fails the first action's condition.

    Where there is no such item, it is an empty one.
    """
    return patiently(lambda: _transact_once(client, actions), sleep, Contended, Throttled)


def _transact_once(client: "DynamoDBClient", actions: list[Any]) -> Any | None:
    try:
        client.transact_write_items(TransactItems=actions)
    except ClientError as error:
        if error_code(error) != "TransactionCanceledException":
            raise
        return in_the_way(error)
    return None


def in_the_way(cancelled: ClientError) -> Any:
    """The item that failed the first condition; raises what else cancelled the transaction."""
    reasons = cancelled.response["CancellationReasons"]
    if reasons[0].get("Code") == "ConditionalCheckFailed":
        return reasons[0].get("Item", {})
    for reason in reasons:
        passing = PASSING.get(reason.get("Code", ""))
        if passing:
            raise passing(str(cancelled)) from cancelled
    raise cancelled


def pages(client: "DynamoDBClient", query: Any) -> Iterator[Any]:
    """What a Query finds, read as it is asked for."""
    while True:
        with translated(CODES):
            page = client.query(**query)
        yield page["Items"]
        if "LastEvaluatedKey" not in page:
            return
        query = {**query, "ExclusiveStartKey": page["LastEvaluatedKey"]}


def read_all(
    client: "DynamoDBClient", table: str, keys: Iterable[Any], fields: Iterable[str]
) -> Iterator[Any]:
    """These fields of the items with these keys, as far as there are any."""
    left, names = [*keys], {f"#{name}": name for name in fields}
    request: Any = {"ProjectionExpression": ", ".join(names), "ExpressionAttributeNames": names}
    while left:
        batch, left = left[:MOST_KEYS], left[MOST_KEYS:]
        items, unprocessed = _read_batch(client, table, {**request, "Keys": batch})
        left += unprocessed
        yield from items


def _read_batch(client: "DynamoDBClient", table: str, request: Any) -> tuple[list[Any], list[Any]]:
    """The items, and the keys that DynamoDB had no time for; Throttled if that is all of them."""
    with translated(CODES):
        answer = client.batch_get_item(RequestItems={table: request})
    unprocessed: Any = answer["UnprocessedKeys"].get(table, {"Keys": []})["Keys"]
    if len(unprocessed) == len(request["Keys"]):
        raise Throttled("DynamoDB read none of a batch of rows")
    return answer["Responses"].get(table, []), unprocessed
