"""Images, labels and the pure rules about them: ids, keys, states."""

import base64
import binascii
import hashlib
import json
import math
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum

MAX_KEY_BYTES = 1024  # S3's limit
MAX_LABEL_BYTES = 1000  # DynamoDB's limit for a sort key is 1,024 bytes, and ours has a prefix


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


def is_flagged(labels: Iterable[ModerationLabel], triggers: Mapping[str, float]) -> bool:
    """Whether one of the taxonomy's names, at any level, was seen with the confidence that it takes."""
    names = {name.casefold(): least for name, least in triggers.items()}
    return any(
        label.confidence >= names.get(name.casefold(), math.inf)
        for label in labels
        for name in (label.name, label.parent or "")
    )
