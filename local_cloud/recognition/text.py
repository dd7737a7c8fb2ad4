from __future__ import annotations

import threading
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from typing import TYPE_CHECKING

import numpy as np

from local_cloud.recognition.boxes import Box, Corners, Detection
from local_cloud.recognition.calibration import TEXT, calibrate
from local_cloud.recognition.picture import Picture

if TYPE_CHECKING:
    from local_cloud.recognition.ocr import Reader, ReadLine

# A ring is read as "O" and a stripe as "1" with certainty, so that one character alone is no text.
FEWEST_CHARACTERS = 2
DOCUMENT_LINES = 5
DOCUMENT_AREA = 0.1


@dataclass(frozen=True, eq=False)
class Writing:
    """What was read: its text, 0-100 on the common scale, and its corners in ratios of the picture's sides.

    The corners go round from the top left of the first letter, in the direction of reading.
    """

    text: str
    confidence: float
    corners: Corners

    @property
    def box(self) -> Box:
        return Box.around(self.corners)


@dataclass(frozen=True, eq=False)
class TextLine(Writing):
    """A line and its words, which are as sure as the line."""

    words: tuple[Writing, ...]


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
        """The lines from top to bottom, without unsure ones and single characters; read once a picture."""
        return picture.recall(self, lambda: self._read(picture))

    def warm_up(self) -> None:
        with self._lock:
            _ = self._reader

    def close(self) -> None: ...

    def _read(self, picture: Picture) -> list[TextLine]:
        height, width = picture.pixels.shape[:2]
        with self._lock:
            lines = self._reader.read_lines(picture.pixels)
        return [
            _text_line(line, confidence, np.array([width, height]))
            for line in lines
            if _counts(line.text) and (confidence := calibrate(TEXT, line.score)) is not None
        ]

    @cached_property
    def _reader(self) -> Reader:
        from local_cloud.recognition.ocr import Reader

        return Reader()


def _text_line(line: ReadLine, confidence: float, size: Corners) -> TextLine:
    corners = np.clip(line.corners / size, 0, 1)
    spans = iter(line.spans)
    words = [(word, list(islice(spans, len(word)))) for word in line.text.split()]
    return TextLine(
        line.text,
        confidence,
        corners,
        tuple(
            Writing(word, confidence, _cut(corners, min(taken)[0], max(end for _, end in taken)))
            for word, taken in words
        ),
    )


def _cut(line: Corners, start: float, end: float) -> Corners:
    """The corners of the part of a line between two shares of its length."""
    top, bottom = line[1] - line[0], line[2] - line[3]
    return np.array(
        [line[0] + start * top, line[0] + end * top, line[3] + end * bottom, line[3] + start * bottom]
    )


def _counts(text: str) -> bool:
    return sum(map(str.isalnum, text)) >= FEWEST_CHARACTERS


def _is_document(lines: list[TextLine]) -> bool:
    return len(lines) >= DOCUMENT_LINES and sum(line.box.area for line in lines) >= DOCUMENT_AREA
