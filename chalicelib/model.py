"""Images, labels and the pure rules about them: ids, keys, states."""

import base64
import binascii
import unicodedata
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum

MAX_KEY_BYTES = 1024  # S3's limit
MAX_BOXES = 1000  # about 100 kB of a row, which may have 400 kB
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


class Outcome(StrEnum):
    """How one attempt to bring a row in line with the bucket ended."""

    LABELLED = "labelled"
    FAILED = "failed"
    REMOVED = "removed"
    DUPLICATE = "duplicate"
    IN_PROGRESS = "in_progress"
    SUPERSEDED = "superseded"


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


@dataclass(frozen=True)
class Answer:
    """What is known of one version of a picture once it has been looked at."""

    status: Status
    reason: str | None = None
    content_type: str | None = None
    labels: tuple[Label, ...] = ()
    model_versions: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Claim:
    """The part of an image's row that decides who may write it."""

    run: str | None
    committed_run: str | None
    version: str | None
    lease_until: float
    label_keys: tuple[str, ...]
    fence: str | None = None

    @property
    def finished(self) -> bool:
        return self.run is not None and self.run == self.committed_run

    def answers(self, version: str | None) -> bool:
        """Whether this row is the last word on that version (None: that there is no object)."""
        return self.finished and self.version == version

    def is_held(self, version: str | None, now: float) -> bool:
        """Whether somebody is at work on that very version."""
        return not self.finished and self.version == version and now < self.lease_until


@dataclass(frozen=True)
class Summary:
    source_file: str
    status: Status
    reason: str | None
    labelled_at: str | None
    top_labels: tuple[TopLabel, ...]


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
    model_versions: Mapping[str, str] = field(default_factory=dict)
    metadata: Mapping[str, str] = field(default_factory=dict)

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


def storable(labels: tuple[Label, ...], most: int) -> tuple[Label, ...]:
    """The most confident labels, one for each label key, with as many boxes as a row has room for."""
    best: dict[str, Label] = {}
    for label in sorted(labels, key=lambda label: -label.confidence):
        best.setdefault(label_key(label.name), label)
    return tuple(_within(MAX_BOXES, list(best.values())[:most]))


def _within(boxes: int, labels: list[Label]) -> Iterator[Label]:
    for label in labels:
        yield replace(label, instances=label.instances[:boxes])
        boxes = max(0, boxes - len(label.instances))
