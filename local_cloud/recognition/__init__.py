"""What looks at a picture for the local Rekognition: this machine's own detectors, or the real service."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from local_cloud.recognition.errors import ConfigurationError
from local_cloud.recognition.picture import Picture

if TYPE_CHECKING:
    from local_cloud.recognition.classifier import Classifier

__all__ = ["ConfigurationError", "Recogniser", "local_recogniser", "recogniser_from"]


class Recogniser(Protocol):
    """May be called from several threads at once."""

    @property
    def missing(self) -> list[str]:
        """What is not recognised on this machine and why, a plain sentence each."""

    def recognise(self, operation: str, picture: Picture, request: Mapping[str, Any], /) -> dict[str, Any]:
        """The answer to "DetectLabels" and its like; request is its parameters without Image."""

    def warm_up(self) -> None:
        """Load now what the first picture would wait for."""

    def close(self) -> None:
        """End the processes it started."""


def recogniser_from(environment: Mapping[str, str]) -> Recogniser:
    """As the user set it: RECOGNISER (local or aws), RECOGNISER_PROFILE; for local LOCAL_MODEL,
    LOCAL_MODEL_CLASSES, LOCAL_MODERATION_MARK.

    Raises ConfigurationError.
    """
    kind = environment.get("RECOGNISER") or "local"
    if kind == "aws":
        return _aws_recogniser(environment.get("RECOGNISER_PROFILE") or "default")
    if kind != "local":
        raise ConfigurationError(f"RECOGNISER is local or aws, not {kind!r}.")
    return local_recogniser(
        environment.get("LOCAL_MODEL"),
        environment.get("LOCAL_MODEL_CLASSES"),
        environment.get("LOCAL_MODERATION_MARK"),
    )


def local_recogniser(
    model: str | Path | None = None, classes: str | Path | None = None, moderation_mark: str | None = None
) -> Recogniser:
    """All detectors of this machine and the user's ONNX classifier, if any. Raises ConfigurationError."""
    from local_cloud.recognition.codes import CodeDetector
    from local_cloud.recognition.faces import FaceDetector
    from local_cloud.recognition.local import Detector, LocalRecogniser
    from local_cloud.recognition.moderation import USUAL_WORD
    from local_cloud.recognition.objects import ObjectDetector
    from local_cloud.recognition.text import TextDetector

    detectors: list[Detector] = [FaceDetector(), ObjectDetector(), CodeDetector()]
    if model or classes:
        detectors.append(_classifier(model, classes))
    return LocalRecogniser(detectors, TextDetector(), moderation_mark or USUAL_WORD)


def _aws_recogniser(profile: str) -> Recogniser:
    from local_cloud.recognition.aws import AwsRecogniser

    recogniser = AwsRecogniser(profile)
    for sentence in recogniser.missing:
        raise ConfigurationError(sentence)
    return recogniser


def _classifier(model: str | Path | None, classes: str | Path | None) -> Classifier:
    from local_cloud.recognition.classifier import Classifier

    if not (model and classes):
        raise ConfigurationError("LOCAL_MODEL and LOCAL_MODEL_CLASSES belong together: set both or neither.")
    return Classifier(Path(model), Path(classes))
