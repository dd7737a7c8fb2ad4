from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import chain
from typing import Any, Protocol

from local_cloud.recognition.boxes import Detection
from local_cloud.recognition.errors import InvalidRequest, ServiceError
from local_cloud.recognition.labels import name_labels, select_labels
from local_cloud.recognition.picture import Picture

LABEL_MODEL_VERSION = "local-1"


class Detector(Protocol):
    """One way of looking at a picture. May be called from several threads at once."""

    @property
    def missing(self) -> Sequence[str]: ...

    def detect(self, picture: Picture) -> list[Detection]: ...

    def warm_up(self) -> None: ...

    def close(self) -> None: ...


class LocalRecogniser:
    """What this machine's own detectors see, in Rekognition's words."""

    def __init__(self, detectors: Sequence[Detector]) -> None:
        self._detectors = detectors
        self._pool = ThreadPoolExecutor(max_workers=2 * len(detectors), thread_name_prefix="detector")
        self._operations = {"DetectLabels": self._detect_labels}

    @property
    def missing(self) -> list[str]:
        return list(chain.from_iterable(detector.missing for detector in self._detectors))

    def recognise(self, operation: str, picture: Picture, request: Mapping[str, Any]) -> dict[str, Any]:
        """Rekognition's answer to an operation; Unreadable, InvalidRequest or ServiceError."""
        if operation not in self._operations:
            message = f"{operation} is not there yet on the laptop; DetectLabels is"
            raise ServiceError("UnknownOperationException", message)
        return self._operations[operation](picture, request)

    def warm_up(self) -> None:
        """Load every model; a second or two."""
        for detector in self._detectors:
            detector.warm_up()

    def close(self) -> None:
        for detector in self._detectors:
            detector.close()
        self._pool.shutdown()

    def _detect_labels(self, picture: Picture, request: Mapping[str, Any]) -> dict[str, Any]:
        if "IMAGE_PROPERTIES" in request.get("Features", ()):
            raise InvalidRequest(
                "The feature IMAGE_PROPERTIES is not there yet on the laptop; GENERAL_LABELS is"
            )
        labels = select_labels(name_labels(self._look(picture)), request)
        return {"Labels": labels, "LabelModelVersion": LABEL_MODEL_VERSION}

    def _look(self, picture: Picture) -> list[Detection]:
        _ = picture.pixels  # decoded once, before the detectors share it
        return list(
            chain.from_iterable(self._pool.map(lambda detector: detector.detect(picture), self._detectors))
        )
