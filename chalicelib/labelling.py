"""Use case: bring an image's rows in line with what the bucket holds: look, claim, detect, commit.

Events are hints and the bucket is the truth: nothing in an event counts but the key.
"""

import secrets
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime

from chalicelib import log
from chalicelib.bucket import Bucket
from chalicelib.claim import Claim, Partial, Secluded, place_of
from chalicelib.claims import Attempt, Claims
from chalicelib.deaths import Deaths
from chalicelib.detection import Detected, Detection, Wait, no_time
from chalicelib.errors import (
    AccessLost,
    Contended,
    Deadly,
    Deferred,
    ObjectUnavailable,
    PictureRefused,
    Retryable,
    ServiceFailed,
    outcome_of,
)
from chalicelib.imaging import inspect
from chalicelib.metrics import Metrics
from chalicelib.model import Answer, Findings, Outcome, Status, StoredObject
from chalicelib.quarantining import Quarantining
from chalicelib.stopwatch import Stopwatch

LOOKS = 5  # each look after the first means that somebody changed the row in between


@dataclass(frozen=True)
class Result:
    outcome: Outcome
    reason: str | None = None
    reused_from: str | None = None


@dataclass(frozen=True)
class Try:
    """One time that somebody looks after a key."""

    key: str
    is_last: bool
    wait: Wait
    watch: Stopwatch = field(default_factory=Stopwatch)


