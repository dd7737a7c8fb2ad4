"""Use case: what functions die of is known by how often one began with it and did not end.

Lambda tells nobody of what others died. But it halves a batch of the stream's changes at each death, until
that change comes alone; and of a picture the row says that somebody began with it.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

from chalicelib.errors import Deadly, Retryable
from chalicelib.state import Counter, State

SUSPECT = timedelta(seconds=30)  # so old a change has been tried before, or has waited for one that was
MOST = 8  # deaths in a row, of which one or two may be chance
MEMORY = timedelta(days=1)  # as long as the stream's


@dataclass(frozen=True)
class Deaths:
    state: State
    function: str

    @contextmanager
    def risked(self, cause: str) -> Iterator[None]:
        """Counts a death, unless what is done in it ends; raises Deadly if there have been too many."""
        self.count(cause)
        with self.survived(cause):
            yield

    def count(self, cause: str) -> None:
        """One more, until somebody has survived it. Raises Deadly if there have been too many."""
        with self.survived(cause):  # where only the answer is lost, it may have been counted
            if not self.state.count(self._name, cause, MOST, MEMORY):
                raise Deadly(f"{MOST} invocations in a row did not survive this")

    @contextmanager
    def survived(self, cause: str) -> Iterator[None]:
        """Whoever ends with a failure that heals is alive."""
        try:
            yield
        except Retryable:
            self.state.put(self._name, cause, Counter(0), MEMORY)
            raise

    @property
    def _name(self) -> str:
        return f"deaths#{self.function}"
