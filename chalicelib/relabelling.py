"""Use case: somebody wants a picture labelled again, by today's settings."""

import secrets
from dataclasses import dataclass

from chalicelib.bucket import Bucket
from chalicelib.queue import LabellingQueue
from chalicelib.store import Store


@dataclass(frozen=True)
class Relabelling:
    bucket: Bucket
    store: Store
    queue: LabellingQueue

    def ask(self, key: str) -> bool:
        """Marks the row, so that it answers for no version any more, and has the picture looked at.

        Should nobody hear of it, the mark stays, and whatever leads to the next look will do.
        False if there is neither an answer nor an object under the key.
        """
        known = self.store.ask_again(key, secrets.token_hex(16)) or self.bucket.look(key) is not None
        if known:
            self.queue.ask_for(key)
        return known
