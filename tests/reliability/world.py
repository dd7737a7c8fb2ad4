"""Functions side by side in one thread, on a clock that jumps to whoever wakes up next."""

import heapq
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import count
from typing import Any, Self, TypeVar

import pytest
from greenlet import getcurrent, greenlet

from local_cloud.clock import ManualClock

T = TypeVar("T")


class World(ManualClock):
    """A clock on which many sleep at the same time."""

    def __init__(self) -> None:
        super().__init__()
        self._began = self.now()
        self._asleep: list[tuple[datetime, int, greenlet]] = []
        self._numbers = count()
        self._outside = getcurrent()

    @property
    def passed(self) -> float:
        """In seconds."""
        return (self.now() - self._began).total_seconds()

    def sleep(self, seconds: float) -> None:
        """Whoever lives in this world sleeps while others go on; who does not moves its time."""
        if getcurrent() is self._outside:
            super().sleep(seconds)
        else:
            self.wake(getcurrent(), seconds)
            self.rest()

    def spawn(self, act: Callable[[], object]) -> None:
        """Has something done beside all else."""
        self.wake(greenlet(act, self._outside), 0)

    def wake(self, sleeper: greenlet, seconds: float) -> None:
        moment = self.now() + timedelta(seconds=seconds)
        heapq.heappush(self._asleep, (moment, next(self._numbers), sleeper))

    def rest(self) -> None:
        """Until somebody wakes us."""
        self._outside.switch()

    def run(self) -> None:
        """Until nobody sleeps any more. Raises what anybody has raised."""
        while self._asleep:
            moment, _, sleeper = heapq.heappop(self._asleep)
            self.move_to(moment)
            sleeper.switch()


@dataclass
class Pool:
    """A ThreadPoolExecutor without threads: its tasks run side by side in a world."""

    world: World
    _left: int = 0
    _owner: greenlet = field(default_factory=getcurrent)

    def submit(self, act: Callable[..., T], *arguments: Any) -> "Future[T]":
        future: Future[T] = Future()
        self._left += 1
        self.world.spawn(lambda: self._settle(future, lambda: act(*arguments)))
        return future

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._left:
            self.world.rest()

    def _settle(self, future: "Future[T]", act: Callable[[], T]) -> None:
        try:
            future.set_result(act())
        except BaseException as failure:  # noqa: BLE001 - the future tells it
            future.set_exception(failure)
        self._left -= 1
        if not self._left:
            self.world.wake(self._owner, 0)


@contextmanager
def detectors_in(world: World) -> Iterator[None]:
    """A picture's detectors are asked side by side in this world."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("chalicelib.detection.ThreadPoolExecutor", lambda _: Pool(world))
        yield
