"""Asynchronous invocation: Lambda's own queue, between S3 or a schedule and a function.

Two more attempts after a function error, a minute and two minutes later; an event is kept for six hours:
https://docs.aws.amazon.com/lambda/latest/dg/invocation-async-error-handling.html
"""

import heapq
import logging
import threading
from dataclasses import dataclass, field
from functools import partial
from itertools import count
from uuid import uuid4

from local_cloud.clock import Clock
from local_cloud.functions import Event, FailedEvent, Function, Task

_logger = logging.getLogger(__name__)

_RETRY_AFTER = (60, 120)
_MAXIMUM_AGE = 6 * 60 * 60


@dataclass
class _Invocation:
    function: Function
    event: Event
    since: float
    request_id: str = field(default_factory=lambda: str(uuid4()))
    attempts: int = 0
    error: BaseException | None = None


class AsynchronousInvocations:
    """Events on their way to a function that nobody waits for."""

    def __init__(self, clock: Clock, failed_events: list[FailedEvent]) -> None:
        self._clock = clock
        self._failed_events = failed_events
        self._queue: list[tuple[float, int, _Invocation]] = []
        self._numbers = count()
        self._lock = threading.Lock()

    def put(self, function: Function, event: Event) -> None:
        self._push(self._clock.time(), _Invocation(function, event, since=self._clock.time()))

    def take(self, capacity: int) -> list[Task]:
        tasks: list[Task] = []
        with self._lock:
            while len(tasks) < capacity and self._queue and self._queue[0][0] <= self._clock.time():
                tasks.append(partial(self._run, heapq.heappop(self._queue)[2]))
        return tasks

    def next_due(self) -> float | None:
        with self._lock:
            return self._queue[0][0] if self._queue else None

    def _push(self, due: float, invocation: _Invocation) -> None:
        with self._lock:
            heapq.heappush(self._queue, (due, next(self._numbers), invocation))

    def _run(self, invocation: _Invocation) -> None:
        if self._clock.time() - invocation.since > _MAXIMUM_AGE:
            return self._give_up(invocation, "EventAgeExceeded")
        outcome = invocation.function.invoke(invocation.event, invocation.request_id)
        invocation.attempts += 1
        invocation.error = outcome.error
        if outcome.error is None:
            return None
        if invocation.attempts > len(_RETRY_AFTER):
            return self._give_up(invocation, "RetriesExhausted")
        pause = _RETRY_AFTER[invocation.attempts - 1]
        _logger.warning("%s is tried again in %d seconds", invocation.function.name, pause)
        return self._push(self._clock.time() + pause, invocation)

    def _give_up(self, invocation: _Invocation, condition: str) -> None:
        _logger.error("gave up an event of %s: %s", invocation.function.name, condition)
        self._failed_events.append(
            FailedEvent(
                invocation.function.name, invocation.event, condition, invocation.attempts, invocation.error
            )
        )
