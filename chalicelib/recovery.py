"""Use case: find what got lost on its way, and have it looked at: the last word of every failure.

A row tells who has died at work. A bucket and a table that differ tell of an event that never came; they are
compared in steps, so that a run takes no longer for a larger bucket.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import TypeVar

from chalicelib import log
from chalicelib.bucket import Bucket, Entry
from chalicelib.claims import Claims
from chalicelib.daily_limit import DailyLimit
from chalicelib.dispatching import Dispatching
from chalicelib.errors import AccessLost, Retryable
from chalicelib.model import Status
from chalicelib.queue import LabellingQueue
from chalicelib.state import State
from chalicelib.store import Recorded, Standing, Store

# A message that is under way comes back within 15 minutes, and each time its row says so anew.
QUEUED_FOR = timedelta(hours=2)
GRACE = timedelta(minutes=10)  # in which an event of S3's may yet come
MOST_ROWS = 100  # of one status, in one run
SWEPT_KEYS, SWEPT_ROWS = 400, 100  # in one run
REST_OF_BUCKET, REST_OF_ROWS = timedelta(hours=1), timedelta(days=1)  # after a round

UNDER_WAY = {Status.PROCESSING, Status.QUEUED, Status.DEFERRED, Status.QUARANTINING}
WITH_OBJECTS = (Status.LABELLED, Status.FAILED)

CURSORS_LIFE = timedelta(days=365)
RESERVE = 35_000  # milliseconds, in which a part begins and does its first step though every service hangs

T = TypeVar("T")
MillisecondsLeft = Callable[[], int]


@dataclass(frozen=True)
class Turn:
    """The time of one part, which takes at least one step in it, and no further one after its end."""

    milliseconds_left: MillisecondsLeft
    end: float  # by what is left of the run then

    def steps(self, things: Iterable[T]) -> Iterator[T]:
        for number, thing in enumerate(things):
            if number and self.milliseconds_left() < self.end:
                return
            yield thing


Part = Callable[[Turn], int]


@dataclass(frozen=True)
class Cursor:
    """Where a sweep goes on: behind `after`, empty at the beginning, and not before `rests_until`."""

    after: str = ""
    rests_until: float = 0  # seconds since 1970
    began_at: float = 0  # the round of rows, if one has begun


@dataclass(frozen=True)
class Recovery:
    bucket: Bucket
    store: Store
    claims: Claims
    state: State
    queue: LabellingQueue
    limit: DailyLimit | None
    dispatching: Dispatching
    now: Callable[[], datetime]
    lease: timedelta

    def run(self, milliseconds_left: MillisecondsLeft) -> None:
        """Does each part, whatever becomes of the others, and says how much each has found.

        What there is no time for, the next run goes on with. Raises in one group what no later run can heal.
        """
        bugs: list[Exception] = []
        found: dict[str, int] = {}
        for name, part, turn in self._turns(milliseconds_left):
            try:
                found[name] = part(turn)
            except Retryable as failure:
                log.failed(failure, part=name)
            except Exception as bug:  # noqa: BLE001 - the other parts are to be done all the same
                bugs.append(bug)
        log.done("recovered", outcome="recovered", **found)
        if bugs:
            raise ExceptionGroup("some parts of the recovery failed", bugs)

    def _turns(self, milliseconds_left: MillisecondsLeft) -> Iterator[tuple[str, Part, Turn]]:
        """Each part with an even share of what time there is by then, as long as there is any."""
        parts = self._parts
        for done, (name, part) in enumerate(parts.items()):
            left = milliseconds_left()
            if left < RESERVE:
                return
            share = (left - RESERVE) / (len(parts) - done)
            yield name, part, Turn(milliseconds_left, left - share)

    @property
    def _parts(self) -> dict[str, Part]:
        return {
            "died_at_work": partial(self._take_up, Status.PROCESSING, self.lease, Status.QUEUED),
            "died_at_quarantine": partial(
                self._take_up, Status.QUARANTINING, self.lease, Status.QUARANTINING
            ),
            "forgotten": partial(self._take_up, Status.QUEUED, QUEUED_FOR, Status.QUEUED),
            "deferred": self._take_up_deferred,
            "callbacks_due": lambda turn: self.dispatching.enqueue_due(turn.steps),
            "unheard_of": self._sweep_bucket,
            **{f"gone_{status}": partial(self._sweep_rows, status) for status in WITH_OBJECTS},
        }

    def _take_up_deferred(self, turn: Turn) -> int:
        """As many as the day has room for. What the day has no room for in the end is deferred once more."""
        left = self.limit.left() if self.limit else MOST_ROWS
        return self._take_up(Status.DEFERRED, timedelta(0), Status.QUEUED, turn, min(left, MOST_ROWS))

    def _take_up(
        self, status: Status, patience: timedelta, then: Status, turn: Turn, most: int = MOST_ROWS
    ) -> int:
        """Asks for what has had this status for too long, each once and not again in the next run."""
        overdue = self.store.unchanged_since(status, self.now() - patience, most) if most else []
        found = 0
        for row in turn.steps(overdue):
            self.queue.ask_for(row.source_file)
            self.claims.touch(row.source_file, row.updated_at, then, self.now())
            found += 1
        return found

    def _sweep_bucket(self, turn: Turn) -> int:
        """Objects that no row answers for: their event never came."""
        cursor = self._cursor("bucket")
        if self._rests(cursor):
            return 0
        entries = self.bucket.entries(cursor.after, SWEPT_KEYS)
        recorded = self.store.recorded(entry.key for entry in entries)
        seen, unheard = 0, 0
        for entry in turn.steps(entries):
            if self._is_unheard_of(entry, recorded.get(entry.key)):
                self.queue.ask_for(entry.key)
                unheard += 1
            seen += 1
        more = seen < len(entries) or len(entries) == SWEPT_KEYS
        self._go_on("bucket", entries[seen - 1].key if more else "", REST_OF_BUCKET)
        return unheard

    def _is_unheard_of(self, entry: Entry, recorded: Recorded | None) -> bool:
        if entry.uploaded_at > self.now() - GRACE or (recorded and recorded.status in UNDER_WAY):
            return False
        return recorded is None or not recorded.is_of(entry.etag, entry.uploaded_at)

    def _sweep_rows(self, status: Status, turn: Turn) -> int:
        """Rows whose object is gone, and nobody told."""
        sweep = f"rows {status}"
        cursor = self._cursor(sweep)
        if self._rests(cursor):
            return 0
        began_at = cursor.began_at or self.now().timestamp()
        standing = self._unchanged(status, cursor.after, began_at)
        seen, gone = 0, 0
        for row in turn.steps(standing):
            if self._is_gone(row.source_file):
                self.queue.ask_for(row.source_file)
                gone += 1
            seen += 1
        more = seen < len(standing) or len(standing) == SWEPT_ROWS
        self._go_on(sweep, standing[seen - 1].updated_at if more else "", REST_OF_ROWS, began_at)
        return gone

    def _unchanged(self, status: Status, after: str, began_at: float) -> list[Standing]:
        """The next rows of a round: what has changed since it began stands last, and has been looked at.

        With that a round would never end where more pictures are labelled than rows are swept.
        """
        standing = self.store.standing(status, after, SWEPT_ROWS)
        return [row for row in standing if row.moment.timestamp() <= began_at]

    def _is_gone(self, key: str) -> bool:
        """An object that may not be looked at is there, and holds up none of the rows behind its own.

        Whatever else fails is about S3 and not about an object: the step is done again by the next run.
        """
        try:
            return not self.bucket.has(key)
        except AccessLost as failure:
            log.failed(failure, image=key)
            return False

    def _cursor(self, sweep: str) -> Cursor:
        return self.state.get("sweep", sweep, Cursor) or Cursor()

    def _rests(self, cursor: Cursor) -> bool:
        return self.now().timestamp() < cursor.rests_until

    def _go_on(self, sweep: str, after: str, rest: timedelta, began_at: float = 0) -> None:
        resting = Cursor(rests_until=(self.now() + rest).timestamp())
        cursor = Cursor(after, began_at=began_at) if after else resting
        self.state.put("sweep", sweep, cursor, CURSORS_LIFE)
