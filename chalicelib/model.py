"""Images, labels and the pure rules about them: ids, keys, states."""

import base64
import binascii
import hashlib
import json
import math
import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from typing import TypeVar

MAX_KEY_BYTES = 1024  # S3's limit
MAX_LABEL_BYTES = 1000  # DynamoDB's limit for a sort key is 1,024 bytes, and ours has a prefix

# A row may have 400 kB, and has room for an answer beside what detectors have told of the next version.
# Rekognition's 100 words on as many lines fit, and so does its whole taxonomy of moderation.
MAX_NAME = 2000  # characters, more than there can be in a label's key
MAX_BOXES = 400  # of all labels together
LABELS_ROOM, TEXT_ROOM, MODERATION_ROOM = 90_000, 48_000, 12_000  # bytes of JSON, where no value is shorter

RELEASE = "labeller-release"  # the object metadata that tells a released picture from an uploaded one
EXHAUSTED = "exhausted"  # the reason of a picture that failed by no fault of its own

T = TypeVar("T", "Label", "Line", "ModerationLabel")


class Status(StrEnum):
    AWAITING_UPLOAD = "awaiting_upload"
    PROCESSING = "processing"
    QUEUED = "queued"
    DEFERRED = "deferred"
    LABELLED = "labelled"
    QUARANTINING = "quarantining"
    QUARANTINED = "quarantined"
    FAILED = "failed"
    REMOVED = "removed"


VISIBLE = tuple(status for status in Status if status is not Status.REMOVED)


class Detector(StrEnum):
    """What can be asked of Rekognition; each is billed by itself."""

    LABELS = "labels"
    MODERATION = "moderation"
    TEXT = "text"
    PROPERTIES = "properties"


class Outcome(StrEnum):
    """How one attempt to bring a row in line with the bucket ended."""

    LABELLED = "labelled"
    FAILED = "failed"
    QUARANTINED = "quarantined"
    REMOVED = "removed"
    DUPLICATE = "duplicate"
    IN_PROGRESS = "in_progress"
    SUPERSEDED = "superseded"
    DEFERRED = "deferred"


@dataclass(frozen=True)
class Box:
    """Where something is, in shares of the picture's width and height."""

    left: float
    top: float
    width: float
    height: float


@dataclass(frozen=True)
class Instance:
    confidence: float
    box: Box


@dataclass(frozen=True)
class Label:
    name: str
    confidence: float
    categories: tuple[str, ...] = ()
    parents: tuple[str, ...] = ()
    aliases: tuple[str, ...] = ()
    instances: tuple[Instance, ...] = ()


@dataclass(frozen=True)
class Word:
    word: str
    confidence: float
    box: Box


@dataclass(frozen=True)
class Line:
    """A line of text that can be read in the picture, and its words."""

    line: str
    confidence: float
    box: Box
    words: tuple[Word, ...] = ()


@dataclass(frozen=True)
class ModerationLabel:
    """A place in Rekognition's taxonomy of what people may not want to see; level 1 is the top."""

    name: str
    confidence: float
    parent: str | None
    level: int


@dataclass(frozen=True)
class Moderation:
    flagged: bool = False
    labels: tuple[ModerationLabel, ...] = ()
    content_types: tuple[str, ...] = ()


@dataclass(frozen=True)
class Color:
    hex: str
    css_color: str
    simplified_color: str
    percent: float


@dataclass(frozen=True)
class Region:
    """What a part of the picture looks like; the measures go from 0 to 100."""

    dominant_colors: tuple[Color, ...] = ()
    sharpness: float | None = None
    brightness: float | None = None
    contrast: float | None = None


@dataclass(frozen=True)
class Properties(Region):
    foreground: Region | None = None
    background: Region | None = None


