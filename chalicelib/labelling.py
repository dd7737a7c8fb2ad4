"""Use case: bring an image's rows in line with what the bucket holds: look, claim, detect, commit.

Events are hints and the bucket is the truth: nothing in an event counts but the key.
"""

import secrets
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from datetime import datetime

from chalicelib import log
from chalicelib.bucket import Bucket
from chalicelib.detection import Detected, Detection
from chalicelib.errors import (
    AccessLost,
    Contended,
    Deferred,
    ObjectUnavailable,
    PictureRefused,
    Retryable,
    outcome_of,
)
from chalicelib.imaging import inspect
from chalicelib.metrics import Metrics
from chalicelib.model import EXHAUSTED, Answer, Claim, Outcome, Partial, Status, StoredObject
from chalicelib.stopwatch import Stopwatch
from chalicelib.store import Attempt, Store

LOOKS = 5  # each look after the first means that somebody changed the row in between


@dataclass(frozen=True)
class Result:
    outcome: Outcome
    reason: str | None = None
    reused_from: str | None = None


@dataclass(frozen=True)
class Labelling:
    bucket: Bucket
    detection: Detection
    store: Store
    metrics: Metrics
    now: Callable[[], datetime]
    lease_seconds: int

    def label(self, key: str, *, is_last_try: bool = False) -> Outcome:
        """Labels what is under the key now, or removes its rows. Raises Retryable, with nothing lost.

        When the last try fails, the picture has failed as `exhausted`, until somebody tries again after all.
        """
        watch = Stopwatch()
        try:
            result = self._label(key, watch, is_last_try)
        except Exception as failure:
            log.failed(failure, image=key, **watch.facts)
            self.metrics.image(outcome_of(failure))
            raise
        log.done(result.outcome, image=key, **asdict(result), **watch.facts)
        self.metrics.image(result.outcome)
        return result.outcome

    def _label(self, key: str, watch: Stopwatch, is_last_try: bool) -> Result:
        # A row is read before the look that decides over it. So whoever claims on the run that he read
        # has seen the bucket later than whoever wrote that run, and no clocks need to be compared.
        row: Claim | None = None
        for _ in range(LOOKS):
            result = self._act(key, self.bucket.look(key), row, watch, is_last_try)
            if isinstance(result, Result):
                return result
            row = result
        raise Contended(f"the row changed at each of {LOOKS} looks")

    def _act(
        self, key: str, found: StoredObject | None, row: Claim | None, watch: Stopwatch, is_last_try: bool
    ) -> Result | Claim:
        """The result of this look, or the row in its way, which asks for another look."""
        if row is None or not self._settled(row, found):
            run = secrets.token_hex(16)
            attempt = self._take(key, found, run, row)
            if attempt.won:
                if found is None:
                    return Result(Outcome.REMOVED)
                return self._answer(found, run, attempt.row, watch, is_last_try)
            row = attempt.row
        settled = self._settled(row, found)
        if settled is not Outcome.DUPLICATE:
            return Result(settled) if settled else row
        # Somebody who saw the bucket before us may still be about to write on the row as it stands.
        attempt = self.store.fence(key, secrets.token_hex(16), row)
        return Result(settled) if attempt.won else attempt.row

    def _settled(self, row: Claim, found: StoredObject | None) -> Outcome | None:
        version = found.version if found else None
        if row.answers(version):
            return Outcome.DUPLICATE
        if row.is_held(version, self.now().timestamp()):
            return Outcome.IN_PROGRESS
        return None

    def _take(self, key: str, found: StoredObject | None, run: str, row: Claim | None) -> Attempt:
        now = self.now()
        if found is None:
            return self.store.bury(key, run, row, now)
        return self.store.claim(found, run, row, now, self.lease_seconds)

    def _answer(
        self, found: StoredObject, run: str, before: Claim, watch: Stopwatch, is_last_try: bool
    ) -> Result | Claim:
        detected = self.detection.detect(found, before, watch)
        if isinstance(detected.failure, Deferred):
            self.store.release(found.key, run, before, detected.known, self.now(), Status.DEFERRED)
            return Result(Outcome.DEFERRED)
        try:
            answer = _answer(found, detected)
            committed = self.store.commit(
                found, run, answer, before.label_keys, self.now(), wish=before.relabel
            )
        except Exception as failure:
            is_exhausted = is_last_try and not isinstance(failure, AccessLost)
            self._leave(found, run, before, detected.known, is_exhausted)
            if isinstance(failure, ObjectUnavailable) and not self._is_current(found):
                return replace(before, run=run, version=found.version, lease_until=0)
            raise
        if not committed:
            return Result(Outcome.SUPERSEDED)
        return Result(Outcome(answer.status), answer.reason, answer.reused_from)

    def _leave(
        self, found: StoredObject, run: str, before: Claim, partial: Partial, is_exhausted: bool
    ) -> None:
        """Lets the next try begin at once, where this one has ended."""
        try:
            if is_exhausted:
                answer = Answer(Status.FAILED, EXHAUSTED, found.content_type)
                self.store.commit(found, run, answer, before.label_keys, self.now(), partial=partial)
            else:
                self.store.release(found.key, run, before, partial, self.now())
        except Retryable as failure:  # the lease ends by itself; what failed first is what counts
            log.failed(failure, image=found.key, outcome="not_released")

    def _is_current(self, found: StoredObject) -> bool:
        current = self.bucket.look(found.key)
        return current is not None and current.version == found.version


def _answer(found: StoredObject, detected: Detected) -> Answer:
    content_type = inspect(found.head).content_type or found.content_type
    match detected.failure:
        case None:
            return Answer(Status.LABELLED, None, content_type, detected.findings, detected.known.reused_from)
        case PictureRefused(reason=reason):
            return Answer(Status.FAILED, reason, content_type)
    raise detected.failure
