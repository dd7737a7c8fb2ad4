"""How much of an answer there is room for in an image's row.

A row may have 400 kB, and has room for an answer beside what detectors have told of the next version.
Rekognition's 100 words on as many lines fit, and so does its whole taxonomy of moderation.
"""

import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict, replace
from typing import TypeVar

from chalicelib.model import Label, Line, Moderation, ModerationLabel, label_key

MAX_NAME = 2000  # characters, more than there can be in a label's key
MAX_BOXES = 400  # of all labels together
LABELS_ROOM, TEXT_ROOM, MODERATION_ROOM = 90_000, 48_000, 12_000  # bytes of JSON, where no value is shorter

T = TypeVar("T", Label, Line, ModerationLabel)


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
