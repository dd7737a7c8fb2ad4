"""DetectModerationLabels on the laptop: no opinion, but for pictures with a mark that asks for a label.

A mark is a line of text, printed in the picture or in the file's metadata: `moderation: Graphic Violence`, or
with a confidence, `moderation: Graphic Violence, 82.5`.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from chalicelib.taxonomy import PARENTS

if TYPE_CHECKING:
    from mypy_boto3_rekognition.type_defs import ContentTypeTypeDef, ModerationLabelTypeDef

_logger = logging.getLogger(__name__)

USUAL_WORD = "moderation"
USUAL_CONFIDENCE = 99.0
DEFAULT_MIN_CONFIDENCE = 50
CONTENT_TYPES = ("Animated", "Illustrated")


@dataclass(frozen=True)
class Mark:
    """What a picture asks to be taken for: a moderation label or a content type, under its own name."""

    name: str
    confidence: float


def find_marks(word: str, texts: Iterable[str]) -> list[Mark]:
    """The marks that begin with the word and a colon, as lines of the texts; what names nothing is logged."""
    beginning = re.compile(rf"\s*{re.escape(word)}\s*[:：]\s*(.*)", re.IGNORECASE)  # noqa: RUF001  # read so by OCR
    wishes = dict.fromkeys(
        found[1].strip() for text in texts for line in text.splitlines() if (found := beginning.match(line))
    )
    return [mark for wish in wishes if (mark := _read_mark(word, wish))]


def describe_moderation(marks: Iterable[Mark], request: Mapping[str, Any]) -> list[ModerationLabelTypeDef]:
    """The marked labels and their ancestors, each as sure as its surest mark; surest and deepest first."""
    confidence: dict[str, float] = {}
    for mark in marks:
        for name in (mark.name, *_ancestors(mark.name)):
            confidence[name] = max(confidence.get(name, 0), mark.confidence)
    least = request.get("MinConfidence", DEFAULT_MIN_CONFIDENCE)
    sure = (name for name, value in confidence.items() if value >= least and name in PARENTS)
    ranked = sorted(sure, key=lambda name: (-confidence[name], -_level(name)))
    return [
        {
            "Confidence": round(confidence[name], 4),
            "Name": name,
            "ParentName": PARENTS[name],
            "TaxonomyLevel": _level(name),
        }
        for name in ranked
    ]


def describe_content(marks: Iterable[Mark]) -> list[ContentTypeTypeDef]:
    return [
        {"Confidence": round(mark.confidence, 4), "Name": mark.name}
        for mark in marks
        if mark.name in CONTENT_TYPES
    ]


def _read_mark(word: str, wish: str) -> Mark | None:
    found = re.fullmatch(r"([^,，]+)(?:[,，]\s*(\d{1,3}(?:\.\d+)?)\s*%?)?", wish)  # noqa: RUF001
    name = found and _NAMES.get(_plain(found[1]))
    confidence = float(found[2]) if found and found[2] else USUAL_CONFIDENCE
    if not name or confidence > 100:
        _logger.warning("The mark %r is no moderation label of Rekognition's.", f"{word}: {wish}")
        return None
    return Mark(name, confidence)


def _ancestors(name: str) -> Iterator[str]:
    while name := PARENTS.get(name, ""):
        yield name


def _level(name: str) -> int:
    return 1 + sum(1 for _ in _ancestors(name))


def _plain(name: str) -> str:
    """What OCR and people agree on: letters only."""
    return re.sub(r"[^a-z]", "", name.casefold())


_NAMES = {_plain(name): name for name in (*PARENTS, *CONTENT_TYPES)} | {
    _plain(f"{name} Content"): name for name in CONTENT_TYPES
}
