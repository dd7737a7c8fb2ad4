from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

# An outline: an array of points, x and y each.
Corners = NDArray[np.float64]

SAME_THING = 0.5
SAME_BOX = 0.8


@dataclass(frozen=True)
class Box:
    """A rectangle in ratios of the picture's width and height."""

    left: float
    top: float
    width: float
    height: float

    @classmethod
    def around(cls, corners: NDArray[np.floating]) -> Box:
        """The smallest upright box around corners, an array of x, y in ratios."""
        left, top = corners.min(axis=0).tolist()
        right, bottom = corners.max(axis=0).tolist()
        return cls(left, top, right - left, bottom - top)

    @property
    def right(self) -> float:
        return self.left + self.width

    @property
    def bottom(self) -> float:
        return self.top + self.height

    @property
    def area(self) -> float:
        return self.width * self.height

    def clipped(self) -> Box:
        left, top = _into_unit(self.left), _into_unit(self.top)
        return Box(left, top, _into_unit(self.right) - left, _into_unit(self.bottom) - top)

    def widened(self) -> Box:
        """Twice as wide and high about the same centre."""
        return Box(self.left - self.width / 2, self.top - self.height / 2, 2 * self.width, 2 * self.height)

    def within(self, frame: Box) -> Box:
        """A box in ratios of a frame, in ratios of the picture that the frame is in."""
        left, top = frame.left + self.left * frame.width, frame.top + self.top * frame.height
        return Box(left, top, self.width * frame.width, self.height * frame.height)

    def overlap(self, other: Box) -> float:
        """Intersection over union, 0 to 1."""
        width = min(self.right, other.right) - max(self.left, other.left)
        height = min(self.bottom, other.bottom) - max(self.top, other.top)
        common = max(width, 0.0) * max(height, 0.0)
        union = self.area + other.area - common
        return common / union if union > 0 else 0.0

    def holds_centre_of(self, other: Box) -> bool:
        across, down = other.left + other.width / 2, other.top + other.height / 2
        return self.left <= across <= self.right and self.top <= down <= self.bottom


@dataclass(frozen=True)
class Detection:
    """One thing seen: its label, 0-100 on the common scale, and where (None: no particular place)."""

    label: str
    confidence: float
    box: Box | None = None

    def clipped(self) -> Detection:
        return self if self.box is None else replace(self, box=self.box.clipped())


def merge_overlapping(detections: Iterable[Detection]) -> list[Detection]:
    """Non-maximum suppression: of the boxes that show one thing, the most confident stays. Best first."""
    kept: list[Detection] = []
    for detection in sorted(detections, key=lambda detection: -detection.confidence):
        if not any(_same_thing(detection, better) for better in kept):
            kept.append(detection)
    return kept


def _same_thing(one: Detection, other: Detection) -> bool:
    if one.box is None or other.box is None:
        return one.label == other.label and one.box is other.box
    return one.box.overlap(other.box) >= (SAME_THING if one.label == other.label else SAME_BOX)


def _into_unit(ratio: float) -> float:
    return min(max(ratio, 0.0), 1.0)
