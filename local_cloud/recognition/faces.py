from __future__ import annotations

import threading
from functools import cached_property
from pathlib import Path

import cv2
import cv2.data
import numpy as np
from numpy.typing import NDArray

from local_cloud.recognition.boxes import Box, Detection
from local_cloud.recognition.calibration import FACE
from local_cloud.recognition.picture import Picture

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
        height, width = grey.shape
        smallest = max(SMALLEST, min(height, width) // self._smallest_of_side)
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
    """People's faces seen from the front.

    Of OpenCV's frontal cascades, alt2 with 8 neighbours was the one that found the upright and slightly
    turned copies of a portrait, and nothing in all else.
    """

    missing: tuple[str, ...] = ()

    def __init__(self) -> None:
        self._cascade = Cascade("frontalface_alt2", NEIGHBOURS, SMALLEST_OF_SIDE)

    def detect(self, picture: Picture) -> list[Detection]:
        return [Detection("Face", FACE, box) for box in self._cascade.find(picture)]

    def warm_up(self) -> None:
        self._cascade.load()

    def close(self) -> None: ...


def _grey(picture: Picture) -> NDArray[np.uint8]:
    grey = cv2.cvtColor(picture.pixels, cv2.COLOR_RGB2GRAY)
    shrink = SIDE / max(grey.shape)
    if shrink < 1:
        grey = cv2.resize(grey, None, fx=shrink, fy=shrink, interpolation=cv2.INTER_AREA)
    return np.asarray(grey, np.uint8)
