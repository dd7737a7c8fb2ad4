"""What a callback says of an image, and the id by which a receiver knows it again."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from msgspec import to_builtins
from msgspec.json import encode

from chalicelib.contract import told
from chalicelib.model import Image, Status
from chalicelib.room import fitting

MAX_BYTES = 20_000  # as Standard Webhooks advises
ENVELOPE = 200  # bytes of them, around the image
BOXES = 5  # of a label, where there is not room for all

TYPES: Mapping[Status, str] = {
    Status.LABELLED: "image.labelled",
    Status.QUARANTINED: "image.quarantined",
    Status.FAILED: "image.failed",
}


@dataclass(frozen=True)
class Announcement:
    """One final answer about an image, to be told to whoever wants to know."""

    event_id: str
    type: str
    body: str


def announcement(image: Image, run: str, moment: str) -> Announcement:
    """Of an image in a final status, to which that run has brought it; the same whenever it is made."""
    kind = TYPES[image.status]
    body = encode({"type": kind, "timestamp": moment, "data": _data(image)}).decode()
    return Announcement(event_id(image.source_file, run), kind, body)


def event_id(source_file: str, run: str) -> str:
    return "evt_" + hashlib.sha256(json.dumps([source_file, run]).encode()).hexdigest()[:32]


def _data(image: Image) -> Any:
    return told(image) if _room(image) >= 0 else {**to_builtins(told(_cut(image))), "truncated": True}


def _room(image: Image) -> int:
    """Bytes that are left beside it; less than none if it is too large."""
    return MAX_BYTES - ENVELOPE - len(encode(told(image)))


def _cut(image: Image) -> Image:
    """Without properties and words, and of a label with a few boxes; of all that, what fits."""
    cut = replace(
        image,
        labels=(),
        text=None if image.text is None else (),
        moderation=image.moderation and replace(image.moderation, labels=()),
        properties=None,
    )
    if image.moderation:
        moderation = replace(image.moderation, labels=tuple(fitting(image.moderation.labels, _room(cut))))
        cut = replace(cut, moderation=moderation)
    labels = (replace(label, instances=label.instances[:BOXES]) for label in image.labels)
    cut = replace(cut, labels=tuple(fitting(labels, _room(cut))))
    lines = (replace(line, words=()) for line in image.text or ())
    return replace(cut, text=image.text and tuple(fitting(lines, _room(cut))))
