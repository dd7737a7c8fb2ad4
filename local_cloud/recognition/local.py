from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import chain
from typing import TYPE_CHECKING, Any, Protocol

from local_cloud.recognition.boxes import Box, Detection
from local_cloud.recognition.errors import ServiceError
from local_cloud.recognition.labels import DEFAULT_MIN_CONFIDENCE, name_labels, select_labels
from local_cloud.recognition.moderation import USUAL_WORD, describe_content, describe_moderation, find_marks
from local_cloud.recognition.picture import Picture
from local_cloud.recognition.properties import DEFAULT_COLOURS, Appearance
from local_cloud.recognition.reading import describe_text
from local_cloud.recognition.text import TextLine

if TYPE_CHECKING:
    from mypy_boto3_rekognition.type_defs import InstanceTypeDef, LabelTypeDef

MODEL_VERSION = "local-1"


class Detector(Protocol):
    """One way of looking at a picture. May be called from several threads at once."""

    @property
    def missing(self) -> Sequence[str]: ...

    def detect(self, picture: Picture) -> list[Detection]: ...

    def warm_up(self) -> None: ...

    def close(self) -> None: ...


class ReadingDetector(Detector, Protocol):
    """One that reads, too."""

    def read(self, picture: Picture, /) -> list[TextLine]: ...


class LocalRecogniser:
    """What this machine's own detectors see, in Rekognition's words."""

    def __init__(
        self, detectors: Sequence[Detector], text: ReadingDetector, moderation_mark: str = USUAL_WORD
    ) -> None:
        self._detectors = [*detectors, text]
        self._text = text
        self._moderation_mark = moderation_mark
        self._pool = ThreadPoolExecutor(max_workers=2 * len(self._detectors), thread_name_prefix="detector")
        self._operations = {
            "DetectLabels": self._detect_labels,
            "DetectModerationLabels": self._detect_moderation_labels,
            "DetectText": self._detect_text,
        }

    @property
    def missing(self) -> list[str]:
        return list(chain.from_iterable(detector.missing for detector in self._detectors))

    def recognise(self, operation: str, picture: Picture, request: Mapping[str, Any]) -> dict[str, Any]:
        """Rekognition's answer to an operation; Unreadable, InvalidRequest or ServiceError."""
        if operation not in self._operations:
            raise ServiceError("UnknownOperationException", f"{operation} is not there on the laptop")
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
        features = request.get("Features") or ["GENERAL_LABELS"]
        seen = self._look(picture)
        labels = select_labels(name_labels(seen), request) if "GENERAL_LABELS" in features else []
        answer = {"Labels": labels, "LabelModelVersion": MODEL_VERSION}
        if "IMAGE_PROPERTIES" not in features:
            return answer
        appearance = Appearance(picture, _most_colours(request))
        _add_colours(labels, appearance)
        return {**answer, "ImageProperties": appearance.describe(_sure_boxes(seen))}

    def _detect_moderation_labels(self, picture: Picture, request: Mapping[str, Any]) -> dict[str, Any]:
        for parameter in request.keys() & {"HumanLoopConfig", "ProjectVersion"}:
            raise ServiceError("ResourceNotFoundException", f"There is no {parameter} on the laptop")
        texts = chain(picture.notes, (line.text for line in self._text.read(picture)))
        marks = find_marks(self._moderation_mark, texts)
        return {
            "ModerationLabels": describe_moderation(marks, request),
            "ModerationModelVersion": MODEL_VERSION,
            "ContentTypes": describe_content(marks),
        }

    def _detect_text(self, picture: Picture, request: Mapping[str, Any]) -> dict[str, Any]:
        return {
            "TextDetections": describe_text(self._text.read(picture), request),
            "TextModelVersion": MODEL_VERSION,
        }

    def _look(self, picture: Picture) -> list[Detection]:
        return picture.recall(self, lambda: self._look_once(picture))

    def _look_once(self, picture: Picture) -> list[Detection]:
        found = self._pool.map(lambda detector: detector.detect(picture), self._detectors)
        return list(chain.from_iterable(found))


def _most_colours(request: Mapping[str, Any]) -> int:
    wanted: int = (
        request.get("Settings", {}).get("ImageProperties", {}).get("MaxDominantColors", DEFAULT_COLOURS)
    )
    return wanted


def _sure_boxes(seen: Sequence[Detection]) -> list[Box]:
    return [found.box for found in seen if found.box and found.confidence >= DEFAULT_MIN_CONFIDENCE]


def _add_colours(labels: Sequence[LabelTypeDef], appearance: Appearance) -> None:
    for instance in chain.from_iterable(label["Instances"] for label in labels):
        instance["DominantColors"] = appearance.colours_within(_box(instance))


def _box(instance: InstanceTypeDef) -> Box:
    box = instance["BoundingBox"]
    return Box(box["Left"], box["Top"], box["Width"], box["Height"])
