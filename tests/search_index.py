"""What the table `terms` has, and what it ought to have: made anew from each picture, by the simplest way."""

import hashlib
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import moto.dynamodb.models as dynamodb_models
from moto.core import DEFAULT_ACCOUNT_ID

from chalicelib.items import unmarshal
from chalicelib.model import Image, Label, Status

UNSEEN = {Status.QUARANTINING, Status.QUARANTINED, Status.FAILED}

Postings = set[tuple[str, str, str]]  # kind, name, and the key of the picture
Rows = list[dict[str, Any]]


@dataclass(frozen=True)
class Index:
    """Of which pictures it has what, and how many have it."""

    postings: Postings
    counts: dict[tuple[str, str], int]


def table_of(name: str) -> Any:
    return dynamodb_models.dynamodb_backends[DEFAULT_ACCOUNT_ID]["us-east-1"].tables[name]


def rows_of(table: str) -> Rows:
    """From moto's own store: a Scan takes its time."""
    return [unmarshal(item.to_json()["Attributes"]) for item in table_of(table).all_items()]


def indexed(rows: Rows) -> Index:
    """Raises AssertionError where the documents and the postings do not say the same."""
    found = [row for row in rows if re.match("(label|word)#", row["term"])]
    postings = {(*_term_of(row), row["source_file"]) for row in found}
    noted = {(*_noted(posting), row["source_file"]) for row in rows for posting in row.get("postings", ())}
    assert len(found) == len(postings)
    assert postings == noted
    counts: Counter[tuple[str, str]] = Counter()
    for row in rows:
        if kind := re.match("(label|word)s#", row["term"]):
            counts[kind[1], row["entry"]] += int(row["count"])
    return Index(postings, {term: count for term, count in counts.items() if count})


def expected(images: Iterable[Image | None]) -> Index:
    postings = {(*term, image.source_file) for image in images if image for term in {*terms(image)}}
    return Index(postings, dict(Counter((kind, name) for kind, name, _ in postings)))


def terms(image: Image) -> Iterator[tuple[str, str]]:
    if image.status in UNSEEN:
        return
    for label in image.labels:
        yield from (("label", folded(name)) for name in (label.name, *label.aliases, *label.parents))
    yield from (("word", word) for _, word, _ in words(image))


def words(image: Image) -> Iterator[tuple[str, str, float]]:
    """As read, folded, and how sure; of texts without marks."""
    for line in image.text or ():
        for read in line.words:
            for word in re.findall(r"[^\W_]+", unicodedata.normalize("NFKC", read.word).casefold()):
                yield read.word, word, read.confidence


def folded(name: str) -> str:
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())


def digest(source_file: str) -> str:
    return hashlib.sha256(source_file.encode()).hexdigest()[:32]


def matched(image: Image, asked: str, least: float, hidden: Iterable[str]) -> Mapping[str, Any] | None:
    """How a picture is found by a label, by its best reason."""
    for because, of in (("name", _own_name), ("alias", _aliases), ("parent", _parents)):
        fitting = [
            label
            for label in image.labels
            if label.confidence >= least
            and folded(label.name) not in hidden
            and folded(asked) in {folded(name) for name in of(label)} - {*hidden}
        ]
        if fitting:
            best = max(fitting, key=lambda label: label.confidence)
            return {
                "asked": asked,
                "label": best.name,
                "word": None,
                "because": because,
                "confidence": best.confidence,
            }
    return None


def matched_word(image: Image, asked: str, least: float) -> Mapping[str, Any] | None:
    """The same of a word; of one with a star, by what begins so."""
    wanted = asked.removesuffix("*")
    fitting = [
        (confidence, read)
        for read, word, confidence in words(image)
        if confidence >= least and (word.startswith(wanted) if "*" in asked else word == wanted)
    ]
    if not fitting:
        return None
    confidence = max(confidence for confidence, _ in fitting)
    read = next(read for each, read in fitting if each == confidence)
    because = "prefix" if "*" in asked else "word"
    return {"asked": asked, "label": None, "word": read, "because": because, "confidence": confidence}


def _own_name(label: Label) -> tuple[str, ...]:
    return (label.name,)


def _aliases(label: Label) -> tuple[str, ...]:
    return label.aliases


def _parents(label: Label) -> tuple[str, ...]:
    return label.parents


def _term_of(row: Mapping[str, Any]) -> tuple[str, str]:
    kind, _, rest = row["term"].partition("#")
    return (kind, rest.rpartition("#")[0]) if kind == "label" else (kind, row["entry"].split("#")[0])


def _noted(posting: str) -> tuple[str, str]:
    kind, _, rest = posting.partition("#")
    return kind, rest.rpartition("#")[0]
