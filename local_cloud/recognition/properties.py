"""DetectLabels' IMAGE_PROPERTIES: colours, brightness, sharpness and contrast of a picture and its parts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import cv2
import numpy as np
from numpy.typing import NDArray

from local_cloud.recognition.boxes import Box
from local_cloud.recognition.colours import dominant_colours
from local_cloud.recognition.picture import Picture

if TYPE_CHECKING:
    from mypy_boto3_rekognition.type_defs import (
        DetectLabelsImageBackgroundTypeDef,
        DetectLabelsImagePropertiesTypeDef,
        DetectLabelsImageQualityTypeDef,
        DominantColorTypeDef,
    )

Mask = NDArray[np.bool_]
# CIELAB's lightness, 0-100.
Light = NDArray[np.float32]

SIDE = 512
DEFAULT_COLOURS = 10
MIDDLE = Box(0.25, 0.25, 0.5, 0.5)
BLUR = 11


class Appearance:
    """How a picture looks, at most 512 pixels a side."""

    def __init__(self, picture: Picture, most_colours: int) -> None:
        pixels = picture.pixels
        shrink = SIDE / max(pixels.shape)
        if shrink < 1:
            pixels = np.asarray(
                cv2.resize(pixels, None, fx=shrink, fy=shrink, interpolation=cv2.INTER_AREA), np.uint8
            )
        self._pixels = pixels
        self._light: Light = cv2.cvtColor(pixels.astype(np.float32) / 255, cv2.COLOR_RGB2LAB)[..., 0]
        self._most_colours = most_colours

    def describe(self, objects: Sequence[Box]) -> DetectLabelsImagePropertiesTypeDef:
        """The foreground is what the boxes of the things found cover, or, where none was, the middle quarter.

        A part that has no pixels is left out. As Rekognition, it tells contrast of the whole picture only.
        """
        foreground = self._cover(objects or [MIDDLE])
        whole = np.ones_like(foreground)
        properties: DetectLabelsImagePropertiesTypeDef = {
            "Quality": {**self._quality(whole), "Contrast": _round(self._contrast())},
            "DominantColors": self._colours(whole),
        }
        if foreground.any():
            properties["Foreground"] = self._part(foreground)
        if not foreground.all():
            properties["Background"] = self._part(~foreground)
        return properties

    def colours_within(self, box: Box) -> list[DominantColorTypeDef]:
        return self._colours(self._cover([box]))

    def _part(self, mask: Mask) -> DetectLabelsImageBackgroundTypeDef:
        return {"Quality": self._quality(mask), "DominantColors": self._colours(mask)}

    def _colours(self, mask: Mask) -> list[DominantColorTypeDef]:
        return dominant_colours(self._pixels[mask], self._most_colours)

    def _quality(self, mask: Mask) -> DetectLabelsImageQualityTypeDef:
        return {
            "Brightness": _round(float(self._light[mask].mean())),
            "Sharpness": _round(_sharpness(self._light, mask)),
        }

    def _contrast(self) -> float:
        """Twice the deviation of lightness: 100 for half black and half white."""
        return min(2 * float(self._light.std()), 100.0)

    def _cover(self, boxes: Sequence[Box]) -> Mask:
        height, width = self._light.shape
        mask = np.zeros((height, width), bool)
        for box in boxes:
            rows = slice(round(box.top * height), round(box.bottom * height))
            mask[rows, round(box.left * width) : round(box.right * width)] = True
        return mask


def _sharpness(light: Light, mask: Mask) -> float:
    """How much of the change from pixel to pixel blurring takes away, 0-100, in the blurrier direction.

    What is blurred already loses little. F. Crete et al., The blur effect: perception and estimation with a
    new no-reference perceptual blur metric, 2007.
    """
    losses = [_loss(light, mask, axis) for axis in (0, 1)]
    return 100 * min((loss for loss in losses if loss is not None), default=0.0)


def _loss(light: Light, mask: Mask, axis: int) -> float | None:
    inside = mask[1:] & mask[:-1] if axis == 0 else mask[:, 1:] & mask[:, :-1]
    blurred = cv2.blur(light, (1, BLUR) if axis == 0 else (BLUR, 1))
    change = np.abs(np.diff(light, axis=axis))[inside]
    left = np.abs(np.diff(blurred, axis=axis))[inside]
    total = float(change.sum())
    return float(np.maximum(change - left, 0).sum()) / total if total else None


def _round(value: float) -> float:
    return round(value, 4)
