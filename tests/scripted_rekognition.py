"""Rekognition's protocol over the endpoint, seeing what is noted in the picture, and counting its calls."""

import json
import uuid
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import boto3
from botocore.exceptions import ClientError
from botocore.loaders import Loader
from botocore.model import ServiceModel
from botocore.validate import ParamValidator

from tests.pictures import note_in

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

MODEL = ServiceModel(Loader().load_service_model("rekognition", "service-2"), "rekognition")


@dataclass(frozen=True)
class Reply:
    status: int
    headers: Mapping[str, str]
    body: bytes


@dataclass
class ScriptedRekognition:
    """Answers `failures` first, one for each call, then what the object's version carries."""

    calls: Counter[tuple[str, str | None]] = field(default_factory=Counter)
    failures: list[tuple[int, str]] = field(default_factory=list)

    def answer(self, target: str, body: bytes) -> Reply:
        operation = MODEL.operation_model(target.removeprefix("RekognitionService."))
        request = json.loads(body)
        _validate(request, operation.input_shape)
        place = request["Image"]["S3Object"]
        self.calls[place["Name"], place.get("Version")] += 1
        if self.failures:
            return _error(*self.failures.pop(0))
        return self._labels(request, operation.output_shape)

    @cached_property
    def _s3(self) -> "S3Client":
        return boto3.client("s3")

    def _labels(self, request: Any, shape: Any) -> Reply:
        place = request["Image"]["S3Object"]
        version = {"VersionId": place["Version"]} if "Version" in place else {}
        try:
            stored = self._s3.get_object(Bucket=place["Bucket"], Key=place["Name"], **version)
        except ClientError:
            return _error(400, "InvalidS3ObjectException")
        noted = note_in(stored["Body"].read())
        seen = [label for label in noted if label["Confidence"] >= request["MinConfidence"]]
        answer = {"Labels": seen[: request["MaxLabels"]], "LabelModelVersion": "3.0"}
        _validate(answer, shape)
        return _reply(200, answer)


def _validate(value: Any, shape: Any) -> None:
    report = ParamValidator().validate(value, shape)
    assert not report.has_errors(), report.generate_report()


def _error(status: int, code: str) -> Reply:
    return _reply(status, {"__type": code, "Message": f"scripted {code}"})


def _reply(status: int, body: Any) -> Reply:
    headers = {"Content-Type": "application/x-amz-json-1.1", "x-amzn-RequestId": str(uuid.uuid4())}
    return Reply(status, headers, json.dumps(body).encode())
