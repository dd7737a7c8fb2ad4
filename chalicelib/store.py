"""Adapter: what the DynamoDB table `images` tells: of one image, in lists, and of what got lost."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from heapq import merge
from itertools import islice, takewhile
from typing import TYPE_CHECKING, Any

from chalicelib import items, rows
from chalicelib.aws_errors import translated
from chalicelib.deny_list import DenyList
from chalicelib.dynamodb import CODES, pages, read_all
from chalicelib.model import Image, Status, Summary, Upload

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

# An upload: its URL is good for a quarter of an hour at most, and a slow one may end an hour after.
EXPECTED_FOR = timedelta(minutes=75)

RECORDED = ("source_file", "status", "etag", "uploaded_at")

NOTHING_HIDDEN = DenyList()

Position = tuple[str, ...]  # of an image in a list; empty before the first


@dataclass(frozen=True)
class Listed:
    """One image of a list, and where in the list it stands."""

    position: Position
    summary: Summary


@dataclass(frozen=True)
class Standing:
    """An image as it stands in the list of its status, until it changes."""

    source_file: str
    updated_at: str

    @property
    def moment(self) -> datetime:
        return datetime.fromisoformat(self.updated_at.partition("~")[0])


@dataclass(frozen=True)
class Recorded:
    """What a row says of the object that it answers for."""

    status: Status
    etag: str | None
    uploaded_at: datetime | None

    def is_of(self, etag: str, uploaded_at: datetime) -> bool:
        """The same content may have been put again; S3 tells times in seconds."""
        return (
            self.etag == etag
            and self.uploaded_at is not None
            and abs(self.uploaded_at - uploaded_at) <= timedelta(seconds=1)
        )


class Store:
    """Every method raises AccessLost, Throttled or ServiceFailed when DynamoDB gives no answer."""

    def __init__(self, client: "DynamoDBClient", table: str, hidden: DenyList = NOTHING_HIDDEN) -> None:
        self._client = client
        self._table = table
        self._hidden = hidden

    def expect_upload(self, source_file: str, upload: Upload, expires_at: datetime, now: datetime) -> None:
        row = rows.upload_row(source_file, upload, int(expires_at.timestamp()), now)
        with translated(CODES):
            self._client.put_item(TableName=self._table, Item=items.marshal(row))

    def image(self, source_file: str, now: datetime) -> Image | None:
        """The whole answer, as of the last commit; None for what is unknown, removed or expired."""
        with translated(CODES):
            item = self._client.get_item(
                TableName=self._table, Key=items.marshal(rows.image_key(source_file)), ConsistentRead=True
            ).get("Item")
        row = items.unmarshal(item) if item else None
        if row is None or row["status"] == Status.REMOVED or items.is_expired(row, now):
            return None
        return self._hidden.image(rows.read_image(row))

    def newest(
        self, statuses: Sequence[Status], after: Position, page_size: int, now: datetime
    ) -> Iterator[Listed]:
        """The images of these statuses, last changed first, read as they are asked for."""
        lists = [self._of_status(status, after, page_size, now) for status in statuses]
        for row in merge(*lists, key=lambda row: str(row["updated_at"]), reverse=True):
            if not items.is_expired(row, now):
                yield Listed((row["updated_at"],), self._summary(row))

    def showing(self, label: str, min_confidence: float, after: Position, page_size: int) -> Iterator[Listed]:
        """The images with this label, most confident first, read as they are asked for."""
        if self._hidden.hides(label):
            return
        values = {":key": rows.label_index_key(label), ":least": min_confidence}
        start = rows.label_position(label, *after) if after else None
        condition = "label_key = :key AND label_confidence >= :least"
        for row in self._query("by_label", condition, values, start, page_size):
            yield Listed((str(row["label_confidence"]), row["source_file"]), self._summary(row))

    def unchanged_since(self, status: Status, moment: datetime, most: int) -> list[Standing]:
        """The images that have had this status since before that moment, the longest first."""
        return self._standing(status, "updated_at < :moment", items.index_time(moment), most)

    def standing(self, status: Status, after: str, most: int) -> list[Standing]:
        """The images of this status behind a place in its list, the longest unchanged first."""
        return self._standing(status, "updated_at > :moment", after or " ", most)

    def recorded(self, keys: Iterable[str]) -> dict[str, Recorded]:
        """What the image rows of these keys say, as far as there are any."""
        asked = (items.marshal(rows.image_key(key)) for key in keys)
        found = map(items.unmarshal, read_all(self._client, self._table, asked, RECORDED))
        return {row["source_file"]: _recorded(row) for row in found}

    def _summary(self, row: items.Row) -> Summary:
        return self._hidden.summary(rows.read_summary(row))

    def _standing(self, status: Status, condition: str, moment: str, most: int) -> list[Standing]:
        values = {":key": rows.status_index_key(status), ":moment": moment}
        condition = f"status_key = :key AND {condition}"
        page = islice(self._query("by_status", condition, values, None, most, is_descending=False), most)
        return [Standing(row["source_file"], row["updated_at"]) for row in page]

    def _of_status(
        self, status: Status, after: Position, page_size: int, now: datetime
    ) -> Iterator[items.Row]:
        values = {":key": rows.status_index_key(status), ":before": after[0] if after else "~"}
        condition = "status_key = :key AND updated_at < :before"
        found = self._query("by_status", condition, values, None, page_size)
        if status is not Status.AWAITING_UPLOAD:
            return found
        # DynamoDB may leave uploads that nobody made for two days, and there may be any number of them.
        oldest = items.index_time(now - EXPECTED_FOR)
        return takewhile(lambda row: row["updated_at"] >= oldest, found)

    def _query(
        self,
        index: str,
        condition: str,
        values: items.Row,
        start: items.Row | None,
        page_size: int,
        *,
        is_descending: bool = True,
    ) -> Iterator[items.Row]:
        query: dict[str, Any] = {
            "TableName": self._table,
            "IndexName": index,
            "KeyConditionExpression": condition,
            "ExpressionAttributeValues": items.marshal(values),
            "ScanIndexForward": not is_descending,
            "Limit": page_size,
        }
        if start:
            query["ExclusiveStartKey"] = items.marshal(start)
        for page in pages(self._client, query):
            yield from map(items.unmarshal, page)


def _recorded(row: items.Row) -> Recorded:
    uploaded_at = row.get("uploaded_at")
    return Recorded(
        Status(row["status"]), row.get("etag"), datetime.fromisoformat(uploaded_at) if uploaded_at else None
    )
