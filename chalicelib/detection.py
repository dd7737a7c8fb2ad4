"""What is in one version of a picture: which bytes Rekognition gets, and all its detectors at once."""

from collections.abc import Collection, Iterable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import copy_context
from dataclasses import dataclass, replace
from tempfile import TemporaryFile
from typing import TYPE_CHECKING

from chalicelib.bucket import Bucket
from chalicelib.conversion import Converter
from chalicelib.errors import ObjectUnavailable, PictureRefused, Retryable
from chalicelib.imaging import inspect, is_readable_as_it_is, refusal
from chalicelib.metrics import Metrics
from chalicelib.model import Detector, Findings, Recipe, StoredObject, is_flagged
from chalicelib.rekognition import Call, Rekognition, by_reference, calls_for
from chalicelib.stopwatch import Stopwatch

if TYPE_CHECKING:
    from mypy_boto3_rekognition.type_defs import ImageTypeDef

MAX_CALLS = 3  # at once: labels with properties, moderation, text


@dataclass(frozen=True)
class Detected:
    """All that is known by now, and why there will be no more, or what kept it from being all."""

    findings: Findings
    refused: str | None = None
    failure: Retryable | None = None


@dataclass(frozen=True)
class Detection:
    bucket: Bucket
    rekognition: Rekognition
    converter: Converter
    metrics: Metrics
    max_bytes: int
    max_pixels: int
    flagging: Mapping[str, float]  # the least confidence for each name of the taxonomy

    @property
    def recipe(self) -> Recipe:
        return self.rekognition.recipe

    def detect(self, found: StoredObject, known: Findings, watch: Stopwatch) -> Detected:
        """Asks every detector that has not answered yet."""
        try:
            detected = self._ask(found, self.recipe.detectors - known.told, watch)
        except PictureRefused as refused:
            return Detected(known, refused=refused.reason)
        return replace(detected, findings=self._judged(known | detected.findings))

    def _ask(self, found: StoredObject, missing: Collection[Detector], watch: Stopwatch) -> Detected:
        image = self._image(found)
        with ThreadPoolExecutor(MAX_CALLS) as pool:
            answers = [
                # each in a context of its own, in which log lines carry the request id
                pool.submit(copy_context().run, self._call, call, image, watch)
                for call in calls_for(missing)
            ]
        return _gathered(answers)

    def _image(self, found: StoredObject) -> "ImageTypeDef":
        if found.is_archived:
            raise PictureRefused("archived")
        picture = inspect(found.head)
        if reason := refusal(picture, found.size, self.max_bytes, self.max_pixels):
            raise PictureRefused(reason)
        if is_readable_as_it_is(picture, found.size):
            return by_reference(self.bucket.name, found)
        with TemporaryFile() as file:
            self.bucket.download(found, file)
            return {"Bytes": self.converter.to_jpeg(file)}

    def _call(self, call: Call, image: "ImageTypeDef", watch: Stopwatch) -> Findings:
        name = "+".join(call)
        with watch.timing(name):
            findings = self.rekognition.detect(call, image)
        for detector in call:
            self.metrics.detector_call(detector, watch.detectors[name])
        return findings

    def _judged(self, findings: Findings) -> Findings:
        if findings.moderation is None:
            return findings
        flagged = is_flagged(findings.moderation.labels, self.flagging)
        return replace(findings, moderation=replace(findings.moderation, flagged=flagged))


def _gathered(answers: Iterable[Future[Findings]]) -> Detected:
    findings = Findings()
    failures: list[Retryable] = []
    for answer in answers:
        try:
            findings |= answer.result()
        except Retryable as failure:
            failures.append(failure)
    # One of an object that is not there any more explains the others.
    failures.sort(key=lambda failure: not isinstance(failure, ObjectUnavailable))
    return Detected(findings, failure=failures[0] if failures else None)
