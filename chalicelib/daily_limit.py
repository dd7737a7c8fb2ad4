"""Use case: a limit to the pictures that detectors are asked about in a day, and so to what a day costs.

Its counter is one row, which takes a write for each picture where there is a limit. DynamoDB does a thousand
writes a second to one row, and so many pictures Rekognition allows nobody.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from chalicelib.errors import Deferred
from chalicelib.state import Counter, State

LIFE = timedelta(days=2)  # of a counter
IMAGES = "images"


@dataclass(frozen=True)
class DailyLimit:
    state: State
    limit: int
    now: Callable[[], datetime]

    def count(self) -> None:
        """Counts one more picture of today; raises Deferred when there have been as many as there may be.

        Whoever crashes after this counts the picture once more, and so does who does not get the answer.
        """
        if not self.state.count(self._name, IMAGES, self.limit, LIFE):
            raise Deferred(f"{self.limit} pictures were looked at today")

    def left(self) -> int:
        """How many more pictures today may have."""
        counter = self.state.get(self._name, IMAGES, Counter) or Counter(0)
        return max(0, self.limit - counter.count)

    @property
    def _name(self) -> str:
        return f"daily#{self.now().astimezone(UTC):%Y-%m-%d}"
