"""How long an event takes in all, and each detector of it."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import monotonic


class Stopwatch:
    """Runs from its making; all it tells is in whole milliseconds."""

    def __init__(self, clock: Callable[[], float] = monotonic) -> None:
        self._clock = clock
        self._started = clock()
        self.detectors: dict[str, int] = {}

    @contextmanager
    def timing(self, *detectors: str) -> Iterator[None]:
        """Times a call, retries of the SDK included, for each detector that it asks, however it ends.

        Of several calls the last one counts; calls may be timed side by side.
        """
        started = self._clock()
        try:
            yield
        finally:
            self.detectors.update(dict.fromkeys(detectors, self._milliseconds_since(started)))

    @property
    def milliseconds(self) -> int:
        return self._milliseconds_since(self._started)

    @property
    def facts(self) -> dict[str, object]:
        """What a line of the log says of it."""
        facts: dict[str, object] = {"milliseconds": self.milliseconds}
        return {**facts, "detectors": self.detectors} if self.detectors else facts

    def _milliseconds_since(self, moment: float) -> int:
        return round((self._clock() - moment) * 1000)
