"""Use case: a callback is attempted once, and what came of it is written down.

At least once: whoever dies between the attempt and its record leaves it to be made again, with the same id.
"""

import secrets
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from enum import StrEnum
from typing import TypeVar

from chalicelib import log
from chalicelib.callback import Callback, Errand, PastAttempt, State
from chalicelib.callbacks import Callbacks
from chalicelib.errors import Retryable, outcome_of
from chalicelib.items import timestamp
from chalicelib.metrics import Metrics
from chalicelib.queue import Queue
from chalicelib.receivers import Receivers, Standing
from chalicelib.signing_secret import SigningSecret
from chalicelib.stopwatch import Stopwatch
from chalicelib.webhook import Attempt, Kind, Webhook

T = TypeVar("T")

STATES = {Kind.DELIVERED: State.DELIVERED, Kind.GONE: State.GONE, Kind.FAILED: State.PENDING}


class Ending(StrEnum):
    """How a message about a callback ended."""

    DELIVERED = "delivered"
    FAILED = "failed"
    GONE = "gone"
    EXHAUSTED = "exhausted"
    PUT_OFF = "put_off"  # its host hangs, or nothing can sign it
    NOT_DUE = "not_due"
    SUPERSEDED = "superseded"


@dataclass(frozen=True)
class Delivery:
    callbacks: Callbacks
    receivers: Receivers
    secret: SigningSecret
    webhook: Webhook
    dead_letters: Queue
    metrics: Metrics
    now: Callable[[], datetime]

    def deliver(self, text: str) -> None:
        """Does what a message asks for. Raises Retryable, with nothing lost and the attempt not counted."""
        watch, about = Stopwatch(), {}
        try:
            errand = Errand.read(text)
            about = {"image": errand.source_file, "event": errand.event_id}
            ending = self._deliver(errand)
        except Exception as failure:
            log.failed(failure, **about, **watch.facts)
            self.metrics.callback(outcome_of(failure))
            raise
        log.done(ending, outcome=ending, **about, **watch.facts)
        self.metrics.callback(ending)

    def _deliver(self, errand: Errand) -> Ending:
        claim, now = secrets.token_hex(16), self.now()
        where = errand.source_file, errand.event_id
        if errand.exhausted:
            self.callbacks.replay(*where, secrets.token_hex(8), now, after=errand.exhausted)
        keys = self._keys()
        if not keys:
            return Ending.PUT_OFF
        callback = self.callbacks.claim(*where, claim, now)
        if callback is None:
            return Ending.NOT_DUE
        if callback.is_used_up(now):
            return self._give_up(callback, claim)
        return self._attempt(callback, claim, keys)

    def _keys(self) -> tuple[bytes, ...]:
        """None while the secret cannot be read: then the message is done with, and `recover` finds the row.

        A message that failed instead would become a dead letter, as if its receiver were to blame.
        """
        try:
            return self.secret.keys()
        except Retryable as failure:
            log.failed(failure)
            return ()

    def _attempt(self, callback: Callback, claim: str, keys: tuple[bytes, ...]) -> Ending:
        now = self.now()
        if self._recall(lambda: self.receivers.is_gone(callback.url, now), False):
            return self._close(replace(callback, state=State.GONE), claim, Ending.GONE)
        standing = self._recall(lambda: self.receivers.standing(callback.host, now), Standing(callback.host))
        if not self._recall(lambda: self.receivers.admits(standing, now), True):
            self.callbacks.record(callback, claim, callback.waiting(now))
            return Ending.PUT_OFF
        attempt = self.webhook.post(callback.url, callback.event_id, callback.body.encode(), keys)
        self._remember(callback, standing, attempt)
        return self._settle(self._tried(callback, attempt, now), claim)

    def _tried(self, callback: Callback, attempt: Attempt, at: datetime) -> Callback:
        outcome = f"{attempt.status // 100}xx" if attempt.status else str(attempt.error)
        past = PastAttempt(timestamp(at), outcome, attempt.milliseconds)
        return callback.after(past, STATES[attempt.kind], attempt.retry_after or 0, self.now())

    def _settle(self, callback: Callback, claim: str) -> Ending:
        if callback.state is not State.PENDING:
            return self._close(callback, claim, Ending(callback.state))
        due = datetime.fromtimestamp(callback.due_at, UTC)
        if not self.callbacks.record(callback, claim, due):
            return Ending.SUPERSEDED
        return self._give_up(callback, claim) if callback.is_used_up(self.now()) else Ending.FAILED

    def _give_up(self, callback: Callback, claim: str) -> Ending:
        """Puts it where an operator finds it, and only then says so: who dies between does it again."""
        errand = Errand(callback.source_file, callback.event_id, exhausted=callback.round)
        self.dead_letters.send(errand.text)
        return self._close(replace(callback, state=State.EXHAUSTED), claim, Ending.EXHAUSTED)

    def _close(self, callback: Callback, claim: str, ending: Ending) -> Ending:
        return ending if self.callbacks.record(callback, claim, None) else Ending.SUPERSEDED

    def _remember(self, callback: Callback, standing: Standing, attempt: Attempt) -> None:
        if attempt.timed_out:
            self._recall(lambda: self.receivers.timed_out(standing, self.now()), None)
        else:
            self._recall(lambda: self.receivers.answered(standing), None)
        if attempt.kind is Kind.GONE:
            self._recall(lambda: self.receivers.note_gone(callback.url, self.now()), None)

    def _recall(self, ask: Callable[[], T], otherwise: T) -> T:
        """What is remembered of receivers spares attempts, and no attempt fails for want of it."""
        try:
            return ask()
        except Retryable as failure:
            log.failed(failure, outcome="not_remembered")
            return otherwise
