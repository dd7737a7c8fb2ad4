"""Use case: pictures that show this and that but not the other, and the catalogue of what there is."""

import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Self

from chalicelib.deny_list import DenyList
from chalicelib.document import Asked, Document, Kind, Match
from chalicelib.model import Summary
from chalicelib.terms import Catalogued, Terms, first_entry, span_of

MOST_EXAMINED = 1000  # pictures for one request
MOST_SECONDS = 8.0  # for one request: API Gateway waits for 29, and pictures with many words take their time
MOST_AT_ONCE = 100
ENTRY = re.compile(r"([^#]{1,64}#)?\d{6}#[0-9a-f]{32}")  # of a posting


@dataclass(frozen=True)
class Wanted:
    """All of these, none of those, and how sure each must be to count."""

    these: tuple[Asked, ...]
    but_not: tuple[Asked, ...] = ()
    min_confidence: float = 0.0


@dataclass(frozen=True)
class Place:
    """How far a search has come: in the postings of which of the things that are asked for, and where."""

    number: int
    entry: str = ""  # the last that was looked at

    @classmethod
    def read(cls, text: str, wanted: Wanted) -> Self | None:
        """None for what no search for that can have come to."""
        number, _, entry = text.partition("#")
        if not ENTRY.fullmatch(entry):
            return None
        for each, asked in enumerate(wanted.these):
            if number == str(each) and span_of(asked, wanted.min_confidence).holds(entry):
                return cls(each, entry)
        return None

    @property
    def text(self) -> str:
        return f"{self.number}#{self.entry}"


@dataclass(frozen=True)
class Hit:
    summary: Summary
    matched: tuple[Match, ...]


@dataclass(frozen=True)
class Hits:
    """Some of the pictures, the surest first, and from where to look for more."""

    found: tuple[Hit, ...]
    after: Place | None


NOTHING = Hits((), None)


@dataclass(frozen=True)
class Search:
    terms: Terms
    hidden: DenyList
    clock: Callable[[], float] = time.monotonic

    def find(self, wanted: Wanted, after: Place | None, most: int) -> Hits:
        """At most so many pictures; fewer, too, where many had to be looked at."""
        if any(map(self._is_hidden, wanted.these)):
            return NOTHING
        start = after or self._start(wanted)
        return self._hits(wanted, start, most) if start else NOTHING

    def names(self, prefix: str, after: str, page_size: int) -> Iterator[Catalogued]:
        """The catalogue as readers may see it."""
        return (name for name in self.terms.names(prefix, after, page_size) if self._is_shown(name))

    def _hits(self, wanted: Wanted, start: Place, most: int) -> Hits:
        found: list[tuple[Place, Hit]] = []
        end = self.clock() + MOST_SECONDS
        for number, (place, hit) in enumerate(self._examined(wanted, start, most + 1), 1):
            if hit and len(found) == most:
                return Hits(tuple(each for _, each in found), found[-1][0])
            found += [(place, hit)] if hit else []
            if number == MOST_EXAMINED or self.clock() > end:
                return Hits(tuple(each for _, each in found), place)
        return Hits(tuple(each for _, each in found), None)

    def _examined(self, wanted: Wanted, start: Place, most: int) -> Iterator[tuple[Place, Hit | None]]:
        """Each posting that may be of such a picture, and that picture; read as they are asked for."""
        asked = wanted.these[start.number]
        for page in self.terms.postings(asked, wanted.min_confidence, start.entry, _sizes(most)):
            documents = self.terms.documents(dict.fromkeys(posting.source_file for posting in page))
            for posting in page:
                document = documents.get(posting.source_file)
                # Others are out of date, or of a picture that comes, or came, by another of its words.
                is_own = document is not None and first_entry(document, asked) == posting.entry
                hit = self._hit(document, wanted) if document and is_own else None
                yield replace(start, entry=posting.entry), hit

    def _hit(self, document: Document, wanted: Wanted) -> Hit | None:
        shown = self._shown(document)
        if any(shown.match(asked, wanted.min_confidence) for asked in wanted.but_not):
            return None
        matched: list[Match] = []
        for asked in wanted.these:
            match = shown.match(asked, wanted.min_confidence)
            if match is None:
                return None
            matched.append(match)
        return Hit(shown.summary, tuple(matched))

    def _shown(self, document: Document) -> Document:
        """The very same where nothing is hidden: it knows by now what it can be found by."""
        labels = self.hidden.labels(document.labels)
        return document if labels == document.labels else replace(document, labels=labels)

    def _start(self, wanted: Wanted) -> Place | None:
        """At the rarest; None if there is nothing of it."""
        exact = self.terms.counts({asked.term for asked in wanted.these if not asked.is_prefix})
        if 0 in exact.values():
            return None
        counts = [
            self.terms.count_beginning(asked.term) if asked.is_prefix else exact[asked.term]
            for asked in wanted.these
        ]
        return Place(counts.index(min(counts))) if min(counts) else None

    def _is_hidden(self, asked: Asked) -> bool:
        return asked.term.kind is Kind.LABEL and asked.term.name in self.hidden.keys

    def _is_shown(self, name: Catalogued) -> bool:
        """Not the name of what is hidden, nor one that nothing else has."""
        is_of_others = name.is_parent or not name.labels <= self.hidden.keys
        return name.key not in self.hidden.keys and is_of_others


def _sizes(first: int) -> Iterator[int]:
    """Of pages: a first one that may be enough, and then larger ones."""
    while True:
        yield min(first, MOST_AT_ONCE)
        first *= 2
