"""The time that the local cloud runs by: the machine's, or one that a test moves by hand."""

import threading
import time
from datetime import UTC, datetime, timedelta
from typing import Protocol


class Clock(Protocol):
    """What the endpoint and the pump ask about time."""

    def now(self) -> datetime:
        """The present moment, aware, in UTC."""

    def time(self) -> float:
        """The present moment in seconds since 1970."""

    def sleep(self, seconds: float) -> None:
        """Let that much time pass."""


class SystemClock:
    def now(self) -> datetime:
        return datetime.now(UTC)

    def time(self) -> float:
        return time.time()

    def sleep(self, seconds: float) -> None:
        time.sleep(seconds)


class ManualClock:
    """Stands still until it is told to move, so that days pass in no time."""

    def __init__(self, start: datetime = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)) -> None:
        self._now = start
        self._lock = threading.Lock()

    def now(self) -> datetime:
        return self._now

    def time(self) -> float:
        return self._now.timestamp()

    def sleep(self, seconds: float) -> None:
        self.advance(timedelta(seconds=seconds))

    def advance(self, by: timedelta) -> None:
        with self._lock:
            self._now += by

    def move_to(self, moment: datetime) -> None:
        with self._lock:
            self._now = max(self._now, moment)
