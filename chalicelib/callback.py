"""A callback on its way to its receiver: what has been tried, and when to try again."""

import json
import random
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Self

# After each failed attempt but the last: ten attempts in 75 hours, as Standard Webhooks has it.
DELAYS = tuple(
    timedelta(minutes=minutes) for minutes in (1, 5, 30, 2 * 60, 5 * 60, 10 * 60, 14 * 60, 20 * 60, 24 * 60)
)
ATTEMPTS = len(DELAYS) + 1
JITTER = 0.1
LONGEST = timedelta(days=14)  # of which no attempt follows, though receivers ask for days or are put off
SHORTEST_WAIT, LONGEST_WAIT = timedelta(minutes=1), timedelta(hours=1)  # of who is put off


class State(StrEnum):
    PENDING = "pending"
    DELIVERED = "delivered"
    GONE = "gone"  # the receiver wants no more at this URL
    EXHAUSTED = "exhausted"


@dataclass(frozen=True)
class Errand:
    """What the queue says of a callback: that it is due, or that it has to begin anew after a lost round."""

    source_file: str
    event_id: str
    exhausted: str | None = None  # the round

    @classmethod
    def read(cls, text: str) -> Self:
        """Raises ValueError for what is none."""
        try:
            return cls(**json.loads(text))
        except TypeError as error:
            raise ValueError(f"no message about a callback: {error}") from error

    @property
    def text(self) -> str:
        return json.dumps(asdict(self))


@dataclass(frozen=True)
class PastAttempt:
    at: str
    outcome: str  # a class of status, such as 5xx, or a word for why there is none
    milliseconds: int


@dataclass(frozen=True)
class Callback:
    source_file: str
    event_id: str
    type: str
    url: str
    host: str
    body: str
    created_at: str
    started_at: float  # seconds since 1970, of the first attempt's turn
    due_at: float
    state: State = State.PENDING
    attempts: tuple[PastAttempt, ...] = ()
    round: str = ""  # of attempts, of which each replay begins another

    def is_used_up(self, now: datetime) -> bool:
        age = now.timestamp() - self.started_at
        return len(self.attempts) >= ATTEMPTS or age >= LONGEST.total_seconds()

    def after(self, attempt: PastAttempt, state: State, asked: int, now: datetime) -> "Callback":
        """With one attempt more; the next is due by the schedule, or later if the receiver asked for that."""
        tried = replace(self, attempts=(*self.attempts, attempt), state=state)
        return replace(tried, due_at=now.timestamp() + tried._wait(asked, now))

    def waiting(self, now: datetime) -> datetime:
        """When to ask again for a host that is put off: after as long as it has waited already."""
        waited = timedelta(seconds=now.timestamp() - self.due_at)
        return now + min(max(waited, SHORTEST_WAIT), LONGEST_WAIT)

    def _wait(self, asked: int, now: datetime) -> float:
        if self.is_used_up(now):
            return 0
        delay = DELAYS[len(self.attempts) - 1].total_seconds()
        return max(delay * random.uniform(1 - JITTER, 1 + JITTER), asked)  # noqa: S311
