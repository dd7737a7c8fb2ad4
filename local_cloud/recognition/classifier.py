from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnxruntime
from numpy.typing import NDArray
from onnxruntime.capi import onnxruntime_pybind11_state as onnx_errors

from local_cloud.recognition.boxes import Detection
from local_cloud.recognition.calibration import CLASSIFIER, calibrate
from local_cloud.recognition.errors import ConfigurationError
from local_cloud.recognition.picture import Picture, Pixels
from local_cloud.recognition.vocabulary import name_in_rekognition

USUAL_SIDE = 224
MOST_LABELS = 5
CENTRE = 0.875  # torchvision's custom: the shorter side becomes 256, and its middle 224 are looked at
MEAN = np.array([0.485, 0.456, 0.406], np.float32)
DEVIATION = np.array([0.229, 0.224, 0.225], np.float32)
NUMBERS: Mapping[str, type[np.generic]] = {
    "tensor(uint8)": np.uint8,
    "tensor(float)": np.float32,
    "tensor(float16)": np.float16,
}
# ONNX Runtime's errors have no base class of their own.
ONNX_ERRORS: tuple[type[Exception], ...] = tuple(
    value for value in vars(onnx_errors).values() if isinstance(value, type) and issubclass(value, Exception)
)
CANNOT_RUN: tuple[type[Exception], ...] = (*ONNX_ERRORS, ValueError, TypeError)


@dataclass(frozen=True)
class Input:
    """What a model wants to be given: the name and number type of its input, its layout and its size."""

    name: str
    number: type[np.generic]
    channels_first: bool
    height: int
    width: int

    def prepare(self, pixels: Pixels) -> NDArray[Any]:
        """The picture's middle, resized, and normalised as ImageNet's unless the model takes bytes."""
        centre = _crop(pixels, self.height, self.width)
        values = centre if self.number is np.uint8 else (centre.astype(np.float32) / 255 - MEAN) / DEVIATION
        ordered = values.transpose(2, 0, 1) if self.channels_first else values
        return np.ascontiguousarray(ordered[np.newaxis], self.number)


class Classifier:
    """The user's own ONNX image classifier: a picture in (NCHW or NHWC), a score for each class out.

    Raises ConfigurationError when the model and the class names cannot work together.
    """

    missing: tuple[str, ...] = ()

    def __init__(self, model: Path, classes: Path) -> None:
        self._names = _read_names(classes)
        self._session = _load(model)
        self._input = _read_input(model, self._session.get_inputs())
        count = self._try(model)
        if count != len(self._names):
            raise ConfigurationError(
                f"LOCAL_MODEL ({model}) tells {count} classes apart,"
                f" and LOCAL_MODEL_CLASSES ({classes}) names {len(self._names)}."
            )

    def detect(self, picture: Picture) -> list[Detection]:
        """At most five classes, best first, without a place."""
        scores = self._classify(picture.pixels)
        best = np.argsort(-scores)[:MOST_LABELS].tolist()
        found = ((self._names[kind], calibrate(CLASSIFIER, float(scores[kind]))) for kind in best)
        return [Detection(name_in_rekognition(name), sure) for name, sure in found if sure is not None]

    def warm_up(self) -> None: ...

    def close(self) -> None: ...

    def _classify(self, pixels: Pixels) -> NDArray[np.float64]:
        outputs = self._session.run(None, {self._input.name: self._input.prepare(pixels)})
        return _as_probabilities(np.asarray(outputs[0], np.float64).ravel())

    def _try(self, model: Path) -> int:
        try:
            return self._classify(np.zeros((self._input.height, self._input.width, 3), np.uint8)).size
        except CANNOT_RUN as error:
            raise ConfigurationError(f"LOCAL_MODEL ({model}) is no image classifier: {error}") from error


def _load(model: Path) -> Any:
    if not model.is_file():
        raise ConfigurationError(f"LOCAL_MODEL ({model}) is not there.")
    try:
        return onnxruntime.InferenceSession(str(model), providers=["CPUExecutionProvider"])
    except ONNX_ERRORS as error:
        raise ConfigurationError(
            f"LOCAL_MODEL ({model}) is no ONNX model that can be loaded: {error}"
        ) from error


def _read_names(classes: Path) -> list[str]:
    try:
        names = classes.read_text(encoding="utf-8").rstrip().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"LOCAL_MODEL_CLASSES ({classes}) cannot be read: {error}") from error
    if not all(name.strip() for name in names):
        raise ConfigurationError(
            f"LOCAL_MODEL_CLASSES ({classes}) has an empty line: each line names one class."
        )
    return [name.strip() for name in names]


def _read_input(model: Path, inputs: Sequence[Any]) -> Input:
    shape = inputs[0].shape if len(inputs) == 1 else []
    number = NUMBERS.get(inputs[0].type) if inputs else None
    if len(shape) != 4 or 3 not in (shape[1], shape[3]) or number is None:
        wanted = "one input of [1, 3, height, width] or [1, height, width, 3], float or uint8"
        raise ConfigurationError(f"LOCAL_MODEL ({model}) is no image classifier: it must have {wanted}.")
    channels_first = shape[1] == 3
    height, width = shape[2:] if channels_first else shape[1:3]
    return Input(inputs[0].name, number, channels_first, _side(height), _side(width))


def _side(size: object) -> int:
    return size if isinstance(size, int) else USUAL_SIDE


def _crop(pixels: Pixels, height: int, width: int) -> Pixels:
    scale = min(pixels.shape[0] / height, pixels.shape[1] / width) * CENTRE
    tall, wide = max(round(height * scale), 1), max(round(width * scale), 1)
    top, left = (pixels.shape[0] - tall) // 2, (pixels.shape[1] - wide) // 2
    centre = pixels[top : top + tall, left : left + wide]
    return np.asarray(cv2.resize(centre, (width, height), interpolation=cv2.INTER_AREA), np.uint8)


def _as_probabilities(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    """Scores that are no probabilities yet are taken for logits; what is no number is no answer."""
    if not np.isfinite(scores).all():
        return np.zeros_like(scores)
    if scores.min() >= 0 and abs(scores.sum() - 1) < 1e-3:
        return scores
    powers = np.exp(scores - scores.max())
    return np.asarray(powers / powers.sum())
