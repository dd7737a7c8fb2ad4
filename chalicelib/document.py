"""What a picture can be found by: its labels, by each of their names, and the words that are read in it."""

import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import cached_property

from chalicelib.model import Image, Label, Line, Status, Summary, label_key, top_labels

MAX_WORD = 64  # characters of a word that tell it from others
MOST_WORDS = 200  # different ones of a picture, the surest; Rekognition reads 100
MOST_NAMES = 10  # aliases of a label, and parents
LEAST_PREFIX = 2  # characters
UNSEEN = (Status.QUARANTINING, Status.QUARANTINED, Status.FAILED, Status.REMOVED)


class Kind(StrEnum):
    LABEL = "label"
    WORD = "word"


class Because(StrEnum):
    """Why something is found, the better reasons first."""

    NAME = "name"
    ALIAS = "alias"
    PARENT = "parent"
    WORD = "word"
    PREFIX = "prefix"


BEST_FIRST = tuple(Because)


@dataclass(frozen=True, order=True)
class Term:
    """One spelling for every way to write a label's name, or a word."""

    kind: Kind
    name: str


@dataclass(frozen=True)
class Asked:
    """What a client asks for, and the term that it means, or what such terms begin with."""

    text: str
    term: Term
    is_prefix: bool = False

    def means(self, term: Term) -> bool:
        if self.is_prefix:
            return term.kind is self.term.kind and term.name.startswith(self.term.name)
        return term == self.term


@dataclass(frozen=True)
class Match:
    asked: str
    label: str | None
    word: str | None
    because: Because
    confidence: float


@dataclass(frozen=True)
class Reading:
    """A word as it is read in the picture."""

    word: str
    confidence: float


@dataclass(frozen=True)
class Reason:
    """One reason to find a picture by a term."""

    term: Term
    because: Because
    confidence: float
    spelling: str
    label: Label | None = None
    word: str | None = None

    def match(self, asked: Asked) -> Match:
        because = Because.PREFIX if asked.is_prefix else self.because
        label = self.label.name if self.label else None
        return Match(asked.text, label, self.word, because, self.confidence)


@dataclass(frozen=True)
class Document:
    """Of a picture that nobody may find, nothing but its key."""

    source_file: str
    status: Status = Status.REMOVED
    reason: str | None = None
    labelled_at: str | None = None
    labels: tuple[Label, ...] = ()
    words: tuple[Reading, ...] = ()

    @property
    def summary(self) -> Summary:
        return Summary(self.source_file, self.status, self.reason, self.labelled_at, top_labels(self.labels))

    @cached_property
    def reasons(self) -> Mapping[Term, tuple[Reason, ...]]:
        found: dict[Term, list[Reason]] = {}
        for reason in self._reasons():
            found.setdefault(reason.term, []).append(reason)
        return {term: tuple(reasons) for term, reasons in found.items()}

    @cached_property
    def ranks(self) -> Mapping[Term, str]:
        """Of each term by the surest of its reasons."""
        return {
            term: rank(max(reason.confidence for reason in reasons)) for term, reasons in self.reasons.items()
        }

    def match(self, asked: Asked, least: float) -> Match | None:
        """How the picture is found by that with this confidence, by the best reason; None if it is not."""
        reasons = [
            reason
            for term in self._meant(asked)
            for reason in self.reasons[term]
            if reason.confidence >= least
        ]
        if not reasons:
            return None
        best = min(reasons, key=lambda reason: (BEST_FIRST.index(reason.because), -reason.confidence))
        return best.match(asked)

    def _meant(self, asked: Asked) -> Iterable[Term]:
        if asked.is_prefix:
            return filter(asked.means, self.reasons)
        return {asked.term} & self.reasons.keys()

    def _reasons(self) -> Iterator[Reason]:
        for label in self.labels:
            for because, names in _names(label).items():
                for name in names:
                    term = Term(Kind.LABEL, label_key(name))
                    yield Reason(term, because, label.confidence, name, label=label)
        for read in self.words:
            for word in words_of(read.word):
                term = Term(Kind.WORD, word)
                yield Reason(term, Because.WORD, read.confidence, word, word=read.word)


def document_of(source_file: str, image: Image | None) -> Document:
    """Of the image as readers see it: an old answer is found until there is a new one."""
    if image is None or image.status in UNSEEN or not (image.labels or image.text):
        return Document(source_file)
    return Document(
        source_file,
        image.status,
        image.reason,
        image.labelled_at,
        tuple(_findable(label) for label in image.labels if label.name),
        tuple(_readings(image.text or ())),
    )


def asked_label(name: str) -> Asked:
    return Asked(name, Term(Kind.LABEL, label_key(name)))


def asked_words(text: str) -> Iterator[Asked]:
    """Each word of the text; one with a star at its end is asked for by what it begins with.

    Where a star stands elsewhere, it is by nothing.
    """
    for piece in _pieces(text, "*"):
        word, star, rest = piece.partition("*")
        name = _shortened(word) if _has_letters(word) and not rest else ""
        if name or star:
            yield Asked(name + star, Term(Kind.WORD, name), is_prefix=bool(star))


def words_of(text: str) -> Iterator[str]:
    """The words in a text, in one spelling for every way to write them."""
    return map(_shortened, filter(_has_letters, _pieces(text)))


def rank(confidence: float) -> str:
    """Sorts the surest first, and is of one length."""
    return f"{round((100 - min(max(confidence, 0), 100)) * 1000):06d}"


def _pieces(text: str, also: str = "") -> list[str]:
    """Runs of letters, with their marks, and digits, and of what else is to be among them."""
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
    return "".join(each if each in also or _is_of_word(each) else " " for each in folded).split()


def _shortened(word: str) -> str:
    return word[:MAX_WORD]


def _has_letters(piece: str) -> bool:
    """Or digits, and not only the marks that go with them."""
    return any(map(str.isalnum, piece))


def _is_of_word(character: str) -> bool:
    return unicodedata.category(character)[0] in "LMN"


def _names(label: Label) -> Mapping[Because, tuple[str, ...]]:
    return {Because.NAME: (label.name,), Because.ALIAS: label.aliases, Because.PARENT: label.parents}


def _findable(label: Label) -> Label:
    """Without what is not asked for in search."""
    aliases, parents = (tuple(filter(None, names))[:MOST_NAMES] for names in (label.aliases, label.parents))
    return replace(label, aliases=aliases, parents=parents, categories=(), instances=())


def _readings(lines: Iterable[Line]) -> Iterator[Reading]:
    """The surest words, as long as there is room for the different ones in them."""
    different: set[str] = set()
    words = (word for line in lines for word in line.words)
    for word in sorted(words, key=lambda word: -word.confidence):
        found = set(words_of(word.word))
        if found and len(different | found) <= MOST_WORDS:
            different |= found
            yield Reading(word.word, word.confidence)
