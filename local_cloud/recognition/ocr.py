"""RapidOCR, and what it tells of the places of words; imported late, as it takes its time to load."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from rapidocr import RapidOCR

from local_cloud.recognition.boxes import Corners
from local_cloud.recognition.picture import Pixels

OPTIONS = {
    "Global.log_level": "critical",
    "Global.text_score": 0.0,  # what is too unsure is left out by its calibrated confidence
    "Global.return_word_box": True,
    "Global.return_single_char_box": True,
    # The stock limits enlarge the shorter side to 736 pixels, which for a narrow strip means gigabytes.
    "Det.limit_type": "max",
    "Det.limit_side_len": 1280,
}
UPSIDE_DOWN = "180"
# RapidOCR turns a crop that is so much higher than wide before it reads it.
UPRIGHT = 1.5


@dataclass(frozen=True)
class ReadLine:
    """A line as it was read: its score, 0-1, its corners in pixels from the first letter's top left, in the
    direction of reading, and where each of its characters but spaces begins and ends, 0-1 of its length."""

    text: str
    score: float
    corners: Corners
    spans: Sequence[tuple[float, float]]


class Reader(RapidOCR):  # type: ignore[misc]  # it has no types
    """RapidOCR, which forgets which lines it turned round to read them and so mirrors their words' places."""

    def __init__(self) -> None:
        super().__init__(params=OPTIONS)

    def read_lines(self, pixels: Pixels) -> list[ReadLine]:
        """The lines from top to bottom. For one thread at a time."""
        output = self(pixels)
        if output.txts is None:
            return []
        found = zip(
            output.txts, output.scores, output.boxes, output.word_results, output.upside_down, strict=True
        )
        return [_read_line(*line) for line in found]

    def build_final_output(
        self, image: Any, found: Any, turned: Any, read: Any, crops: Any, record: Any
    ) -> Any:
        upside_down = [
            UPSIDE_DOWN in label and score > self.cfg.Cls.cls_thresh
            for (label, score), text in zip(turned.cls_res or (), read.txts or (), strict=True)
            if text.strip()
        ]
        output = super().build_final_output(image, found, turned, read, crops, record)
        output.upside_down = upside_down
        return output


def _read_line(text: str, score: float, box: Corners, characters: Any, is_upside_down: bool) -> ReadLine:
    start = np.asarray(box, np.float64)
    if _is_vertical(start):
        start = np.roll(start, -1, axis=0)
    spans = [_span(np.asarray(corners, np.float64), start) for _, _, corners in characters]
    return ReadLine(text, score, np.roll(start, 2, axis=0) if is_upside_down else start, spans)


def _is_vertical(box: Corners) -> bool:
    sides = np.linalg.norm(box - np.roll(box, -1, axis=0), axis=1)
    return bool(max(sides[1], sides[3]) >= UPRIGHT * max(sides[0], sides[2]))


def _span(corners: Corners, line: Corners) -> tuple[float, float]:
    """The part of a line's length that a character takes, of the line as RapidOCR read it."""
    along = line[1] - line[0]
    shares = np.clip((corners - line[0]) @ along / (along @ along), 0, 1)
    return float(shares.min()), float(shares.max())
