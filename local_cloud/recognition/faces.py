from __future__ import annotations

import threading
from functools import cached_property
from pathlib import Path

import cv2
import cv2.data
import numpy as np
from numpy.typing import NDArray

from local_cloud.recognition.boxes import SAME_THING, Box, Detection
from local_cloud.recognition.calibration import FACE
from local_cloud.recognition.picture import Picture

Grey = NDArray[np.uint8]

SIDE = 1024
SMALLEST_OF_SIDE = 16
SMALLEST = 24
SCALE_STEP = 1.1
NEIGHBOURS = 8


class Cascade:
    """An OpenCV Haar cascade, loaded on first use; safe to share between threads, which OpenCV's is not."""

    def __init__(self, name: str, neighbours: int, smallest_of_side: int) -> None:
        self._neighbours = neighbours
        self._smallest_of_side = smallest_of_side
        self._path = Path(cv2.data.haarcascades) / f"haarcascade_{name}.xml"
        self._lock = threading.Lock()

    def find(self, picture: Picture) -> list[Box]:
        grey = _grey(picture)
        return self._search(grey, max(SMALLEST, min(grey.shape) // self._smallest_of_side))

    def confirms(self, picture: Picture, box: Box) -> bool:
        """Whether it finds the same thing when it looks at the box and its surroundings only."""
        frame = box.widened().clipped()
        crop = _crop(_grey(picture), frame)
        found = self._search(crop, max(SMALLEST, min(crop.shape) // 4))
        return any(inner.within(frame).overlap(box) >= SAME_THING for inner in found)

    def _search(self, grey: Grey, smallest: int) -> list[Box]:
        height, width = grey.shape
        with self._lock:
            windows = self._classifier.detectMultiScale(
                grey, SCALE_STEP, self._neighbours, minSize=(smallest, smallest)
            )
        return [
            Box(x / width, y / height, w / width, h / height) for x, y, w, h in np.asarray(windows).tolist()
        ]

    def load(self) -> None:
        with self._lock:
            _ = self._classifier

    @cached_property
    def _classifier(self) -> cv2.CascadeClassifier:
        return cv2.CascadeClassifier(str(self._path))


class FaceDetector:
    """People's faces seen from the front, on which three of OpenCV's cascades agree.

    alt2 alone found the upright and slightly turned copies of a portrait, but also saw faces in 31 of 500
    pictures of blurred noise; the other two confirmed all of the former and four of the latter.
    """

    missing: tuple[str, ...] = ()

    def __init__(self) -> None:
        names = ("frontalface_alt2", "frontalface_alt", "frontalface_default")
        self._finder, *self._witnesses = (Cascade(name, NEIGHBOURS, SMALLEST_OF_SIDE) for name in names)

    def detect(self, picture: Picture) -> list[Detection]:
        return [
            Detection("Face", FACE, box)
            for box in self._finder.find(picture)
            if all(witness.confirms(picture, box) for witness in self._witnesses)
        ]

    def warm_up(self) -> None:
        for cascade in (self._finder, *self._witnesses):
            cascade.load()

    def close(self) -> None: ...


def _crop(grey: Grey, frame: Box) -> Grey:
    height, width = grey.shape
    rows = slice(round(frame.top * height), round(frame.bottom * height))
    return grey[rows, round(frame.left * width) : round(frame.right * width)]


def _grey(picture: Picture) -> Grey:
    grey = cv2.cvtColor(picture.pixels, cv2.COLOR_RGB2GRAY)
    shrink = SIDE / max(grey.shape)
    if shrink < 1:
        grey = cv2.resize(grey, None, fx=shrink, fy=shrink, interpolation=cv2.INTER_AREA)
    return np.asarray(grey, np.uint8)
