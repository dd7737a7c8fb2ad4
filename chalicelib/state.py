"""Adapter: the DynamoDB table `state`, of what the app remembers besides pictures.

A row that has expired is no row, though DynamoDB shows it for up to two days more.
"""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, TypeVar

from msgspec import ValidationError

from chalicelib import items
from chalicelib.aws_errors import DYNAMODB, translated
from chalicelib.dynamodb import is_done

if TYPE_CHECKING:
    from _typeshed import DataclassInstance
    from mypy_boto3_dynamodb import DynamoDBClient

T = TypeVar("T", bound="DataclassInstance")


@dataclass(frozen=True)
class Counter:
    """What `State.count` leaves in a row."""

    count: int


class State:
    """Every method raises AccessLost, Throttled or ServiceFailed when DynamoDB gives no answer."""

    def __init__(self, client: "DynamoDBClient", table: str, now: Callable[[], datetime]) -> None:
        self._client = client
        self._table = table
        self.now = now

    def get(self, name: str, entry: str, kind: type[T]) -> T | None:
        """The row as it is now; None too for what another version of this code wrote in a way of its own."""
        with translated(DYNAMODB):
            item = self._client.get_item(
                TableName=self._table, Key=items.marshal(_key(name, entry)), ConsistentRead=True
            ).get("Item")
        row = items.unmarshal(item) if item else None
        if row is None or items.is_expired(row, self.now()):
            return None
        try:
            return items.read(row, kind)
        except ValidationError:
            return None

    def put(self, name: str, entry: str, value: "DataclassInstance", life: timedelta) -> None:
        """Writes the row, which expires after so long, whatever stands there."""
        row = {**_key(name, entry), **asdict(value), "expires_at": self._end(life)}
        with translated(DYNAMODB):
            self._client.put_item(TableName=self._table, Item=items.marshal(row))

    def set(self, name: str, entry: str, fields: Mapping[str, str], life: timedelta) -> None:
        """Writes these fields of a row, which expires after so long, and leaves the others as they are."""
        values = {f":{field}": value for field, value in fields.items()}
        sets = ", ".join(f"#{field} = :{field}" for field in fields)
        self._update(
            Key=items.marshal(_key(name, entry)),
            UpdateExpression=f"SET {sets}, expires_at = :end",
            ExpressionAttributeNames={f"#{field}": field for field in fields},
            ExpressionAttributeValues=items.marshal({**values, ":end": self._end(life)}),
        )

    def count(self, name: str, entry: str, limit: int, life: timedelta) -> bool:
        """Adds one to the row's `count`; False if that would take it over the limit.

        Where the answer is lost, it may have been added. What has expired counts no more.
        """
        return self._add_one(name, entry, limit, life) or self._begin_anew(name, entry, life)

    def _add_one(self, name: str, entry: str, limit: int, life: timedelta) -> bool:
        return self._is_updated(
            Key=items.marshal(_key(name, entry)),
            UpdateExpression="SET expires_at = :end ADD #count :one",
            ConditionExpression="attribute_not_exists(#count) OR (#count < :limit AND expires_at > :now)",
            ExpressionAttributeNames={"#count": "count"},
            ExpressionAttributeValues=items.marshal(
                {":one": 1, ":limit": limit, ":end": self._end(life), ":now": self._now}
            ),
        )

    def _begin_anew(self, name: str, entry: str, life: timedelta) -> bool:
        return self._is_updated(
            Key=items.marshal(_key(name, entry)),
            UpdateExpression="SET #count = :one, expires_at = :end",
            ConditionExpression="expires_at <= :now",
            ExpressionAttributeNames={"#count": "count"},
            ExpressionAttributeValues=items.marshal({":one": 1, ":end": self._end(life), ":now": self._now}),
        )

    def _is_updated(self, **update: Any) -> bool:
        return is_done(lambda: self._update(**update))

    def _update(self, **update: Any) -> None:
        with translated(DYNAMODB):
            self._client.update_item(TableName=self._table, **update)

    @property
    def _now(self) -> int:
        return int(self.now().timestamp())

    def _end(self, life: timedelta) -> int:
        return int((self.now() + life).timestamp())


def _key(name: str, entry: str) -> dict[str, str]:
    return {"name": name, "entry": entry}
