"""What is in one version of a picture: which bytes Rekognition gets, and all its detectors at once."""

from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from tempfile import TemporaryFile
from typing import TYPE_CHECKING

from chalicelib.bucket import Bucket
from chalicelib.conversion import Converter
from chalicelib.errors import LabellerError, ObjectUnavailable, PictureRefused
from chalicelib.imaging import inspect, is_readable_as_it_is, refusal
from chalicelib.metrics import Metrics
from chalicelib.model import Findings, Recipe, StoredObject, is_flagged
from chalicelib.rekognition import Call, Rekognition, by_reference, calls_for
from chalicelib.stopwatch import Stopwatch

if TYPE_CHECKING:
    from mypy_boto3_rekognition.type_defs import ImageTypeDef

MAX_CALLS = 3  # at once: labels with properties, moderation, text


@dataclass(frozen=True)
class Detected:
    """All that is known of a picture by now, and why that is not all."""

    findings: Findings
    failure: BaseException | None = None


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
        """Asks every detector that has not answered yet, and keeps what those say that answer.

        A failure is PictureRefused, what Rekognition, S3 and their clients raise, or a bug.
        """
        try:
            detected = self._ask(found, known, watch)
        except Exception as failure:  # noqa: BLE001 - the caller's, with what is known all the same
            return Detected(known, failure)
        return replace(detected, findings=self._judged(detected.findings))

    def _ask(self, found: StoredObject, known: Findings, watch: Stopwatch) -> Detected:
        calls = calls_for(self.recipe.detectors - known.told)
        if not calls:
            return Detected(known)
        image = self._image(found)
        with ThreadPoolExecutor(MAX_CALLS) as pool:
            answers = {call: pool.submit(self._call, call, image, watch) for call in calls}
        return self._gathered(known, answers, watch)

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
        with watch.timing(*call):
            return self.rekognition.detect(call, image)

    def _gathered(
        self, findings: Findings, answers: Mapping[Call, Future[Findings]], watch: Stopwatch
    ) -> Detected:
        failures = []
        for call, answer in answers.items():
            failure = answer.exception()
            if failure:
                failures.append(failure)
                continue
            findings |= answer.result()
            for detector in call:
                self.metrics.detector_call(detector, watch.detectors[detector])
        return Detected(findings, max(failures, key=_weight, default=None))

    def _judged(self, findings: Findings) -> Findings:
        if findings.moderation is None:
            return findings
        flagged = is_flagged(findings.moderation.labels, self.flagging)
        return replace(findings, moderation=replace(findings.moderation, flagged=flagged))


def _weight(failure: BaseException) -> tuple[bool, ...]:
    """Which of several failures counts: a bug, else what is final, else what explains the others."""
    return (
        not isinstance(failure, LabellerError),
        isinstance(failure, PictureRefused),
        isinstance(failure, ObjectUnavailable),
    )
