"""Use case: what becomes of a picture that cannot be labelled at once.

A retryable failure puts it on the queue `labelling`. Whoever takes it up there never sends it again, since
Lambda ends such chains: the message itself comes back later, and after so many receives SQS moves it to the
dead-letter queue. Only of a message that asks for several, those for which there is no time left go on in
messages of their own. https://docs.aws.amazon.com/lambda/latest/dg/invocation-recursion.html

Who is throttled on the queue waits for Rekognition in his own time before he lets the message come back.
While there is a backlog, Lambda would only put another picture in his place, so that each uses its receives
up in vain, and then lies put off, out of reach of a quota that idles. With three workers for each call a
second, ten minutes of ten times too many pictures cost one in six of them all its receives (`python -m
bench.prove --only storms`); so it costs none, and no more of Lambda's time. A first try does not wait:
there may be as many of those at once as there are uploads.
"""

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import partial
from random import Random

from chalicelib import log
from chalicelib.errors import Retryable
from chalicelib.labelling import Labelling
from chalicelib.model import Outcome
from chalicelib.queue import LONGEST_DELAY, LabellingQueue, Message

RECEIVES = 10  # of a message, before the queue lets it go
FIRST_DELAY = 30.0  # seconds at most, twice as many with each receive
LONGEST_WAIT = 2.0  # seconds, until Rekognition is asked again whether it has room

MillisecondsLeft = Callable[[], int]


@dataclass(frozen=True)
class SlowPath:
    labelling: Labelling
    queue: LabellingQueue
    least_milliseconds: int  # that one try may take
    last_milliseconds: int  # that the detectors and all that follows may take
    sleep: Callable[[float], object] = time.sleep
    random: Random = field(default_factory=Random)

    def first_try(self, keys: Iterable[str], milliseconds_left: MillisecondsLeft) -> None:
        """Labels what is under each key, or puts it on the queue.

        What can be neither done nor queued is raised in one group, after all the others.
        """
        failures: list[Exception] = []
        for number, key in enumerate(keys):
            try:
                if number and self._is_late(milliseconds_left):
                    self._queue(key)
                else:
                    self._label_or_queue(key)
            except Retryable as failure:  # of the queue
                log.failed(failure, image=key)
                failures.append(failure)
            except Exception as failure:  # noqa: BLE001 - one record must not cost its neighbours their turn
                failures.append(failure)
        if failures:
            raise ExceptionGroup("some records of the event failed", failures)

    def next_try(self, message: Message, milliseconds_left: MillisecondsLeft) -> bool:
        """Labels what a message asks for, and says whether it is done; if not, the message comes again."""
        is_last = message.receives >= RECEIVES
        wait = partial(self._wait, milliseconds_left)
        results: list[bool] = []
        failures: list[Exception] = []
        for number, key in enumerate(self.queue.keys(message)):
            try:
                is_late = number and self._is_late(milliseconds_left)
                results.append(self._hand_over(key) if is_late else self._label_again(key, is_last, wait))
            except Exception as failure:  # noqa: BLE001 - as in a first try
                failures.append(failure)
        if failures:
            raise ExceptionGroup("some records of the message failed", failures)
        is_done = bool(results) and all(results)
        if not is_done:
            self._postpone(message, 0 if is_last else self._delay(message.receives))
        return is_done

    def _is_late(self, milliseconds_left: MillisecondsLeft) -> bool:
        return milliseconds_left() < self.least_milliseconds

    def _label_or_queue(self, key: str) -> None:
        # Who finds somebody else at work leaves it to him, and to `recover` should he fail.
        try:
            self.labelling.label(key)
        except Retryable:
            self._queue(key)

    def _queue(self, key: str) -> None:
        delay = self._delay(0)
        self.queue.ask_for(key, delay)
        log.done("queued", outcome="queued", image=key, delay_seconds=delay)

    def _label_again(self, key: str, is_last: bool, wait: Callable[[], bool]) -> bool:
        try:
            return self.labelling.label(key, is_last_try=is_last, wait=wait) is not Outcome.IN_PROGRESS
        except Retryable:  # and told in the log
            return False

    def _hand_over(self, key: str) -> bool:
        try:
            self._queue(key)
        except Retryable as failure:  # then it comes again with its message
            log.failed(failure, image=key, outcome="not_queued")
            return False
        return True

    def _wait(self, milliseconds_left: MillisecondsLeft) -> bool:
        """Lets a moment pass, unless the time could then get short."""
        pause = self.random.uniform(0, LONGEST_WAIT)
        if milliseconds_left() - pause * 1000 < self.last_milliseconds:
            return False
        self.sleep(pause)
        return True

    def _postpone(self, message: Message, seconds: int) -> None:
        try:
            self.queue.postpone(message.receipt_handle, seconds)
        except Retryable as failure:  # then it comes when its visibility ends by itself
            log.failed(failure, outcome="not_postponed", message_id=message.id)

    def _delay(self, receives: int) -> int:
        """Full jitter: https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/"""
        return round(self.random.uniform(0, min(LONGEST_DELAY, FIRST_DELAY * 2**receives)))
