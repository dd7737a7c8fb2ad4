"""`python -m ops reindex`: what search finds is brought in line with the pictures, of a whole stage."""

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from rich.console import Console

from chalicelib.errors import Contended
from chalicelib.indexing import Indexing
from chalicelib.model import VISIBLE
from chalicelib.store import Store
from chalicelib.terms import ENTRY, Terms
from ops.account import Account
from ops.inventory import unless_absent
from ops.problems import Problem
from ops.stage import Stage

AT_ONCE = 8
PAGE = 500  # pictures


def run(stage: Stage, console: Console) -> None:
    """Changes nothing of what is as it should be, so that it can be run at any time, and again."""
    account = Account()
    stage.check_home(account)
    images, terms, _ = stage.tables
    client = account.client("dynamodb")
    for table in (images, terms):
        if unless_absent(client.describe_table, TableName=table) is None:
            raise Problem(
                f"There is no table {table} in {account}: `make deploy STAGE={stage.name}` makes it."
            )
    reindexing = Reindexing(client, images, terms)
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

    def _update(self, indexing: Indexing, keys: list[str]) -> int:
        with ThreadPoolExecutor(AT_ONCE) as pool:
            for _ in pool.map(lambda key: _bring_in_line(indexing, key), keys):
                self.looked_at += 1
        return self.looked_at

    def _pages(self, store: Store) -> Iterator[list[str]]:
        """Of each status the longest unchanged first: what changes meanwhile comes again or by the stream."""
        for status in VISIBLE:
            after = ""
            while page := store.standing(status, after, PAGE):
                yield [each.source_file for each in page]
                after = page[-1].updated_at

    def _indexed(self) -> Iterator[list[str]]:
        """Those with a document: a picture may be gone of which the stream has never told."""
        pages: Iterable[Any] = self.client.get_paginator("scan").paginate(
            TableName=self.terms,
            FilterExpression="#entry = :document AND attribute_not_exists(expires_at)",
            ProjectionExpression="source_file",
            ExpressionAttributeNames={"#entry": "entry"},
            ExpressionAttributeValues={":document": {"S": ENTRY}},
        )
        return ([item["source_file"]["S"] for item in page["Items"]] for page in pages)


def _bring_in_line(indexing: Indexing, source_file: str) -> None:
    with suppress(Contended):  # the stream's function is at it, by what is newer
        indexing.update(source_file)
