"""Use case: a change that functions die of is known by how often one began with it and did not end.

Lambda tells nobody of what others died. But it halves a batch at each death, until that change comes alone.
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
    def risked(self, change: str) -> Iterator[None]:
        """Counts a death, unless what is done in it ends; raises Deadly if there have been too many."""
        if not self.state.count(self._name, change, MOST, MEMORY):
            raise Deadly(f"{MOST} invocations did not survive this change")
        try:
            yield
        except Retryable:
            self.state.put(self._name, change, Counter(0), MEMORY)
            raise

    @property
    def _name(self) -> str:
        return f"deaths#{self.function}"
