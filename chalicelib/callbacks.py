"""Adapter: callbacks on their way, in the DynamoDB table `images`.

The row `delivery#<event id>` stands under its image's key for thirty days. While attempts are to come, it is
in the index `by_status` too, under `due` and the time at which somebody has to see to it: so what is due is
found by a Query, and an attempt and the time of the next are one write.
"""

import re
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from itertools import islice
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from chalicelib import items, rows
from chalicelib.aws_errors import DYNAMODB, error_code, translated
from chalicelib.callback import Callback, State
from chalicelib.dynamodb import pages

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

LIFE = timedelta(days=30)
LEASE = timedelta(seconds=70)  # the time-out of the function that makes attempts, and a margin
GRACE = timedelta(minutes=1)  # in which the message of what is new leads to an attempt
HANDOVER = timedelta(minutes=15)  # in which any message does, also behind others
EARLY = 5.0  # seconds that a message may come before its time, by another clock
ENTRY = "delivery#"
DUE = f"due#{items.SHARD}"

NOT_WAITING: items.Row = {"status_key": None, "updated_at": None}


@dataclass(frozen=True)
class Due:
    """A callback that somebody has to see to, and since when, as its place in the index says."""

    source_file: str
    event_id: str
    updated_at: str

    @property
    def moment(self) -> datetime:
        return datetime.fromisoformat(self.updated_at.partition("~")[0])


class Callbacks:
    """Every method raises AccessLost, Throttled or ServiceFailed when DynamoDB gives no answer."""

    def __init__(self, client: "DynamoDBClient", table: str) -> None:
        self._client = client
        self._table = table

    def announce(self, callback: Callback, now: datetime) -> bool:
        """Makes its row; False if the event has one."""
        change = {
            **asdict(callback),
            **_waiting(callback.source_file, now + GRACE),
            "lease_until": 0,
            "expires_at": _end_of_life(now),
            "schema": items.SCHEMA,
        }
        key = _key(change.pop("source_file"), change.pop("event_id"))
        row = self._change(key, change, "attribute_not_exists(entry)", {})
        return row.get("round") == callback.round

    def claim(self, source_file: str, event_id: str, claim: str, now: datetime) -> Callback | None:
        """The callback, ours to attempt until the lease ends; None if there is nothing to attempt now."""
        change = {
            **_waiting(source_file, now + HANDOVER),
            "claim": claim,
            "lease_until": (now + LEASE).timestamp(),
        }
        condition = "#state = :pending AND due_at <= :soon AND lease_until <= :now"
        soon = now.timestamp() + EARLY
        given = {":pending": State.PENDING, ":soon": soon, ":now": now.timestamp()}
        row = self._change(_key(source_file, event_id), change, condition, given)
        return _read(row) if row.get("claim") == claim else None

    def record(self, callback: Callback, claim: str, look_at: datetime | None) -> bool:
        """Gives it back as it is by now, to be seen to then, or never; False if it is not ours any more."""
        change = {
            **(_waiting(callback.source_file, look_at) if look_at else NOT_WAITING),
            "attempts": [asdict(attempt) for attempt in callback.attempts],
            "state": callback.state,
            "due_at": callback.due_at,
            "lease_until": 0,
        }
        key = _key(callback.source_file, callback.event_id)
        row = self._change(key, change, "claim = :claim", {":claim": claim})
        return row.get("claim") == claim

    def replay(
        self, source_file: str, event_id: str, a_round: str, now: datetime, after: str | None = None
    ) -> Callback | None:
        """Lets its attempts begin anew as that round; with `after`, only if that one came to nothing.

        None if there is no such event, or it is in another round.
        """
        change: dict[str, Any] = {
            **_waiting(source_file, now + GRACE),
            "attempts": [],
            "state": State.PENDING,
            "started_at": now.timestamp(),
            "due_at": now.timestamp(),
            "round": a_round,
            "claim": None,
            "lease_until": 0,
            "expires_at": _end_of_life(now),
        }
        condition, given = "attribute_exists(entry)", {}
        if after is not None:
            condition, given = (
                "#round = :after AND #state = :exhausted",
                {
                    ":after": after,
                    ":exhausted": State.EXHAUSTED,
                },
            )
        row = self._change(_key(source_file, event_id), change, condition, given)
        return _read(row) if row.get("round") == a_round else None

    def of_image(self, source_file: str, now: datetime) -> list[Callback]:
        """All that are remembered, the newest first."""
        query = {
            "KeyConditionExpression": "source_file = :file AND begins_with(entry, :entry)",
            "ExpressionAttributeValues": items.marshal({":file": source_file, ":entry": ENTRY}),
        }
        found = [_read(row) for row in self._query(query) if not items.is_expired(row, now)]
        return sorted(found, key=lambda callback: (callback.created_at, callback.event_id), reverse=True)

    def due(self, until: datetime, most: int) -> list[Due]:
        """Those that have to be seen to until then, the longest waiting first."""
        query = {
            "IndexName": "by_status",
            "KeyConditionExpression": "status_key = :due AND updated_at < :until",
            "ExpressionAttributeValues": items.marshal({":due": DUE, ":until": rows.position("", until)}),
            "Limit": most,
        }
        return [_read_due(row) for row in islice(self._query(query), most)]

    def hand_over(self, due: Due, now: datetime) -> bool:
        """Takes it for seen to until there must have been an attempt; False if somebody else has."""
        change = _waiting(due.source_file, now + HANDOVER)
        given = {":read": due.updated_at}
        row = self._change(_key(due.source_file, due.event_id), change, "updated_at = :read", given)
        return row.get("updated_at") == change["updated_at"]

    def _change(self, key: items.Row, change: items.Row, condition: str, given: items.Row) -> dict[str, Any]:
        """The row as it then is: changed, or as it stands in the way; empty if there is none.

        A lost answer of our own looks like another's write, so what was written decides whose it is.
        """
        try:
            with translated(DYNAMODB):
                answer = self._client.update_item(
                    TableName=self._table,
                    Key=items.marshal(key),
                    **_update(change, condition, given),
                    ReturnValues="ALL_NEW",
                    ReturnValuesOnConditionCheckFailure="ALL_OLD",
                )
        except ClientError as error:
            if error_code(error) != "ConditionalCheckFailedException":
                raise
            in_the_way: Any = error.response.get("Item", {})
            return items.unmarshal(in_the_way)
        return items.unmarshal(answer["Attributes"])

    def _query(self, query: Any) -> Iterator[items.Row]:
        for page in pages(self._client, {"TableName": self._table, **query}):
            yield from map(items.unmarshal, page)


