from __future__ import annotations

import threading
from collections.abc import Callable, Hashable
from concurrent.futures import Future
from typing import Any, TypeVar

T = TypeVar("T")


class Memory:
    """Results by key, each worked out once, however many threads ask for it at the same time.

    With a size, the least recently asked for go first. An error is not remembered: those who waited get it,
    and whoever asks later has it tried again.
    """

    def __init__(self, size: int | None = None) -> None:
        self._size = size
        self._lock = threading.Lock()
        self._results: dict[Hashable, Future[Any]] = {}

    def recall(self, key: Hashable, work: Callable[[], T]) -> T:
        """What work returned when the key was first asked for."""
        with self._lock:
            found = self._results.pop(key, None)
            future: Future[T] = found or Future()
            self._results[key] = future
            if self._size is not None and len(self._results) > self._size:
                del self._results[next(iter(self._results))]
        if found is None:
            self._work_out(key, future, work)
        return future.result()

    def _work_out(self, key: Hashable, future: Future[T], work: Callable[[], T]) -> None:
        try:
            future.set_result(work())
        except BaseException as error:  # noqa: BLE001  # whoever waits must not wait for ever
            with self._lock:
                if self._results.get(key) is future:
                    del self._results[key]
            future.set_exception(error)
