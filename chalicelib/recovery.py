"""Use case: find what got lost on its way, and have it looked at: the last word of every failure.

A row tells who has died at work. A bucket and a table that differ tell of an event that never came; they are
compared in steps, so that a run takes no longer for a larger bucket.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from chalicelib import log
from chalicelib.bucket import Bucket, Entry
from chalicelib.daily_limit import DailyLimit
from chalicelib.dispatching import Dispatching
from chalicelib.errors import Retryable
from chalicelib.model import Status
from chalicelib.queue import LabellingQueue
from chalicelib.state import State
from chalicelib.store import Recorded, Store

# A message that is under way comes back within 15 minutes, and each time its row says so anew.
QUEUED_FOR = timedelta(hours=2)
GRACE = timedelta(minutes=10)  # in which an event of S3's may yet come
MOST_ROWS = 100  # of one status, in one run
SWEPT_KEYS, SWEPT_ROWS = 400, 100  # in one run
REST_OF_BUCKET, REST_OF_ROWS = timedelta(hours=1), timedelta(days=1)  # after a round

UNDER_WAY = {Status.PROCESSING, Status.QUEUED, Status.DEFERRED, Status.QUARANTINING}
WITH_OBJECTS = (Status.LABELLED, Status.FAILED)

CURSORS_LIFE = timedelta(days=365)

Part = Callable[[], int]


@dataclass(frozen=True)
class Cursor:
    """Where a sweep goes on: behind `after`, empty at the beginning, and not before `rests_until`."""

    after: str = ""
    rests_until: float = 0  # seconds since 1970


@dataclass(frozen=True)
class Recovery:
    bucket: Bucket
    store: Store
    state: State
    queue: LabellingQueue
    limit: DailyLimit | None
    dispatching: Dispatching
    now: Callable[[], datetime]
    lease: timedelta

    def run(self) -> None:
        """Does each part, whatever becomes of the others, and says how much each has found.

        Raises in one group what no later run can heal.
        """
        bugs: list[Exception] = []
        found: dict[str, int] = {}
        for name, part in self._parts.items():
            try:
                found[name] = part()
            except Retryable as failure:
                log.failed(failure, part=name)
            except Exception as bug:  # noqa: BLE001 - the other parts are to be done all the same
                bugs.append(bug)
        log.done("recovered", outcome="recovered", **found)
        if bugs:
            raise ExceptionGroup("some parts of the recovery failed", bugs)

    @property
    def _parts(self) -> dict[str, Part]:
        return {
            "died_at_work": lambda: self._take_up(Status.PROCESSING, self.lease, Status.QUEUED),
            "died_at_quarantine": lambda: self._take_up(Status.QUARANTINING, self.lease, Status.QUARANTINING),
            "forgotten": lambda: self._take_up(Status.QUEUED, QUEUED_FOR, Status.QUEUED),
            "deferred": self._take_up_deferred,
            "callbacks_due": self.dispatching.enqueue_due,
            "unheard_of": self._sweep_bucket,
            **{f"gone_{status}": lambda status=status: self._sweep_rows(status) for status in WITH_OBJECTS},  # type: ignore[misc]
        }

    def _take_up_deferred(self) -> int:
        """As many as the day has room for. What the day has no room for in the end is deferred once more."""
        left = self.limit.left() if self.limit else MOST_ROWS
        return self._take_up(Status.DEFERRED, timedelta(0), Status.QUEUED, min(left, MOST_ROWS))

    def _take_up(self, status: Status, patience: timedelta, then: Status, most: int = MOST_ROWS) -> int:
        """Asks for what has had this status for too long, each once and not again in the next run."""
        overdue = self.store.unchanged_since(status, self.now() - patience, most) if most else []
        for row in overdue:
            self.queue.ask_for(row.source_file)
            self.store.touch(row, then, self.now())
        return len(overdue)

    def _sweep_bucket(self) -> int:
        """Objects that no row answers for: their event never came."""
        cursor = self._cursor("bucket")
        if self._rests(cursor):
            return 0
        entries = self.bucket.entries(cursor.after, SWEPT_KEYS)
        recorded = self.store.recorded(entry.key for entry in entries)
        unheard = [entry for entry in entries if self._is_unheard_of(entry, recorded.get(entry.key))]
        self._ask_for(entry.key for entry in unheard)
        more = len(entries) == SWEPT_KEYS
        self._go_on("bucket", entries[-1].key if more else "", REST_OF_BUCKET)
        return len(unheard)

    def _is_unheard_of(self, entry: Entry, recorded: Recorded | None) -> bool:
        if entry.uploaded_at > self.now() - GRACE or (recorded and recorded.status in UNDER_WAY):
            return False
        return recorded is None or not recorded.is_of(entry.etag, entry.uploaded_at)

    def _sweep_rows(self, status: Status) -> int:
        """Rows whose object is gone, and nobody told."""
        sweep = f"rows {status}"
        cursor = self._cursor(sweep)
        if self._rests(cursor):
            return 0
        standing = self.store.standing(status, cursor.after, SWEPT_ROWS)
        gone = [row.source_file for row in standing if not self.bucket.has(row.source_file)]
        self._ask_for(gone)
        more = len(standing) == SWEPT_ROWS
        self._go_on(sweep, standing[-1].updated_at if more else "", REST_OF_ROWS)
        return len(gone)

    def _cursor(self, sweep: str) -> Cursor:
        return self.state.get("sweep", sweep, Cursor) or Cursor()

    def _rests(self, cursor: Cursor) -> bool:
        return self.now().timestamp() < cursor.rests_until

    def _go_on(self, sweep: str, after: str, rest: timedelta) -> None:
        rests_until = 0.0 if after else (self.now() + rest).timestamp()
        self.state.put("sweep", sweep, Cursor(after, rests_until), CURSORS_LIFE)

    def _ask_for(self, keys: Iterable[str]) -> None:
        for key in keys:
            self.queue.ask_for(key)