@dataclass(frozen=True)
class Findings:
    """What detectors saw in one version of a picture; None is what was not asked for, or is still missing."""

    labels: tuple[Label, ...] | None = None
    moderation: Moderation | None = None
    text: tuple[Line, ...] | None = None
    properties: Properties | None = None
    model_versions: Mapping[str, str] = field(default_factory=dict)

    def __or__(self, later: "Findings") -> "Findings":
        told = {name: value for name, value in vars(later).items() if value is not None}
        return replace(self, **{**told, "model_versions": {**self.model_versions, **later.model_versions}})

    @property
    def told(self) -> frozenset[Detector]:
        return frozenset(detector for detector in Detector if getattr(self, detector) is not None)


@dataclass(frozen=True)
class Recipe:
    """What is asked of the detectors; confidences in percent."""

    detectors: frozenset[Detector] = frozenset({Detector.LABELS, Detector.MODERATION, Detector.TEXT})
    min_confidence: float = 50.0
    max_labels: int = 30
    include_labels: tuple[str, ...] = ()
    exclude_labels: tuple[str, ...] = ()
    include_categories: tuple[str, ...] = ()
    exclude_categories: tuple[str, ...] = ()
    min_moderation_confidence: float = 50.0
    min_text_confidence: float = 80.0
    max_colors: int = 10

    @property
    def fingerprint(self) -> str:
        """Tells answers to other questions apart."""
        asked = {**vars(self), "detectors": sorted(self.detectors)}
        return hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()


@dataclass(frozen=True)
class Partial:
    """What some detectors have answered of a version while others are still to be asked again."""

    version: str
    recipe: str
    findings: Findings
    reused_from: str | None = None
    is_counted: bool = False  # as one of a day's pictures


@dataclass(frozen=True)
class TopLabel:
    name: str
    confidence: float


@dataclass(frozen=True)
class StoredObject:
    """What one look at the bucket saw: the current version of an object and its first bytes."""

    key: str
    version_id: str | None
    etag: str
    size: int
    content_type: str | None
    uploaded_at: datetime
    metadata: Mapping[str, str]
    head: bytes
    is_archived: bool = False  # and so cannot be read

    @property
    def version(self) -> str:
        """What tells this content from the key's others, also where the bucket keeps no versions."""
        return self.version_id or self.etag


@dataclass(frozen=True)
class Upload:
    """What a client declares of the picture it is about to upload."""

    content_type: str | None = None
    size: int | None = None
    sha256: str | None = None  # in hex
    metadata: Mapping[str, str] = field(default_factory=dict)
    callback_url: str | None = None


@dataclass(frozen=True)
class Answer:
    """What is known of one version of a picture once it has been looked at."""

    status: Status
    reason: str | None = None
    content_type: str | None = None
    findings: Findings = field(default_factory=Findings)
    reused_from: str | None = None  # the object whose result it is, unless it is its own

    @property
    def labels(self) -> tuple[Label, ...]:
        return self.findings.labels or ()


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
        if version is None and self.hides and not self.purge:
            version = self.version
        return self.finished and self.version == version and not self.is_open

    @property
    def is_open(self) -> bool:
        """Whether another try is wanted, or may do better."""
        return self.is_wanted_anew or self.reason == EXHAUSTED or (self.hides and self.release is not None)

    @property
    def hides(self) -> bool:
        """Whether the picture is in quarantine, or on its way there, so that a look may find nothing."""
        return self.secluded is not None and self.secluded.version == self.version

    def goes_on(self, found: StoredObject | None) -> bool:
        """Whether what a look has found is what a picture in quarantine looks like, or one half-way there."""
        if not self.hides or self.is_released(found):
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
    def is_wanted_anew(self) -> bool:
        return self.relabel != self.relabelled

    def is_held(self, version: str | None, now: float) -> bool:
        """Whether somebody is at work on that very version."""
        version = self.version if version is None and self.hides else version
        return not self.finished and self.version == version and now < self.lease_until

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


@dataclass(frozen=True)
class Summary:
    source_file: str
    status: Status
    reason: str | None = None
    labelled_at: str | None = None
    top_labels: tuple[TopLabel, ...] = ()


@dataclass(frozen=True)
class Listener:
    """Whom callbacks tell of an image; the rest of the URL may be a secret."""

    host: str


