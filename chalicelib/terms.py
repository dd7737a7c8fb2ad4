"""Adapter: the DynamoDB table `terms`, what search is made of.

A picture has the row `image#<digest>`: its document, and exactly the postings that there are of it. A posting
stands under its term, the surest first, so that a Query finds it. A counter says how many pictures have a
term; it is several rows, among which the pictures are shared out, so that no row is written for all of them.
"""

import hashlib
import re
import secrets
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta
from heapq import merge
from itertools import groupby
from math import inf
from operator import itemgetter
from typing import TYPE_CHECKING, Any

from chalicelib import items
from chalicelib.aws_errors import translated
from chalicelib.document import BEST_FIRST, LEAST_PREFIX, Asked, Because, Document, Kind, Reason, Term, rank
from chalicelib.dynamodb import CODES, MOST_KEYS, pages, read_all, transact
from chalicelib.model import label_key

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

SHARDS = 8  # of a counter: a row takes a thousand writes a second, and half as many in transactions
TOMBSTONE_LIFE = timedelta(days=1)
MOST_ACTIONS = 99  # of a transaction, beside the one on the document
ENTRY = "document"
CATALOGUES = {Kind.LABEL: "labels", Kind.WORD: "words"}
BEHIND_EVERY_WORD, BEHIND_NUMBER_SIGN = "\U0010ffff", "$"  # characters, in the order of a key's bytes
FIELDS = ("source_file", "status", "reason", "labelled_at", "labels", "words")
OF_PARENT = (True, "")


@dataclass(frozen=True)
class Indexed:
    """What the table has of a picture: its document, the ranks of its postings, and which write that was."""

    document: Document
    ranks: Mapping[Term, str] = field(default_factory=dict)
    version: str | None = None  # None where there is no row
    is_whole: bool = True  # or else there are counters that have not been told of the document yet

    def says(self, document: Document) -> bool:
        """Whether that is what the table has, and nothing is left to do."""
        is_there = self.version is not None and self.is_whole
        return is_there and self.document == document and self.ranks == document.ranks


@dataclass(frozen=True)
class Posting:
    entry: str
    source_file: str


@dataclass(frozen=True)
class Catalogued:
    """A name of labels, and how many pictures have it."""

    key: str
    name: str
    count: int
    labels: frozenset[str] = frozenset()  # the keys of those that it is the name or an alias of
    is_parent: bool = False


@dataclass(frozen=True)
class Span:
    """Where the postings stand that may be what is asked for."""

    term: str
    low: str
    high: str

    def holds(self, entry: str) -> bool:
        return self.low <= entry <= self.high


@dataclass(frozen=True)
class Change:
    """Of one posting of a picture, and what the term's counter does not know yet."""

    term: Term
    before: str | None  # its rank, where it has one
    after: str | None
    news: tuple[Reason, ...] = ()

    @property
    def counts(self) -> int:
        return (self.after is not None) - (self.before is not None)

    @property
    def is_any(self) -> bool:
        return self.before != self.after or bool(self.news)