@dataclass(frozen=True)
class Labelling:
    bucket: Bucket
    detection: Detection
    quarantining: Quarantining
    claims: Claims
    deaths: Callable[[], Deaths]  # of pictures: whoever follows nobody dead has no use for their table
    metrics: Metrics
    now: Callable[[], datetime]
    lease_seconds: int
    quarantines: bool  # what moderation flags
    quarantine_seconds: int  # from its beginning, in which a try may set about taking a picture there

    def label(self, key: str, *, is_last_try: bool = False, wait: Wait = no_time) -> Outcome:
        """Labels what is under the key now, or removes its rows. Raises Retryable, with nothing lost.

        Where a detector is throttled it waits, and asks again, for as long as there is time to wait.
        When the last try fails, the picture has failed as `exhausted`, until somebody tries again after all.
        """
        this = Try(key, is_last_try, wait)
        try:
            result = self._label(this)
        except Exception as failure:
            log.failed(failure, image=key, **this.watch.facts)
            self.metrics.image(outcome_of(failure))
            raise
        log.done(result.outcome, image=key, **asdict(result), **this.watch.facts)
        self.metrics.image(result.outcome)
        return result.outcome

    def _label(self, this: Try) -> Result:
        # A row is read before the look that decides over it. So whoever claims on the run that he read
        # has seen the bucket later than whoever wrote that run, and no clocks need to be compared.
        row: Claim | None = None
        for _ in range(LOOKS):
            result = self._act(this, self.bucket.look(this.key), row)
            if isinstance(result, Result):
                return result
            row = result
        raise Contended(f"the row changed at each of {LOOKS} looks")

    def _act(self, this: Try, found: StoredObject | None, row: Claim | None) -> Result | Claim:
        """The result of this look, or the row in its way, which asks for another look."""
        if row is None or not self._settled(row, found):
            run = secrets.token_hex(16)
            attempt = self._take(this.key, found, run, row)
            if attempt.won:
                return self._work(this, found, run, attempt.row)
            row = attempt.row
        settled = self._settled(row, found)
        if settled is not Outcome.DUPLICATE:
            return Result(settled) if settled else row
        # Somebody who saw the bucket before us may still be about to write on the row as it stands.
        attempt = self.claims.fence(this.key, secrets.token_hex(16), row)
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
        if row and row.goes_on(found):
            return self.claims.resume(key, run, row, now, self.lease_seconds)
        if found:
            return self.claims.claim(found, run, row, now, self.lease_seconds)
        if row and row.secluded:
            self.quarantining.purge(key, row.secluded)
        return self.claims.bury(key, run, row, now)

    def _work(self, this: Try, found: StoredObject | None, run: str, before: Claim) -> Result | Claim:
        if before.secluded and before.goes_on(found):
            return self._go_on(this, run, before, before.secluded)
        if not found:
            return Result(Outcome.REMOVED)
        if before.purge and before.is_released(found):  # it came out of quarantine when it was to go
            self.bucket.mark_deleted(found.key, found.etag)
            return replace(before, run=run, version=found.version, lease_until=0)
        answer = self._answer_at_risk if before.is_suspect(found.version) else self._answer
        return answer(this, found, run, before)

    def _answer_at_risk(self, this: Try, found: StoredObject, run: str, before: Claim) -> Result | Claim:
        """Unless too many have died of it: each death may cost all detectors, and nobody would hear of it."""
        deaths, cause = self.deaths(), f"{place_of(found)}/{before.relabel or ''}"
        try:
            deaths.count(cause)
        except (Deadly, Retryable) as failure:
            partial = before.partial or Partial(found.version, "", Findings())
            is_exhausted = isinstance(failure, Deadly)
            self._leave(found, run, before, partial, is_exhausted=is_exhausted, is_suspect=True)
            raise
        with deaths.survived(cause):
            return self._answer(this, found, run, before)

    def _go_on(self, this: Try, run: str, before: Claim, secluded: Secluded) -> Result | Claim:
        """Takes the picture on its way into quarantine, or back to where the next look finds it."""
        key = this.key
        try:
            if this.watch.milliseconds > self.quarantine_seconds * 1000:
                raise ServiceFailed("labelling took so long that the next try is to go on")
            if before.release:
                self.quarantining.give_back(key, secluded, before.release)
                return replace(before, run=run, lease_until=0)
            ended = self.quarantining.isolate(key, run, secluded)
            return replace(ended, lease_until=0) if isinstance(ended, Claim) else Result(ended)
        except ObjectUnavailable:  # it is in neither bucket
            attempt = self.claims.bury(key, secrets.token_hex(16), replace(before, run=run), self.now())
            return Result(Outcome.REMOVED) if attempt.won else attempt.row
        except Exception:
            self._let_go(key, run)
            raise

    def _answer(self, this: Try, found: StoredObject, run: str, before: Claim) -> Result | Claim:
        detected = self.detection.detect(found, before, this.watch, this.wait)
        if isinstance(detected.failure, Deferred):
            self.claims.leave(found.key, run, before, detected.known, self.now(), Status.DEFERRED)
            return Result(Outcome.DEFERRED)
        try:
            answer = _answer(found, detected)
            secluded = self._secluded(found, answer, before)
            if before.secluded:  # an older version, or this one before it was released
                self.quarantining.purge(this.key, before.secluded)
            attempt = self._commit(found, run, before, answer, detected.known, secluded)
        except Exception as failure:
            is_gone = self._is_gone(found, failure)
            is_exhausted = this.is_last and not isinstance(failure, AccessLost) and not is_gone
            self._leave(found, run, before, detected.known, is_exhausted=is_exhausted)
            if is_gone:
                return replace(before, run=run, version=found.version, lease_until=0)
            raise
        if not attempt.won:
            is_ours = attempt.row.run == run  # and somebody wants the picture gone
            return replace(attempt.row, lease_until=0) if is_ours else Result(Outcome.SUPERSEDED)
        if secluded:
            return self._go_on(this, run, _secluded_by(before, found, secluded), secluded)
        return Result(Outcome(answer.status), answer.reason, answer.reused_from)

    def _secluded(self, found: StoredObject, answer: Answer, before: Claim) -> Secluded | None:
        """Where the picture is to go, if it must not be seen; ObjectUnavailable if it is gone already."""
        moderation = answer.findings.moderation
        if not self.quarantines or moderation is None or not moderation.flagged or before.exemption(found):
            return None
        if not self._is_current(found):
            raise ObjectUnavailable("a picture to be put into quarantine was deleted")
        return Secluded(found.version, found.version_id, found.etag, place_of(found), moderation)

    def _commit(
        self,
        found: StoredObject,
        run: str,
        before: Claim,
        answer: Answer,
        known: Partial,
        secluded: Secluded | None,
    ) -> Attempt:
        now = self.now()
        if secluded:
            return self.claims.seclude(found, run, secluded, known, before, now, self.lease_seconds)
        return self.claims.commit(found, run, answer, before, now)

    def _leave(
        self,
        found: StoredObject,
        run: str,
        before: Claim,
        partial: Partial,
        *,
        is_exhausted: bool,
        is_suspect: bool = False,
    ) -> None:
        """Lets the next try begin at once, where this one has ended."""
        try:
            if is_exhausted:
                self.claims.exhaust(found, run, before, partial, self.now())
            else:
                self.claims.leave(found.key, run, before, partial, self.now(), is_suspect=is_suspect)
        except Retryable as failure:  # the lease ends by itself; what failed first is what counts
            log.failed(failure, image=found.key, outcome="not_released")

    def _let_go(self, key: str, run: str) -> None:
        try:
            self.claims.let_go(key, run)
        except Retryable as failure:
            log.failed(failure, image=key, outcome="not_released")

    def _is_gone(self, found: StoredObject, failure: Exception) -> bool:
        """Whether that is why there is no answer; False if S3 does not tell."""
        try:
            return isinstance(failure, ObjectUnavailable) and not self._is_current(found)
        except Retryable as unknown:
            log.failed(unknown, image=found.key, outcome="not_looked_at")
            return False

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


def _secluded_by(before: Claim, found: StoredObject, secluded: Secluded) -> Claim:
    """The row after we have said in it where the picture goes."""
    return replace(
        before, version=found.version, label_keys=(), secluded=secluded, release=None, purge=None, exempt=None
    )
