from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from pathlib import Path

import cv2
import numpy as np

from local_cloud.recognition.boxes import Box, Detection, merge_overlapping
from local_cloud.recognition.calibration import OBJECTS, calibrate
from local_cloud.recognition.cats import CatFaceFinder, tell_cats_from_dogs
from local_cloud.recognition.errors import ServiceError
from local_cloud.recognition.helper import Helper, find_missing
from local_cloud.recognition.picture import Picture, Pixels
from local_cloud.recognition.vocabulary import COCO

FOLDER = Path(__file__).parent / "objects"
SIDE = 512


class ObjectDetector:
    """COCO's 80 everyday things, by the CenterNet of the npm package @vladmandic/human in a Node process."""

    def __init__(self, folder: Path = FOLDER) -> None:
        self._folder = folder
        self._cats = CatFaceFinder()
        self._helper = Helper(folder / "detect.mjs")

    @cached_property
    def missing(self) -> tuple[str, ...]:
        reason = find_missing(self._folder)
        return (f"Everyday objects (cup, car, dog ...) are not recognised: {reason}.",) if reason else ()

    def detect(self, picture: Picture) -> list[Detection]:
        """What is there, best first; nothing when the helper is missing; ServiceError when it dies of it."""
        if self.missing:
            return []
        canvas, scale = _letterbox(picture.pixels)
        try:
            answer = self._helper.ask(canvas.tobytes())
        except ServiceError:
            if self._helper.has_started:
                raise
            self.missing = (
                "Everyday objects (cup, car, dog ...) are not recognised: the Node helper does not start.",
            )
            return []
        found = list(_read(answer["detections"], picture.pixels.shape, scale))
        return merge_overlapping(self._tell_cats_from_dogs(found, picture))

    def _tell_cats_from_dogs(self, found: list[Detection], picture: Picture) -> list[Detection]:
        if not any(seen.label == "Dog" for seen in found):
            return found
        return tell_cats_from_dogs(found, self._cats.find(picture))

    def warm_up(self) -> None:
        if not self.missing:
            self._helper.start()

    def close(self) -> None:
        self._helper.close()


def _letterbox(pixels: Pixels) -> tuple[Pixels, float]:
    """The picture on a black square, and its scale there. Stretched to a square, a cat is taken for a dog."""
    height, width = pixels.shape[:2]
    scale = SIDE / max(height, width)
    size = (max(round(width * scale), 1), max(round(height * scale), 1))
    shrunk = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
    canvas = np.zeros((SIDE, SIDE, 3), np.uint8)
    left, top = (SIDE - size[0]) // 2, (SIDE - size[1]) // 2
    canvas[top : top + size[1], left : left + size[0]] = shrunk
    return canvas, scale


def _read(rows: list[list[float]], shape: tuple[int, ...], scale: float) -> Iterator[Detection]:
    height, width = shape[0] * scale, shape[1] * scale
    left, top = (SIDE - width) / 2, (SIDE - height) / 2
    for x1, y1, x2, y2, score, kind in rows:
        confidence = calibrate(OBJECTS, score)
        if confidence is not None:
            box = Box((x1 - left) / width, (y1 - top) / height, (x2 - x1) / width, (y2 - y1) / height)
            yield Detection(COCO[int(kind)], confidence, box.clipped())
