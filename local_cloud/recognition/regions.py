from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from local_cloud.recognition.boxes import Corners
from local_cloud.recognition.errors import InvalidRequest

# Regions are drawn on a canvas of this side, and points so many a side are looked up in it for each word.
CANVAS = 1000
POINTS = 20
FEWEST_CORNERS, MOST_CORNERS = 3, 10
SIDES = ("Left", "Top", "Width", "Height")


class Regions:
    """DetectText's RegionsOfInterest: boxes or polygons in ratios of the picture's sides.

    Raises InvalidRequest for a region that is none.
    """

    def __init__(self, regions: Sequence[Mapping[str, Any]]) -> None:
        self._canvases = [_draw(_outline(region)) for region in regions]

    def hold(self, corners: Corners) -> bool:
        """Whether one of them, if there are any, holds more than half of what the four corners enclose."""
        if not self._canvases:
            return True
        x, y = np.clip(_points_within(corners) * CANVAS, 0, CANVAS - 1).astype(int).T
        return any(canvas[y, x].mean() > 0.5 for canvas in self._canvases)


def _outline(region: Mapping[str, Any]) -> Corners:
    if len(region) != 1:
        raise InvalidRequest("A region of interest must have either BoundingBox or Polygon")
    if "BoundingBox" in region:
        return _outline_of_box(region["BoundingBox"])
    return _outline_of_polygon(region["Polygon"])


def _outline_of_box(box: Mapping[str, float]) -> Corners:
    if box.keys() != set(SIDES):
        raise InvalidRequest("A BoundingBox must have Left, Top, Width and Height")
    left, top, width, height = (_ratio(box[side]) for side in SIDES)
    if not (width and height):
        raise InvalidRequest("A BoundingBox must have an area")
    right, bottom = left + width, top + height
    return np.array([[left, top], [right, top], [right, bottom], [left, bottom]])


def _outline_of_polygon(points: Sequence[Mapping[str, float]]) -> Corners:
    if not FEWEST_CORNERS <= len(points) <= MOST_CORNERS:
        raise InvalidRequest(f"A Polygon must have {FEWEST_CORNERS} to {MOST_CORNERS} points")
    if any(point.keys() != {"X", "Y"} for point in points):
        raise InvalidRequest("A point of a Polygon must have X and Y")
    return np.array([[_ratio(point["X"]), _ratio(point["Y"])] for point in points])


def _ratio(value: float) -> float:
    if not 0 <= value <= 1:
        raise InvalidRequest(f"{value} is no ratio from 0 to 1")
    return value


def _draw(outline: Corners) -> NDArray[np.uint8]:
    canvas = np.zeros((CANVAS, CANVAS), np.uint8)
    cv2.fillPoly(canvas, [np.rint(outline * (CANVAS - 1)).astype(np.int32)], 1)
    return canvas


def _points_within(corners: Corners) -> Corners:
    shares = (np.arange(POINTS) + 0.5) / POINTS
    along, across = (share.reshape(-1, 1) for share in np.meshgrid(shares, shares))
    top_left, top_right, bottom_right, bottom_left = corners
    top, bottom = (
        top_left + along * (top_right - top_left),
        bottom_left + along * (bottom_right - bottom_left),
    )
    points: Corners = top + across * (bottom - top)
    return points
