"""Use case: callbacks get on their way: those of new answers, those that are due, and those wanted again."""

import secrets
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from math import ceil

from chalicelib import items, log, rows
from chalicelib.announcement import TYPES, announcement
from chalicelib.callback import Callback, Errand
from chalicelib.callback_url import authority_of
from chalicelib.callbacks import Callbacks, Due
from chalicelib.deny_list import DenyList
from chalicelib.errors import Retryable
from chalicelib.queue import Queue
from chalicelib.receivers import Receivers

AHEAD = timedelta(minutes=2)  # so that what comes due before the next look is sent in time
MOST = 500  # in one look


@dataclass(frozen=True)
class Dispatching:
    callbacks: Callbacks
    receivers: Receivers
    queue: Queue
    now: Callable[[], datetime]
    url: str  # of whoever wants to know of every picture; may be empty
    deny_list: DenyList

    def announce(self, before: items.Row | None, after: items.Row | None) -> None:
        """Makes a callback of an image's new final answer, once, however often this is called.

        Its row is what counts: should the message not get through, `enqueue_due` finds the row.
        """
        callback = self._news(before, after)
        if callback is None or not self.callbacks.announce(callback, self.now()):
            return
        log.done("announced", image=callback.source_file, event=callback.event_id, type=callback.type)
        self._hurry(callback.source_file, callback.event_id)

    def replay(self, source_file: str, event_id: str) -> Callback | None:
        """Has it sent again with the same id; None if there is no such event."""
        callback = self.callbacks.replay(source_file, event_id, _new_round(), self.now())
        if callback:
            self.receivers.forget_gone(callback.url)
            self._hurry(source_file, event_id)
        return callback

    def enqueue_due(self, steps: Callable[[Iterable[Due]], Iterable[Due]] = iter) -> int:
        """Sends a message for each callback that comes due before long, and tells how many that were.

        The steps are those for which there is time.
        """
        now, sent = self.now(), 0
        for due in steps(self.callbacks.due(now + AHEAD, MOST)):
            if self.callbacks.hand_over(due, now):
                delay = ceil(max(0, (due.moment - now).total_seconds()))
                self.queue.send(Errand(due.source_file, due.event_id).text, delay)
                sent += 1
        return sent

    def _news(self, before: items.Row | None, after: items.Row | None) -> Callback | None:
        if after is None or not _is_news(before or {}, after):
            return None
        url = after.get("callback_url") or self.url
        return self._callback(after, url) if url else None

    def _callback(self, row: items.Row, url: str) -> Callback:
        moment = row["updated_at"].partition("~")[0]
        image = self.deny_list.image(rows.read_image(row))
        told = announcement(image, row["committed_run"], moment)
        now = self.now()
        return Callback(
            source_file=row["source_file"],
            event_id=told.event_id,
            type=told.type,
            url=url,
            host=authority_of(url),
            body=told.body,
            created_at=items.timestamp(now),
            started_at=now.timestamp(),
            due_at=now.timestamp(),
            round=_new_round(),
        )

    def _hurry(self, source_file: str, event_id: str) -> None:
        try:
            self.queue.send(Errand(source_file, event_id).text)
        except Retryable as failure:
            log.failed(failure, image=source_file, event=event_id, outcome="not_hurried")


def _is_news(before: items.Row, after: items.Row) -> bool:
    """Whether an image's row has come to a final answer; the stream tells of all that is written.

    The status alone is none: it goes back to the answer of before when there is to be no new one.
    """
    is_final = after["entry"] == rows.IMAGE and after["status"] in TYPES and "committed_run" in after
    return is_final and before.get("committed_run") != after["committed_run"]


def _new_round() -> str:
    return secrets.token_hex(8)