class Terms:
    """Every method raises AccessLost, Throttled, ServiceFailed or Contended when DynamoDB gives no answer."""

    def __init__(
        self, client: "DynamoDBClient", table: str, sleep: Callable[[float], None] = time.sleep
    ) -> None:
        self._client = client
        self._table = table
        self._sleep = sleep

    def indexed(self, source_file: str) -> Indexed:
        with translated(CODES):
            item = self._client.get_item(
                TableName=self._table, Key=items.marshal(_document_key(source_file)), ConsistentRead=True
            ).get("Item")
        return _read_indexed(items.unmarshal(item)) if item else Indexed(Document(source_file))

    def write(self, indexed: Indexed, document: Document, now: datetime) -> bool:
        """Makes this the document, with its postings and counters; False if the row is not as it was read.

        It takes one transaction or several, and after each of them the row says what there is.
        """
        if indexed.says(document):
            return True
        for actions, ranks, is_last in _steps(self._table, indexed, document):
            after = Indexed(document, ranks, secrets.token_hex(8), is_last)
            put = {"Put": _put_document(self._table, after, indexed.version, now)}
            if self._transact([put, *actions]) not in (None, after.version):
                return False
            indexed = after
        return True

    def counts(self, terms: Collection[Term]) -> dict[Term, int]:
        """How many pictures have each of these terms."""
        counted = dict.fromkeys(terms, 0)
        keys = [_counter_key(term, shard) for term in counted for shard in range(SHARDS)]
        for row in self._get(keys, ("term", "entry", "count")):
            counted[_counted(row)] += int(row["count"])
        return counted

    def count_beginning(self, term: Term) -> float:
        """How often words of pictures begin so; infinitely often where one page does not tell."""
        count = 0
        for shard in range(SHARDS):
            page = self._page(_counters(term.kind, shard, term.name), MOST_KEYS)
            if "LastEvaluatedKey" in page:
                return inf
            count += sum(int(item["count"]["N"]) for item in page["Items"])
        return count

    def postings(
        self, asked: Asked, least: float, after: str, sizes: Iterable[int]
    ) -> Iterator[list[Posting]]:
        """Those behind an entry that may be what is asked for, in pages of these sizes, read one by one."""
        span = span_of(asked, least)
        condition = _condition("#term = :term AND #entry BETWEEN :low AND :high", **vars(span))
        query = _starting(condition, span.term, after)
        for size in sizes:
            page = self._page(query, size)
            yield [Posting(item["entry"]["S"], item["source_file"]["S"]) for item in page["Items"]]
            if "LastEvaluatedKey" not in page:
                return
            query["ExclusiveStartKey"] = page["LastEvaluatedKey"]

    def documents(self, source_files: Iterable[str]) -> dict[str, Document]:
        """By key, as far as there are any."""
        found = self._get([_document_key(each) for each in source_files], FIELDS)
        return {row["source_file"]: items.read(row, Document) for row in found}

    def names(self, prefix: str, after: str, page_size: int) -> Iterator[Catalogued]:
        """The names of labels, aliases and parents that begin so, in order, behind a key, read as they are
        asked for."""
        lists = [self._names(shard, prefix, after, page_size) for shard in range(SHARDS)]
        for key, counters in groupby(merge(*lists, key=itemgetter("entry")), itemgetter("entry")):
            catalogued = _sum(key, [*counters])
            if catalogued.count:
                yield catalogued

    def _names(self, shard: int, prefix: str, after: str, page_size: int) -> Iterator[items.Row]:
        counters = _counters(Kind.LABEL, shard, label_key(prefix))
        query = _starting(counters, _counter_term(Kind.LABEL, shard), after)
        for page in pages(self._client, {**query, "TableName": self._table, "Limit": page_size}):
            yield from map(items.unmarshal, page)

    def _page(self, query: Any, size: int) -> Any:
        with translated(CODES):
            return self._client.query(TableName=self._table, Limit=size, **query)

    def _get(self, keys: list[dict[str, str]], fields: Iterable[str]) -> Iterator[items.Row]:
        return map(items.unmarshal, read_all(self._client, self._table, map(items.marshal, keys), fields))

    def _transact(self, actions: list[Any]) -> str | None:
        """Runs the actions, the first on the document; the version in its way, if there is one.

        A lost answer of our own looks like another's write: then it is our version.
        """
        in_the_way = transact(self._client, actions, self._sleep)
        return None if in_the_way is None else str(items.unmarshal(in_the_way).get("version"))


def span_of(asked: Asked, least: float) -> Span:
    """The postings of what is sure enough; of a prefix, all."""
    name, limit = asked.term.name, f"{rank(least)}{BEHIND_NUMBER_SIGN}"
    if asked.term.kind is Kind.LABEL:
        return Span(_posting_term(asked.term), "0", limit)
    if asked.is_prefix:
        return Span(_posting_term(asked.term), name, name + BEHIND_EVERY_WORD)
    return Span(_posting_term(asked.term), f"{name}#", f"{name}#{limit}")


