"""Adapter: how far the sweeps have come, in the DynamoDB table `state`."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from chalicelib import rows
from chalicelib.aws_errors import translated
from chalicelib.store import CODES

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient


@dataclass(frozen=True)
class Cursor:
    """Where a sweep goes on: behind `after`, empty at the beginning, and not before `rests_until`."""

    after: str = ""
    rests_until: float = 0  # seconds since 1970


class Cursors:
    """Every method raises AccessLost, Throttled or ServiceFailed when DynamoDB gives no answer."""

    def __init__(self, client: "DynamoDBClient", table: str) -> None:
        self._client = client
        self._table = table

    def read(self, sweep: str) -> Cursor:
        with translated(CODES):
            answer = self._client.get_item(TableName=self._table, Key=rows.marshal(_key(sweep)))
        row = rows.unmarshal(answer.get("Item", {}))
        return Cursor(row.get("after", ""), float(row.get("rests_until", 0)))

    def write(self, sweep: str, cursor: Cursor) -> None:
        row = {**_key(sweep), "after": cursor.after, "rests_until": cursor.rests_until}
        with translated(CODES):
            self._client.put_item(TableName=self._table, Item=rows.marshal(row))


def _key(sweep: str) -> rows.Row:
    return {"name": "sweep", "entry": sweep}
