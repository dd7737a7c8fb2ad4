"""Use case: what search finds of a picture is brought in line with its answer."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from chalicelib import items, rows
from chalicelib.document import document_of
from chalicelib.errors import Contended
from chalicelib.store import Store
from chalicelib.terms import Terms

ROUNDS = 6  # of reading what there is; one suffices where there is nothing to do


@dataclass(frozen=True)
class Indexing:
    store: Store
    terms: Terms
    now: Callable[[], datetime]

    def index(self, before: items.Row | None, after: items.Row | None) -> None:
        """A change of a row is a hint: what is indexed is the picture as it is by now."""
        row = after or before or {}
        if row["entry"] == rows.IMAGE and _matters(before or {}, after or {}):
            self.update(row["source_file"])

    def update(self, source_file: str) -> None:
        """Ends when there is nothing to do. Raises Contended if others write again and again what the index
        has of the picture."""
        for _ in range(ROUNDS):
            # The index first: whoever writes it by an older answer, after others did, finds it changed. Where
            # those found nothing to write he does not, and so looks at the picture once more.
            indexed = self.terms.indexed(source_file)
            document = document_of(source_file, self.store.image(source_file, self.now()))
            if indexed.says(document):
                return
            self.terms.write(indexed, document, self.now())
        raise Contended(f"others index {source_file!r} all the time")


def _matters(before: items.Row, after: items.Row) -> bool:
    """Whether what can be found may have changed; the stream tells of all that is written."""
    what = ("committed_run", "status", "labels")
    is_findable = any(row.get(name) for row in (before, after) for name in ("labels", "text"))
    return is_findable and any(before.get(name) != after.get(name) for name in what)
