"""Adapter: what is remembered of the receivers of callbacks, in the DynamoDB table `state`."""

import hashlib
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from chalicelib import items
from chalicelib.aws_errors import DYNAMODB, translated
from chalicelib.dynamodb import is_done

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

TIMEOUTS = 5  # in a row, after which a host is put off
# At first, and then twice as long with each time-out. Who comes to a host that hangs stands in the way of all
# others for as long as an attempt takes, and of a thousand hosts there may be ten.
PAUSE, LONGEST_PAUSE = timedelta(minutes=1), timedelta(minutes=15)
MEMORY = timedelta(days=1)  # of time-outs
GONE_LIFE = timedelta(days=30)


@dataclass(frozen=True)
class Standing:
    """How a host has behaved lately."""

    host: str
    timeouts: int = 0  # in a row
    paused_until: float = 0  # seconds since 1970

    @property
    def hangs(self) -> bool:
        return self.timeouts >= TIMEOUTS

    @property
    def pause(self) -> timedelta:
        """After one time-out more."""
        doublings = min(max(self.timeouts + 1 - TIMEOUTS, 0), 10)
        return min(PAUSE * (1 << doublings), LONGEST_PAUSE)


class Receivers:
    """Every method raises AccessLost, Throttled or ServiceFailed when DynamoDB gives no answer."""

    def __init__(self, client: "DynamoDBClient", table: str) -> None:
        self._client = client
        self._table = table

    def standing(self, host: str, now: datetime) -> Standing:
        row = self._row(_host(host))
        if row is None or items.is_expired(row, now):
            return Standing(host)
        return Standing(host, int(row["timeouts"]), float(row["paused_until"]))

    def admits(self, standing: Standing, now: datetime) -> bool:
        """Whether to try a host: one that hangs is tried by one at a time, and more and more seldom."""
        if not standing.hangs:
            return True
        if now.timestamp() < standing.paused_until:
            return False
        return self._take_turn(standing, now)

    def timed_out(self, standing: Standing, now: datetime) -> None:
        values = {":until": (now + standing.pause).timestamp(), ":end": _end(now, MEMORY), ":one": 1}
        if not self._count_one(standing.host, values, now):
            self._begin_anew(standing.host, values)

    def answered(self, standing: Standing) -> None:
        """Whatever it was: the next time-out is the first of a row."""
        if standing.timeouts:
            with translated(DYNAMODB):
                self._client.delete_item(TableName=self._table, Key=items.marshal(_host(standing.host)))

    def is_gone(self, url: str, now: datetime) -> bool:
        """Whether the receiver wants no more at this URL."""
        row = self._row(_url(url))
        return row is not None and not items.is_expired(row, now)

    def note_gone(self, url: str, now: datetime) -> None:
        row = {**_url(url), "expires_at": _end(now, GONE_LIFE)}
        with translated(DYNAMODB):
            self._client.put_item(TableName=self._table, Item=items.marshal(row))

    def forget_gone(self, url: str) -> None:
        with translated(DYNAMODB):
            self._client.delete_item(TableName=self._table, Key=items.marshal(_url(url)))

    def _count_one(self, host: str, values: items.Row, now: datetime) -> bool:
        """False if what stands there is to be forgotten."""
        update = {
            "UpdateExpression": "SET paused_until = :until, expires_at = :end ADD timeouts :one",
            "ConditionExpression": "attribute_not_exists(expires_at) OR expires_at > :now",
            "ExpressionAttributeValues": items.marshal({**values, ":now": int(now.timestamp())}),
        }
        return is_done(lambda: self._update(_host(host), update))

    def _begin_anew(self, host: str, values: items.Row) -> None:
        update = {
            "UpdateExpression": "SET paused_until = :until, expires_at = :end, timeouts = :one",
            "ExpressionAttributeValues": items.marshal(values),
        }
        self._update(_host(host), update)

    def _take_turn(self, standing: Standing, now: datetime) -> bool:
        update = {
            "UpdateExpression": "SET paused_until = :until",
            "ConditionExpression": "paused_until = :read",
            "ExpressionAttributeValues": items.marshal(
                {":until": (now + PAUSE).timestamp(), ":read": standing.paused_until}
            ),
        }
        return is_done(lambda: self._update(_host(standing.host), update))

    def _row(self, key: items.Row) -> items.Row | None:
        with translated(DYNAMODB):
            # Consistent: who forgets a URL to send to it again may be followed at once by who sends.
            item = self._client.get_item(
                TableName=self._table, Key=items.marshal(key), ConsistentRead=True
            ).get("Item")
        return items.unmarshal(item) if item else None

    def _update(self, key: items.Row, update: Any) -> None:
        with translated(DYNAMODB):
            self._client.update_item(TableName=self._table, Key=items.marshal(key), **update)


def _host(host: str) -> dict[str, str]:
    return {"name": f"receiver#{host}", "entry": "host"}


def _url(url: str) -> dict[str, str]:
    return {"name": "gone", "entry": hashlib.sha256(url.encode()).hexdigest()}


def _end(now: datetime, life: timedelta) -> int:
    return int((now + life).timestamp())
