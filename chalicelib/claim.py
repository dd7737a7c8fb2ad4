"""Who may write an image's row, and what he must know of it: its version, and where quarantine has it."""

import hashlib
from dataclasses import dataclass, replace

from chalicelib.model import Findings, Moderation, StoredObject

RELEASE = "labeller-release"  # the object metadata that tells a released picture from an uploaded one
EXHAUSTED = "exhausted"  # the reason of a picture that failed by no fault of its own


@dataclass(frozen=True)
class Partial:
    """What some detectors have answered of a version while others are still to be asked again."""

    version: str
    recipe: str
    findings: Findings
    reused_from: str | None = None
    is_counted: bool = False  # as one of a day's pictures


@dataclass(frozen=True)
class Secluded:
    """A version that is in quarantine, or on its way there."""

    version: str
    version_id: str | None
    etag: str
    place: str  # its key in the quarantine bucket
    moderation: Moderation


@dataclass(frozen=True)
class Exemption:
    """A version that came out of quarantine, and so is not moderated again."""

    version: str
    moderation: Moderation


@dataclass(frozen=True)
class Claim:
    """The part of an image's row that decides who may write it."""

    run: str | None
    committed_run: str | None
    version: str | None
    lease_until: float
    label_keys: tuple[str, ...]
    fence: str | None = None
    partial: Partial | None = None
    relabel: str | None = None  # somebody wants it labelled again
    relabelled: str | None = None  # the last such wish that came true
    reason: str | None = None
    secluded: Secluded | None = None
    exempt: Exemption | None = None
    release: str | None = None  # somebody wants it back, by this nonce
    purge: str | None = None  # somebody wants it gone
    labelled: str | None = None  # the version that its labels are of

    @property
    def finished(self) -> bool:
        return self.run is not None and self.run == self.committed_run

    def answers(self, version: str | None) -> bool:
        """Whether this row is the last word on that version (None: that there is no object)."""
        if version is None and self.is_secluded and not self.purge:
            version = self.version
        return self.finished and self.version == version and not self.is_open

    @property
    def is_open(self) -> bool:
        """Whether another try is wanted, or may do better.

        Of a picture in quarantine no other answer is to be had, though it was wanted before it came there.
        """
        if self.is_secluded:
            return self.release is not None
        return self.is_wanted_anew or self.reason == EXHAUSTED

    @property
    def is_secluded(self) -> bool:
        """Whether the picture is in quarantine, or on its way there, so that a look may find nothing."""
        return self.secluded is not None and self.secluded.version == self.version

    def goes_on(self, found: StoredObject | None) -> bool:
        """Whether what a look has found is what a picture in quarantine looks like, or one half-way there."""
        if not self.is_secluded or self.is_released(found):
            return False
        return found.version == self.version if found else not self.purge

    def is_released(self, found: StoredObject | None) -> bool:
        """Whether that object has come out of quarantine: the mark alone could be forged."""
        return found is not None and self.release is not None and found.metadata.get(RELEASE) == self.release

    def exemption(self, found: StoredObject) -> Exemption | None:
        """Why that object is not to be moderated, if it is not."""
        if self.secluded and self.is_released(found):
            return Exemption(found.version, self.secluded.moderation)
        return self.exempt if self.exempt and self.exempt.version == found.version else None

    @property
    def is_to_be_released(self) -> bool:
        return self.is_secluded and self.release is not None and self.purge is None

    @property
    def is_wanted_anew(self) -> bool:
        return self.relabel != self.relabelled

    def is_held(self, version: str | None, now: float) -> bool:
        """Whether somebody is at work on that very version."""
        version = self.version if version is None and self.is_secluded else version
        return not self.finished and self.version == version and now < self.lease_until

    def is_suspect(self, version: str) -> bool:
        """Whether somebody may have died of it: who claimed the row neither answered nor let go of it."""
        is_abandoned = not self.finished and self.lease_until > 0
        return self.version == version and (is_abandoned or self.reason == EXHAUSTED)

    def known(self, found: StoredObject, recipe: str) -> Partial:
        """What need not be asked again, by this recipe, nor counted again, by whatever recipe."""
        known = self._kept_of(self.version if self.is_released(found) else found.version, recipe)
        exemption = self.exemption(found)
        moderation = exemption.moderation if exemption else None
        return replace(
            known, version=found.version, findings=known.findings | Findings(moderation=moderation)
        )

    def _kept_of(self, version: str | None, recipe: str) -> Partial:
        if self.partial is None or self.partial.version != version:
            return Partial("", recipe, Findings())
        if self.partial.recipe != recipe:
            return Partial("", recipe, Findings(), is_counted=self.partial.is_counted)
        return self.partial


UNCLAIMED = Claim(run=None, committed_run=None, version=None, lease_until=0, label_keys=())


def place_of(found: StoredObject) -> str:
    """Where a version is kept in quarantine: a key may be as long as S3 allows, so a digest stands for it."""
    return f"{hashlib.sha256(found.key.encode()).hexdigest()}/{found.version}"