@dataclass(frozen=True)
class Image:
    source_file: str
    status: Status
    reason: str | None = None
    content_type: str | None = None
    size: int | None = None
    version_id: str | None = None
    etag: str | None = None
    uploaded_at: str | None = None
    labelled_at: str | None = None
    labels: tuple[Label, ...] = ()
    text: tuple[Line, ...] | None = None
    moderation: Moderation | None = None
    properties: Properties | None = None
    model_versions: Mapping[str, str] = field(default_factory=dict)
    metadata: Mapping[str, str] = field(default_factory=dict)
    reused_from: str | None = None
    callback: Listener | None = None

    @property
    def summary(self) -> Summary:
        return Summary(self.source_file, self.status, self.reason, self.labelled_at, top_labels(self.labels))


def top_labels(labels: tuple[Label, ...], most: int = 5) -> tuple[TopLabel, ...]:
    best = sorted(labels, key=lambda label: -label.confidence)[:most]
    return tuple(TopLabel(label.name, label.confidence) for label in best)


def place_of(found: StoredObject) -> str:
    """Where a version is kept in quarantine: a key may be as long as S3 allows, so a digest stands for it."""
    return f"{hashlib.sha256(found.key.encode()).hexdigest()}/{found.version}"


def image_id(source_file: str) -> str:
    return base64.urlsafe_b64encode(source_file.encode()).rstrip(b"=").decode()


def source_file(an_image_id: str) -> str | None:
    """The object key behind an id; None for anything but the one spelling that image_id gives."""
    try:
        padded = an_image_id.encode("ascii") + b"=" * (-len(an_image_id) % 4)
        key = base64.b64decode(padded, altchars=b"-_", validate=True).decode()
    except (binascii.Error, UnicodeError):
        return None
    # b64decode ignores stray bits: Y2FyLnBuZx decodes like Y2FyLnBuZw.
    return key if is_object_key(key) and image_id(key) == an_image_id else None


def is_object_key(text: str) -> bool:
    """Whether S3 can hold an object of that name."""
    try:
        return 0 < len(text.encode()) <= MAX_KEY_BYTES
    except UnicodeEncodeError:
        return False


def label_key(name: str) -> str:
    """One spelling for every way to write a label's name, short enough for a sort key."""
    folded = unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())
    return folded.encode()[:MAX_LABEL_BYTES].decode(errors="ignore")


def storable_labels(labels: Iterable[Label], most: int) -> tuple[Label, ...]:
    """The most confident labels, one for each label key, with as many boxes as a row has room for."""
    best: dict[str, Label] = {}
    for label in sorted(labels, key=lambda label: -label.confidence):
        name = label.name[:MAX_NAME]
        best.setdefault(label_key(name), replace(label, name=name))
    return tuple(fitting(_within(MAX_BOXES, list(best.values())[:most]), LABELS_ROOM))


def storable_text(lines: Iterable[Line]) -> tuple[Line, ...]:
    """As many lines as a row has room for."""
    return tuple(fitting(lines, TEXT_ROOM))


def storable_moderation(moderation: Moderation) -> Moderation:
    """As many labels as a row has room for."""
    return replace(moderation, labels=tuple(fitting(moderation.labels, MODERATION_ROOM)))


def is_flagged(labels: Iterable[ModerationLabel], triggers: Mapping[str, float]) -> bool:
    """Whether one of the taxonomy's names, at any level, was seen with the confidence that it takes."""
    names = {name.casefold(): least for name, least in triggers.items()}
    return any(
        label.confidence >= names.get(name.casefold(), math.inf)
        for label in labels
        for name in (label.name, label.parent or "")
    )


def fitting(parts: Iterable[T], room: int) -> Iterator[T]:
    """Those that fit one after the other, in bytes of JSON."""
    for part in parts:
        size = len(json.dumps(asdict(part)))
        if size <= room:
            room -= size
            yield part


def _within(boxes: int, labels: list[Label]) -> Iterator[Label]:
    for label in labels:
        yield replace(label, instances=label.instances[:boxes])
        boxes = max(0, boxes - len(label.instances))
