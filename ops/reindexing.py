"""`python -m ops reindex`: what search finds is brought in line with the pictures, of a whole stage."""

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from time import sleep
from typing import Any

from rich.console import Console

from chalicelib.errors import Contended, Throttled
from chalicelib.indexing import Indexing
from chalicelib.model import VISIBLE
from chalicelib.store import Store
from chalicelib.terms import ENTRY, Terms
from ops.account import Account
from ops.inventory import unless_absent
from ops.problems import Problem
from ops.stage import Stage

AT_ONCE = 8
PAUSES = (1, 2, 4, 8, 16, 32)  # seconds, for what others write at the same time, such as the same counters
PAGE = 500  # pictures


def run(stage: Stage, console: Console) -> None:
    """Changes nothing that can be found and is as it should be, so that it can be run at any time, and again.

    Raises Problem if some pictures could not be brought in line.
    """
    account = Account()
    stage.check_home(account)
    client = account.client("dynamodb")
    for table in (stage.images_table, stage.terms_table):
        if unless_absent(client.describe_table, TableName=table) is None:
            raise Problem(
                f"There is no table {table} in {account}: `make deploy STAGE={stage.name}` makes it."
            )
    reindexing = Reindexing(client, stage.images_table, stage.terms_table)
    for looked_at in reindexing.run():
        console.print(f"{looked_at:,} pictures")
    console.print(f"What search finds is as the pictures are: {reindexing.looked_at:,} were looked at.")


@dataclass
class Reindexing:
    client: Any
    images: str
    terms: str
    looked_at: int = field(default=0, init=False)

    def run(self) -> Iterator[int]:
        """Tells after each page how many it has looked at."""
        store = Store(self.client, self.images)
        indexing = Indexing(store, Terms(self.client, self.terms), lambda: datetime.now(UTC))
        seen: set[str] = set()
        for page in self._pages(store):
            yield self._update(indexing, page)
            seen.update(page)
        for page in self._indexed():
            yield self._update(indexing, [key for key in page if key not in seen])
        self._forget_what_nobody_has()

    def _update(self, indexing: Indexing, keys: list[str]) -> int:
        left = self._busy(indexing, keys)
        for pause in PAUSES:
            if left:
                sleep(pause)
                left = self._busy(indexing, left)
        if left:
            raise Problem(
                f"{len(left)} pictures are written by others all the time, such as {left[0]!r}: "
                "run the same command again in a minute."
            )
        self.looked_at += len(keys)
        return self.looked_at

    def _busy(self, indexing: Indexing, keys: list[str]) -> list[str]:
        """Those that could not be brought in line at the moment."""
        with ThreadPoolExecutor(AT_ONCE) as pool:
            done = pool.map(lambda key: _is_in_line(indexing, key), keys)
            return [key for key, is_done in zip(keys, done, strict=True) if not is_done]

    def _pages(self, store: Store) -> Iterator[list[str]]:
        """Of each status the longest unchanged first: what changes meanwhile comes again or by the stream."""
        for status in VISIBLE:
            after = ""
            while page := store.standing(status, after, PAGE):
                yield [each.source_file for each in page]
                after = page[-1].updated_at

    def _indexed(self) -> Iterator[list[str]]:
        """Those with a document: a picture may be gone of which the stream has never told."""
        pages = self._scan(
            FilterExpression="#entry = :document AND attribute_not_exists(expires_at)",
            ProjectionExpression="source_file",
            ExpressionAttributeNames={"#entry": "entry"},
            ExpressionAttributeValues={":document": {"S": ENTRY}},
        )
        return ([item["source_file"]["S"] for item in page] for page in pages)

    def _forget_what_nobody_has(self) -> None:
        """Words are without end, and a counter of none is read by who asks for what begins so."""
        names, none = {"#count": "count"}, {":none": {"N": "0"}}
        where = {"ExpressionAttributeNames": names, "ExpressionAttributeValues": none}
        for page in self._scan(
            FilterExpression="#count = :none",
            ProjectionExpression="#term, #entry",
            ExpressionAttributeNames={**names, "#term": "term", "#entry": "entry"},
            ExpressionAttributeValues=none,
        ):
            for key in page:
                with suppress(self.client.exceptions.ConditionalCheckFailedException):  # somebody has it now
                    self.client.delete_item(
                        TableName=self.terms, Key=key, ConditionExpression="#count = :none", **where
                    )

    def _scan(self, **what: Any) -> Iterator[list[Any]]:
        pages: Iterable[Any] = self.client.get_paginator("scan").paginate(TableName=self.terms, **what)
        return (page["Items"] for page in pages)


def _is_in_line(indexing: Indexing, source_file: str) -> bool:
    """Unless others write the picture's rows all the time, or its counters."""
    try:
        indexing.update(source_file)
    except (Contended, Throttled):
        return False
    return True
