"""DynamoDB's items as plain values, whichever table they stand in."""

from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, TypeVar

from boto3.dynamodb.types import TypeDeserializer, TypeSerializer
from msgspec import convert

Row = Mapping[str, Any]
T = TypeVar("T")

SCHEMA = 1  # of the rows, so that a later version knows what it reads
SMALLEST, LARGEST = 1e-128, 1e125  # in magnitude, of the numbers that DynamoDB's serialiser takes
SHARD = "0"  # ends every index key from the first day, so that there can be more


def marshal(row: Row) -> dict[str, Any]:
    """A row of plain values as DynamoDB's JSON; a None is left out."""
    serialize = TypeSerializer().serialize
    return {name: serialize(_storable(value)) for name, value in row.items() if value is not None}


def unmarshal(item: Row) -> dict[str, Any]:
    deserialize = TypeDeserializer().deserialize
    return {name: deserialize(value) for name, value in item.items()}


def read(row: Row, kind: type[T]) -> T:
    """Raises msgspec.ValidationError for what is spelled in another way."""
    return convert(plain(row), kind)


def is_expired(row: Row, now: datetime) -> bool:
    """DynamoDB deletes an expired row within two days, and shows it until then."""
    expires_at = row.get("expires_at")
    return expires_at is not None and expires_at <= now.timestamp()


def timestamp(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def index_time(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%Y-%m-%dT%H:%M:%S.%fZ}"


def plain(value: Any) -> Any:
    """DynamoDB's numbers as Python's."""
    if isinstance(value, Decimal):
        return int(value) if value == value.to_integral_value() else float(value)
    if isinstance(value, Mapping):
        return {name: plain(each) for name, each in value.items()}
    return [plain(each) for each in value] if isinstance(value, list) else value


def _storable(value: Any) -> Any:
    """DynamoDB's serialiser takes neither floats nor tuples."""
    if isinstance(value, float):
        return Decimal(str(value)) if SMALLEST <= abs(value) <= LARGEST else Decimal(0)  # NaN is neither
    if isinstance(value, Mapping):
        return {name: _storable(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [_storable(each) for each in value]
    return value