def first_entry(document: Document, asked: Asked) -> str | None:
    """Of the document's postings that are what is asked for: a picture may have several such words."""
    meant = (term for term in document.ranks if asked.means(term))
    entries = (_entry(document.source_file, term, document.ranks[term]) for term in meant)
    return min(entries, default=None)


def _changes(indexed: Indexed, document: Document) -> Iterator[Change]:
    for term in sorted(indexed.ranks.keys() | document.ranks.keys()):
        change = Change(
            term, indexed.ranks.get(term), document.ranks.get(term), _news(indexed, document, term)
        )
        if change.is_any:
            yield change


def _news(indexed: Indexed, document: Document, term: Term) -> tuple[Reason, ...]:
    """Reasons that the term's counter was not told of by this picture."""
    if term.kind is Kind.WORD:
        return ()
    is_told = indexed.is_whole and term in indexed.ranks
    known = indexed.document.reasons.get(term, ()) if is_told else ()
    told = {_told_of(reason) for reason in known}
    news = (reason for reason in document.reasons.get(term, ()) if _told_of(reason) not in told)
    return tuple(sorted(news, key=lambda reason: BEST_FIRST.index(reason.because)))


def _told_of(reason: Reason) -> tuple[bool, str]:
    """Whether it is a parent's name; else the label's key that it names. A parent would have too many."""
    if reason.label is None or reason.because is Because.PARENT:
        return OF_PARENT
    return False, label_key(reason.label.name)


def _steps(
    table: str, indexed: Indexed, document: Document
) -> Iterator[tuple[list[Any], dict[Term, str], bool]]:
    """The actions of each transaction, the ranks of the postings that there are after it, and whether it is
    the last."""
    ranks = {**indexed.ranks}
    actions: list[Any] = []
    for change in _changes(indexed, document):
        more = [*_actions(table, document.source_file, change)]
        if len(actions) + len(more) > MOST_ACTIONS:
            yield actions, {**ranks}, False
            actions = []
        actions += more
        ranks.pop(change.term, None)
        ranks |= {change.term: change.after} if change.after else {}
    yield actions, ranks, True


def _actions(table: str, source_file: str, change: Change) -> Iterator[Any]:
    """On different items, as DynamoDB wants it."""
    if change.before != change.after:
        if change.after:
            row = {**_posting_key(source_file, change.term, change.after), "source_file": source_file}
            yield {"Put": {"TableName": table, "Item": items.marshal(row)}}
        if change.before:
            key = _posting_key(source_file, change.term, change.before)
            yield {"Delete": {"TableName": table, "Key": items.marshal(key)}}
    if change.counts or change.news:
        key = _counter_key(change.term, _shard(source_file))
        yield {"Update": {"TableName": table, "Key": items.marshal(key), **_counting(change)}}


def _counting(change: Change) -> dict[str, Any]:
    """Beside its count, a label's name is told how it is spelled, and of which labels it is one."""
    told = {_told_of(reason) for reason in change.news}
    sets: dict[str, Any] = {"name": change.news[0].spelling} if change.news else {}
    sets |= {"is_parent": True} if OF_PARENT in told else {}
    labels = {key for is_parent, key in told if not is_parent}
    adds = {"count": change.counts, **({"labels": labels} if labels else {})}
    setting = [f"SET {', '.join(f'#{name} = :{name}' for name in sets)}"] if sets else []
    adding = f"ADD {', '.join(f'#{name} :{name}' for name in adds)}"
    values = {**sets, **adds}
    return {
        "UpdateExpression": " ".join([*setting, adding]),
        "ExpressionAttributeNames": {f"#{name}": name for name in values},
        "ExpressionAttributeValues": items.marshal({f":{name}": value for name, value in values.items()}),
    }


def _put_document(table: str, indexed: Indexed, before: str | None, now: datetime) -> dict[str, Any]:
    """Puts the document in the place of that version, or where there is none."""
    there = {"ExpressionAttributeValues": items.marshal({":version": before})} if before else {}
    return {
        "TableName": table,
        "Item": items.marshal(_document_row(indexed, now)),
        "ConditionExpression": "#version = :version" if before else "attribute_not_exists(#version)",
        "ExpressionAttributeNames": {"#version": "version"},
        **there,
        "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
    }


