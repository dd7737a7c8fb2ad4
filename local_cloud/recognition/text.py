from __future__ import annotations

import threading
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from local_cloud.recognition.boxes import Box, Detection
from local_cloud.recognition.calibration import TEXT, calibrate
from local_cloud.recognition.picture import Picture

if TYPE_CHECKING:
    from rapidocr import RapidOCR

# A ring is read as "O" and a stripe as "1" with certainty, so that one character alone is no text.
FEWEST_CHARACTERS = 2
DOCUMENT_LINES = 5
DOCUMENT_AREA = 0.1
# The stock limits enlarge the shorter side to 736 pixels, which for a narrow strip means gigabytes.
OPTIONS = {"Global.log_level": "critical", "Det.limit_type": "max", "Det.limit_side_len": 1280}


@dataclass(frozen=True)
class TextLine:
    """A line that was read: its text, 0-100 on the common scale, and the upright box around it."""

    text: str
    confidence: float
    box: Box


class TextDetector:
    """Printed text, read by RapidOCR, whose models come with its wheel."""

    missing: tuple[str, ...] = ()

    def __init__(self) -> None:
        self._lock = threading.Lock()

    def detect(self, picture: Picture) -> list[Detection]:
        lines = self.read(picture)
        best = max((line.confidence for line in lines), default=0.0)
        labels = ["Text"] * bool(lines) + ["Document"] * _is_document(lines)
        return [Detection(label, best) for label in labels]

    def read(self, picture: Picture) -> list[TextLine]:
        """The lines of text in reading order, without unsure ones and single characters."""
        height, width = picture.pixels.shape[:2]
        with self._lock:
            output = self._engine(picture.pixels)
        if output.txts is None:
            return []
        found = zip(output.txts, output.scores, output.boxes / (width, height), strict=True)
        return [
            TextLine(text, confidence, Box.around(corners).clipped())
            for text, score, corners in found
            if _counts(text) and (confidence := calibrate(TEXT, score)) is not None
        ]

    def warm_up(self) -> None:
        with self._lock:
            _ = self._engine

    def close(self) -> None: ...

    @cached_property
    def _engine(self) -> RapidOCR:
        from rapidocr import RapidOCR

        return RapidOCR(params=OPTIONS)


def _counts(text: str) -> bool:
    return sum(map(str.isalnum, text)) >= FEWEST_CHARACTERS


def _is_document(lines: list[TextLine]) -> bool:
    return len(lines) >= DOCUMENT_LINES and sum(line.box.area for line in lines) >= DOCUMENT_AREA