def _key(source_file: str, event_id: str) -> dict[str, str]:
    return {"source_file": source_file, "entry": f"{ENTRY}{event_id}"}


def _waiting(source_file: str, look_at: datetime) -> dict[str, str]:
    return {"status_key": DUE, "updated_at": rows.position(source_file, look_at)}


def _end_of_life(now: datetime) -> int:
    return int((now + LIFE).timestamp())


def _update(change: items.Row, condition: str, given: items.Row) -> dict[str, Any]:
    """Sets what has a value and drops what has none. Every name has a stand-in: DynamoDB reserves many."""
    kept = {name: value for name, value in change.items() if value is not None}
    dropped = [f"#{name}" for name in change if name not in kept]
    update = "SET " + ", ".join(f"#{name} = :{name}" for name in kept)
    names = {*change, *re.findall(r"#(\w+)", condition)}
    return {
        "UpdateExpression": update + (f" REMOVE {', '.join(dropped)}" if dropped else ""),
        "ConditionExpression": condition,
        "ExpressionAttributeNames": {f"#{name}": name for name in names},
        "ExpressionAttributeValues": items.marshal(
            {**{f":{name}": value for name, value in kept.items()}, **given}
        ),
    }


def _read(row: items.Row) -> Callback:
    return items.read({**row, "event_id": row["entry"].removeprefix(ENTRY)}, Callback)


def _read_due(row: items.Row) -> Due:
    return Due(row["source_file"], row["entry"].removeprefix(ENTRY), row["updated_at"])