def _document_row(indexed: Indexed, now: datetime) -> dict[str, Any]:
    """One that is empty is a tombstone: who has read the picture before it was gone cannot write any more."""
    document = indexed.document
    is_empty = not (indexed.ranks or document.reasons)
    return {
        **_document_key(document.source_file),
        **asdict(document),
        "labels": [_without_nothing(asdict(label)) for label in document.labels],
        "postings": [f"{term.kind}#{term.name}#{rank}" for term, rank in sorted(indexed.ranks.items())],
        "version": indexed.version,
        "is_half_way": None if indexed.is_whole else True,
        "expires_at": int((now + TOMBSTONE_LIFE).timestamp()) if is_empty else None,
        "schema": items.SCHEMA,
    }


def _read_indexed(row: items.Row) -> Indexed:
    ranks = dict(map(_read_posting, row["postings"]))
    return Indexed(items.read(row, Document), ranks, row["version"], "is_half_way" not in row)


def _read_posting(text: str) -> tuple[Term, str]:
    kind, _, rest = text.partition("#")
    name, _, rank = rest.rpartition("#")
    return Term(Kind(kind), name), rank


def _without_nothing(fields: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value != ()}


def _sum(key: str, counters: list[items.Row]) -> Catalogued:
    return Catalogued(
        key,
        counters[0].get("name", key),
        sum(int(counter["count"]) for counter in counters),
        frozenset(label for counter in counters for label in counter.get("labels", ())),
        any(counter.get("is_parent") for counter in counters),
    )


def _counters(kind: Kind, shard: int, prefix: str) -> dict[str, Any]:
    """The query for those of one shard whose names begin so."""
    term = _counter_term(kind, shard)
    if not prefix:
        return _condition("#term = :term", term=term)
    return _condition("#term = :term AND begins_with(#entry, :prefix)", term=term, prefix=prefix)


def _condition(expression: str, **values: str) -> dict[str, Any]:
    return {
        "KeyConditionExpression": expression,
        "ExpressionAttributeNames": {f"#{name}": name for name in re.findall(r"#(\w+)", expression)},
        "ExpressionAttributeValues": items.marshal({f":{name}": value for name, value in values.items()}),
    }


def _starting(query: dict[str, Any], term: str, after: str) -> dict[str, Any]:
    """The query from behind an entry on."""
    return {**query, "ExclusiveStartKey": items.marshal({"term": term, "entry": after})} if after else query


def _document_key(source_file: str) -> dict[str, str]:
    return {"term": f"image#{_digest(source_file)}", "entry": ENTRY}


def _posting_key(source_file: str, term: Term, rank: str) -> dict[str, str]:
    return {"term": _posting_term(term), "entry": _entry(source_file, term, rank)}


def _posting_term(term: Term) -> str:
    """Words stand together by how they begin, so that a prefix is one Query."""
    name = term.name if term.kind is Kind.LABEL else term.name[:LEAST_PREFIX]
    return f"{term.kind}#{name}#{items.SHARD}"


def _entry(source_file: str, term: Term, rank: str) -> str:
    word = f"{term.name}#" if term.kind is Kind.WORD else ""
    return f"{word}{rank}#{_digest(source_file)}"


def _counter_key(term: Term, shard: int) -> dict[str, str]:
    return {"term": _counter_term(term.kind, shard), "entry": term.name}


def _counted(row: items.Row) -> Term:
    """The term that a counter counts."""
    kind = next(kind for kind, name in CATALOGUES.items() if row["term"].startswith(f"{name}#"))
    return Term(kind, row["entry"])


def _shard(source_file: str) -> int:
    return int(_digest(source_file), 16) % SHARDS


def _counter_term(kind: Kind, shard: int) -> str:
    return f"{CATALOGUES[kind]}#{shard}"


def _digest(source_file: str) -> str:
    """An object's key may be too long for a key of a row."""
    return hashlib.sha256(source_file.encode()).hexdigest()[:32]
