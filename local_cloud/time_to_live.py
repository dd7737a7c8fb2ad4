"""DynamoDB's time to live: deletes rows whose time is past, as the service and not as the app.

AWS takes up to two days about it; here it happens at the first look.
https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/time-to-live-ttl-streams.html
"""

from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import moto.dynamodb.models as dynamodb_models
from moto.core import DEFAULT_ACCOUNT_ID

from local_cloud.clock import Clock
from local_cloud.functions import Task
from local_cloud.moto_patches import STATE

_SERVICE = {"Type": "Service", "PrincipalId": "dynamodb.amazonaws.com"}
_LOOK_EVERY = 1.0
_TOO_OLD = 5 * 365 * 24 * 60 * 60  # AWS leaves rows that expired more than five years ago


class TimeToLive:
    """Looks over every table that has a time-to-live attribute."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._next_look = 0.0

    def look_at_once(self) -> None:
        self._next_look = 0.0

    def take(self, capacity: int) -> list[Task]:  # noqa: ARG002 - it runs nothing itself
        now = self._clock.time()
        if now < self._next_look:
            return []
        self._next_look = now + _LOOK_EVERY
        with STATE:
            for table in dynamodb_models.dynamodb_backends[DEFAULT_ACCOUNT_ID]["us-east-1"].tables.values():
                if table.ttl.get("TimeToLiveStatus") == "ENABLED":
                    _expire(table, now)
        return []

    def next_due(self) -> None:
        """AWS promises no time."""


def _expire(table: Any, now: float) -> None:
    for row in [row for row in rows_of(table) if _is_expired(row, table.ttl["AttributeName"], now)]:
        table.delete_item(row.hash_key, row.range_key)
        if table.stream_shard:
            table.stream_shard.items[-1].record["userIdentity"] = _SERVICE


def rows_of(table: Any) -> Iterator[Any]:
    """In any order: to sort them, as moto does, takes longer than to look at them."""
    for rows in table.items.values():
        yield from rows.values() if table.range_key_attr else [rows]


def _is_expired(row: Any, attribute: str, now: float) -> bool:
    value = row.attrs.get(attribute)
    return value is not None and value.type == "N" and now - _TOO_OLD <= Decimal(value.value) <= now
