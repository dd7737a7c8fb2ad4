"""Pictures whose answers are written as labelling writes them, without bucket and detectors."""

from dataclasses import dataclass
from datetime import UTC, datetime
from secrets import token_hex

from chalicelib.claim import Claim, Partial, Secluded
from chalicelib.claims import Claims
from chalicelib.model import Answer, Box, Findings, Image, Label, Line, Moderation, Status, StoredObject, Word
from chalicelib.store import Store

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
BOX = Box(0.1, 0.2, 0.5, 0.4)


@dataclass(frozen=True)
class Answered:
    claims: Claims
    store: Store

    def label(self, key: str, *labels: Label, text: str = "", confidence: float = 90.0) -> None:
        """The words of the text are each as sure as that."""
        lines = (line(text, confidence),) if text else ()
        self._commit(key, Answer(Status.LABELLED, findings=Findings(labels, text=lines)))

    def fail(self, key: str) -> None:
        self._commit(key, Answer(Status.FAILED, "too_small"))

    def begin(self, key: str) -> None:
        """Somebody is at work on it; an old answer stays."""
        self._claim(key, token_hex(4))

    def quarantine(self, key: str) -> None:
        found, run = _found(key), token_hex(4)
        row = self._claim(key, run, found)
        moderation = Moderation(flagged=True)
        secluded = Secluded(found.version, found.version_id, found.etag, "place", moderation)
        partial = Partial(found.version, "recipe", Findings())
        assert self.claims.seclude(found, run, secluded, partial, row, NOW, 150).won
        assert self.claims.conclude(key, run, NOW).won

    def remove(self, key: str) -> None:
        row = self._row(key)
        assert self.claims.bury(key, token_hex(4), row, NOW).won

    def image(self, key: str) -> Image | None:
        return self.store.image(key, NOW)

    def _commit(self, key: str, answer: Answer) -> None:
        found, run = _found(key), token_hex(4)
        row = self._claim(key, run, found)
        assert self.claims.commit(found, run, answer, row, NOW).won

    def _claim(self, key: str, run: str, found: StoredObject | None = None) -> Claim:
        attempt = self.claims.claim(found or _found(key), run, self._row(key), NOW, 150)
        assert attempt.won
        return attempt.row

    def _row(self, key: str) -> Claim:
        """As it stands, by a mark that is not set."""
        return self.claims.fence(key, token_hex(4), NOBODYS).row


NOBODYS = Claim("nobody", None, None, 0, ())


def line(text: str, confidence: float = 90.0) -> Line:
    return Line(text, confidence, BOX, tuple(Word(word, confidence, BOX) for word in text.split()))


def _found(key: str) -> StoredObject:
    return StoredObject(key, token_hex(4), token_hex(4), 48_123, "image/png", NOW, {}, b"")
