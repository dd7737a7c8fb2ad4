"""Rekognition's protocol over the endpoint, seeing what is noted in the picture, and counting its calls."""

import base64
import json
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import boto3
from botocore.exceptions import ClientError
from botocore.loaders import Loader
from botocore.model import ServiceModel
from botocore.validate import ParamValidator

from chalicelib.taxonomy import PARENTS
from local_cloud.aws_json import Reply, refusal, reply
from tests.pictures import note_in

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

MODEL = ServiceModel(Loader().load_service_model("rekognition", "service-2"), "rekognition")
LABELS, MODERATION, TEXT = "DetectLabels", "DetectModerationLabels", "DetectText"
BOX = {"Left": 0.1, "Top": 0.2, "Width": 0.5, "Height": 0.25}

Noted = list[dict[str, Any]]


@dataclass
class ScriptedRekognition:
    """Answers an operation's `failures` first, one for each call, then its `answers`, then what is noted.

    A name of the moderation taxonomy is seen as such, and every name can be read. Calls are counted by
    operation, key and version; the key of bytes is None.
    """

    calls: Counter[tuple[str, str | None, str | None]] = field(default_factory=Counter)
    requests: list[tuple[str, Any]] = field(default_factory=list)
    failures: dict[str, list[tuple[int, str]]] = field(default_factory=lambda: defaultdict(list))
    answers: dict[str, Any] = field(default_factory=dict)
    before: Callable[[str], object] = str
    session: boto3.Session = field(default_factory=boto3.Session)

    def reset(self) -> None:
        self.calls.clear()
        self.requests.clear()
        self.failures.clear()
        self.answers.clear()
        self.before = str

    @property
    def asked(self) -> dict[str, int]:
        """How often each operation was called."""
        total = Counter[str]()
        for (operation, _, _), times in self.calls.items():
            total[operation] += times
        return dict(total)

    @property
    def sent(self) -> list[bytes]:
        """The pictures that came as bytes."""
        return [request["Image"]["Bytes"] for _, request in self.requests if "Bytes" in request["Image"]]

    def answer(self, target: str, body: bytes) -> Reply:
        operation = target.removeprefix("RekognitionService.")
        request = _read(body)
        _validate(request, MODEL.operation_model(operation).input_shape)
        place = request["Image"].get("S3Object", {})
        self.calls[operation, place.get("Name"), place.get("Version")] += 1
        self.requests.append((operation, request))
        self.before(operation)
        if self.failures[operation]:
            return _failure(*self.failures[operation].pop(0))
        try:
            answer = self.answers.get(operation) or SEEING[operation](self._noted(request), request)
        except ClientError:
            return _failure(400, "InvalidS3ObjectException")
        _validate(answer, MODEL.operation_model(operation).output_shape)
        return reply(200, answer)

    @cached_property
    def _s3(self) -> "S3Client":
        return self.session.client("s3")

    def _noted(self, request: Any) -> Noted:
        if "Bytes" in request["Image"]:
            return note_in(request["Image"]["Bytes"])
        place = request["Image"]["S3Object"]
        version = {"VersionId": place["Version"]} if "Version" in place else {}
        stored = self._s3.get_object(Bucket=place["Bucket"], Key=place["Name"], **version)
        return note_in(stored["Body"].read())


def _labels(noted: Noted, request: Any) -> Any:
    answer: dict[str, Any] = {"LabelModelVersion": "3.0"}
    if "IMAGE_PROPERTIES" in request["Features"]:
        answer["ImageProperties"] = {"Quality": {"Sharpness": 50.5, "Brightness": 60.5, "Contrast": 70.5}}
    if "GENERAL_LABELS" in request["Features"]:
        seen = [label for label in noted if label["Confidence"] >= request["MinConfidence"]]
        answer["Labels"] = seen[: request["MaxLabels"]]
    return answer


def _moderation_labels(noted: Noted, request: Any) -> Any:
    seen = [
        {"Name": label["Name"], "Confidence": label["Confidence"], "ParentName": PARENTS[label["Name"]]}
        for label in noted
        if label["Name"] in PARENTS and label["Confidence"] >= request["MinConfidence"]
    ]
    return {"ModerationLabels": seen, "ModerationModelVersion": "7.0"}


def _text(noted: Noted, request: Any) -> Any:
    least = request["Filters"]["WordFilter"]["MinConfidence"]
    seen = [label for label in noted if label["Confidence"] >= least]
    lines = [_detection(number, "LINE", label) for number, label in enumerate(seen)]
    words = [
        {**_detection(len(lines) + number, "WORD", label), "ParentId": number}
        for number, label in enumerate(seen)
    ]
    return {"TextDetections": [*lines, *words], "TextModelVersion": "3.0"}


def _detection(number: int, kind: str, label: Any) -> Any:
    return {
        "Id": number,
        "Type": kind,
        "DetectedText": label["Name"],
        "Confidence": label["Confidence"],
        "Geometry": {"BoundingBox": BOX},
    }


SEEING: Mapping[str, Callable[[Noted, Any], Any]] = {
    LABELS: _labels,
    MODERATION: _moderation_labels,
    TEXT: _text,
}


def _read(body: bytes) -> Any:
    request = json.loads(body)
    if "Bytes" in request["Image"]:
        request["Image"]["Bytes"] = base64.b64decode(request["Image"]["Bytes"])
    return request


def _validate(value: Any, shape: Any) -> None:
    report = ParamValidator().validate(value, shape)
    assert not report.has_errors(), report.generate_report()


def _failure(status: int, code: str) -> Reply:
    return refusal(status, code, f"scripted {code}")
