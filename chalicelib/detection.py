"""What is in one version of a picture: which bytes Rekognition gets, and all its detectors at once."""

from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

from chalicelib.bucket import Bucket
from chalicelib.claim import Claim, Partial
from chalicelib.contents import Contents
from chalicelib.conversion import Converter
from chalicelib.daily_limit import DailyLimit
from chalicelib.errors import (
    AccessLost,
    LabellerError,
    ObjectUnavailable,
    PictureRefused,
    Retryable,
    Throttled,
)
from chalicelib.imaging import inspect, is_readable_as_it_is, refusal
from chalicelib.metrics import Metrics
from chalicelib.model import Findings, Recipe, StoredObject, is_flagged
from chalicelib.rekognition import Call, Rekognition, by_reference, calls_for
from chalicelib.reuse import Reuse
from chalicelib.stopwatch import Stopwatch

if TYPE_CHECKING:
    from mypy_boto3_rekognition.type_defs import ImageTypeDef

MAX_CALLS = 3  # at once: labels with properties, moderation, text

Wait = Callable[[], bool]
"""Lets a little time pass, or says at once that there is none left to ask again."""


def no_time() -> bool:
    return False


@dataclass(frozen=True)
class Detected:
    """All that is known of a picture by now, and why that is not all."""

    known: Partial
    failure: BaseException | None = None

    @property
    def findings(self) -> Findings:
        return self.known.findings


Ask = Callable[[Partial, Contents], Detected]


@dataclass(frozen=True)
class Detection:
    bucket: Bucket
    rekognition: Rekognition
    converter: Converter
    metrics: Metrics
    max_bytes: int
    max_pixels: int
    flagging: Mapping[str, float]  # the least confidence for each name of the taxonomy
    reuse: Reuse | None
    limit: DailyLimit | None

    @property
    def recipe(self) -> Recipe:
        return self.rekognition.recipe

    def detect(self, found: StoredObject, before: Claim, watch: Stopwatch, wait: Wait = no_time) -> Detected:
        """Asks every detector that has not answered yet, and keeps what those say that answer.

        One that is throttled is asked again after each wait. A failure is PictureRefused, Deferred, what
        Rekognition, S3 and their clients raise, or a bug.
        """
        known = before.known(found, self.recipe.fingerprint)
        ask = partial(self._ask, watch=watch, wait=wait)
        try:
            detected = self._complete(known, found, before.is_wanted_anew, ask)
        except Exception as failure:  # noqa: BLE001 - the caller's, with what is known all the same
            return Detected(known, failure)
        return Detected(self._judged(detected.known), detected.failure)

    def _complete(self, known: Partial, found: StoredObject, anew: bool, ask: Ask) -> Detected:
        if self.recipe.detectors <= known.findings.told:
            return Detected(known)
        self._refuse_unfit(found)
        with Contents(self.bucket, found) as contents:
            if self.reuse is None:
                return ask(known, contents)
            return self._reuse_or_ask(self.reuse, known, contents, anew, ask)

    def _refuse_unfit(self, found: StoredObject) -> None:
        if found.is_archived:
            raise PictureRefused("archived")
        if reason := refusal(inspect(found.head), found.size, self.max_bytes, self.max_pixels):
            raise PictureRefused(reason)

    def _reuse_or_ask(
        self, reuse: Reuse, known: Partial, contents: Contents, anew: bool, ask: Ask
    ) -> Detected:
        result = None if anew else reuse.find(contents, self.recipe)
        if result is None:
            detected = ask(known, contents)
            reuse.keep(contents, self.recipe, detected.findings)
            return detected
        for detector in self.recipe.detectors - known.findings.told:
            self.metrics.reuse_hit(detector)
        lender = result.lender_to(contents.found)
        return Detected(replace(known, findings=result.findings, reused_from=lender))

    def _ask(self, known: Partial, contents: Contents, watch: Stopwatch, wait: Wait) -> Detected:
        calls = calls_for(self.recipe.detectors - known.findings.told)
        image = self._image(contents)
        known = self._counted(known)
        with ThreadPoolExecutor(MAX_CALLS) as pool:
            answers = {call: pool.submit(self._call, call, image, watch, wait) for call in calls}
        findings, failure = self._gathered(known.findings, answers, watch)
        if isinstance(failure, ObjectUnavailable):
            failure = self._explained(failure, contents.found)
        return Detected(replace(known, findings=findings), failure)

    def _counted(self, known: Partial) -> Partial:
        if self.limit is None or known.is_counted:
            return known
        self.limit.count()
        return replace(known, is_counted=True)

    def _image(self, contents: Contents) -> "ImageTypeDef":
        found = contents.found
        if is_readable_as_it_is(inspect(found.head), found.size):
            return by_reference(self.bucket.name, found)
        return {"Bytes": self.converter.to_jpeg(contents.file)}

    def _call(self, call: Call, image: "ImageTypeDef", watch: Stopwatch, wait: Wait) -> Findings:
        while True:
            try:
                with watch.timing(*call):
                    return self.rekognition.detect(call, image)
            except Throttled:
                if not wait():
                    raise

    def _gathered(
        self, findings: Findings, answers: Mapping[Call, Future[Findings]], watch: Stopwatch
    ) -> tuple[Findings, BaseException | None]:
        failures = []
        for call, answer in answers.items():
            failure = answer.exception()
            if failure:
                failures.append(failure)
                continue
            findings |= answer.result()
            for detector in call:
                self.metrics.detector_call(detector, watch.detectors[detector])
        return findings, max(failures, key=_weight, default=None)

    def _explained(self, failure: ObjectUnavailable, found: StoredObject) -> BaseException:
        """Rekognition says the same of an object that is gone and of one that it may not read."""
        try:
            is_there = self.bucket.version(found.key, found.version_id, found.etag) is not None
        except Retryable as unknown:
            return unknown
        return AccessLost(f"it is there: {failure}") if is_there else failure

    def _judged(self, known: Partial) -> Partial:
        moderation = known.findings.moderation
        if moderation is None:
            return known
        judged = replace(moderation, flagged=is_flagged(moderation.labels, self.flagging))
        return replace(known, findings=replace(known.findings, moderation=judged))


def _weight(failure: BaseException) -> tuple[bool, ...]:
    """Which of several failures counts: a bug, else what is final, else what explains the others."""
    return (
        not isinstance(failure, LabellerError),
        isinstance(failure, PictureRefused),
        isinstance(failure, ObjectUnavailable),
    )
