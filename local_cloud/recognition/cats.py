from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from local_cloud.recognition.boxes import SAME_THING, Box, Detection
from local_cloud.recognition.faces import Cascade
from local_cloud.recognition.picture import Picture

NEIGHBOURS = 5
SMALLEST_OF_SIDE = 8


class CatFaceFinder:
    """Cats' faces seen from the front, by both of OpenCV's cascades for them.

    They also see cats in blurred noise, so that a face is no label: it only tells a cat from a dog.
    """

    def __init__(self) -> None:
        self._plain = Cascade("frontalcatface", NEIGHBOURS, SMALLEST_OF_SIDE)
        self._extended = Cascade("frontalcatface_extended", NEIGHBOURS, SMALLEST_OF_SIDE)

    def find(self, picture: Picture) -> list[Box]:
        confirmed = self._extended.find(picture)
        return [
            box
            for box in self._plain.find(picture)
            if any(box.overlap(other) >= SAME_THING for other in confirmed)
        ]


def tell_cats_from_dogs(detections: Iterable[Detection], faces: Iterable[Box]) -> list[Detection]:
    """A dog whose box holds a cat's face is a cat."""
    cats = list(faces)
    return [replace(seen, label="Cat") if _is_cat(seen, cats) else seen for seen in detections]


def _is_cat(seen: Detection, cats: Iterable[Box]) -> bool:
    return seen.label == "Dog" and seen.box is not None and any(map(seen.box.holds_centre_of, cats))
