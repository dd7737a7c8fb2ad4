"""Use case: a version of a picture goes out of sight, comes back, or goes for good.

Every step can be done twice, and the row says which version is where. So whoever finds a row whose function
died goes on from there, and at no moment is the picture nowhere.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from chalicelib.bucket import Bucket
from chalicelib.claim import Claim, Secluded
from chalicelib.claims import Claims
from chalicelib.contents import Contents
from chalicelib.errors import ObjectUnavailable
from chalicelib.model import Outcome
from chalicelib.quarantine import Quarantine


@dataclass(frozen=True)
class Quarantining:
    bucket: Bucket
    quarantine: Quarantine
    claims: Claims
    now: Callable[[], datetime]

    def isolate(self, key: str, run: str, secluded: Secluded) -> Outcome | Claim:
        """Moves the version to the quarantine bucket, and says so in the row if that is still ours.

        The row, if it is, but somebody wants the picture gone. Raises ObjectUnavailable if the version is in
        neither bucket.
        """
        self._keep(key, secluded)
        self.bucket.mark_deleted(key, secluded.etag)
        self._delete_version(key, secluded)
        attempt = self.claims.conclude(key, run, self.now())
        if attempt.won:
            return Outcome.QUARANTINED
        if attempt.row.run == run:
            return attempt.row
        if attempt.row.secluded != secluded or not attempt.row.is_secluded:
            # Whoever took the row over may have purged before we copied.
            self.quarantine.discard(secluded.place)
        return Outcome.SUPERSEDED

    def give_back(self, key: str, secluded: Secluded, nonce: str) -> None:
        """Puts the picture back under its key, where the next look finds it, marked by the nonce.

        Raises ObjectUnavailable if it is not in quarantine any more.
        """
        self.quarantine.give_back(secluded.place, key, nonce)

    def purge(self, key: str, secluded: Secluded) -> None:
        """Deletes the version for good, wherever it is."""
        self.quarantine.discard(secluded.place)
        self._delete_version(key, secluded)

    def _keep(self, key: str, secluded: Secluded) -> None:
        found = self.bucket.version(key, secluded.version_id, secluded.etag)
        if found is not None:
            with Contents(self.bucket, found) as contents:
                self.quarantine.keep(key, secluded.version_id, secluded.place, contents.sha256)
        elif not self.quarantine.has(secluded.place):
            raise ObjectUnavailable("a picture on its way to quarantine was deleted")

    def _delete_version(self, key: str, secluded: Secluded) -> None:
        if secluded.version_id:
            self.bucket.delete_version(key, secluded.version_id)
