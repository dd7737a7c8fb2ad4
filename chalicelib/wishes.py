"""Use case: what somebody wants of a picture: another answer, its release from quarantine, its removal.

A wish stands in the row first, under a status that `recover` looks for: so it comes true though the message
that tells of it is lost. Only who is at work on a picture already may put its status back over a wish for
another answer, and then the message is all that there is.
"""

import secrets
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from chalicelib.bucket import Bucket
from chalicelib.claims import Claims
from chalicelib.queue import LabellingQueue


@dataclass(frozen=True)
class Wishes:
    bucket: Bucket
    claims: Claims
    queue: LabellingQueue
    now: Callable[[], datetime]

    def relabel(self, key: str) -> bool:
        """By today's settings; until then the answer stands. False if there is nothing to be labelled."""
        known = self.claims.ask_again(key, secrets.token_hex(16), self.now()) or self.bucket.has(key)
        if known:
            self.queue.ask_for(key)
        return known

    def release(self, key: str) -> bool:
        """Out of quarantine, to be labelled without being moderated again.

        False if it is not in there, or if somebody wants it removed: that is not taken back.
        """
        wanted = self.claims.ask_for_release(key, secrets.token_urlsafe(16), self.now())
        if wanted:
            self.queue.ask_for(key)
        return wanted

    def remove(self, key: str) -> None:
        """From the bucket, and from quarantine; S3 tells of the one, and of the other the queue must.

        In this order: who is about to put the picture into quarantine looks at the bucket first, and then
        writes only on a row that has no new wish.
        """
        self.bucket.delete(key)
        if self.claims.ask_for_purge(key, secrets.token_hex(16), self.now()):
            self.queue.ask_for(key)
