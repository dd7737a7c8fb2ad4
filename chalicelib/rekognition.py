"""Adapter: Amazon Rekognition's detectors."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from botocore.exceptions import ClientError

from chalicelib.aws_errors import Codes, error_code, translated
from chalicelib.errors import ObjectUnavailable, PictureRefused, ServiceFailed, Throttled
from chalicelib.imaging import JPEG, PNG, Picture
from chalicelib.model import Box, Instance, Label, StoredObject

if TYPE_CHECKING:
    from mypy_boto3_rekognition import RekognitionClient
    from mypy_boto3_rekognition.type_defs import InstanceTypeDef, LabelTypeDef

# https://docs.aws.amazon.com/rekognition/latest/dg/limits.html
MAX_OBJECT_BYTES = 15 * 1024 * 1024
MIN_SIDE, MAX_SIDE = 80, 10_000

CODES: Codes = {
    "InternalServerError": ServiceFailed,
    "InvalidS3ObjectException": ObjectUnavailable,
    "ProvisionedThroughputExceededException": Throttled,
    "ThrottlingException": Throttled,
}
REFUSALS: Mapping[str, str] = {
    "ImageTooLargeException": "too_large",
    "InvalidImageFormatException": "unreadable",
    "InvalidParameterException": "rejected",
}


@dataclass(frozen=True)
class DetectedLabels:
    labels: tuple[Label, ...]
    model_version: str


class Rekognition:
    def __init__(self, client: "RekognitionClient") -> None:
        self._client = client

    def detect_labels(
        self, bucket: str, found: StoredObject, min_confidence: float, max_labels: int
    ) -> DetectedLabels:
        """What that very version of the object shows: confidences in percent, boxes in shares.

        Raises PictureRefused when Rekognition will never take the picture, ObjectUnavailable when it
        cannot read the object, and Throttled, ServiceFailed or AccessLost.
        """
        version = {"Version": found.version_id} if found.version_id else {}
        try:
            with translated(CODES):
                response = self._client.detect_labels(
                    Image={"S3Object": {"Bucket": bucket, "Name": found.key, **version}},  # type: ignore[typeddict-item]
                    Features=["GENERAL_LABELS"],
                    MinConfidence=min_confidence,
                    MaxLabels=max_labels,
                )
        except ClientError as error:
            reason = REFUSALS.get(error_code(error))
            if reason is None:
                raise
            raise PictureRefused(reason) from error
        return DetectedLabels(
            tuple(_label(each) for each in response["Labels"]), response["LabelModelVersion"]
        )


def refuse_unfit(found: StoredObject, picture: Picture) -> None:
    """Raises PictureRefused for what Rekognition would refuse, before a call is made."""
    if found.is_archived:
        raise PictureRefused("archived")
    if found.size == 0:
        raise PictureRefused("empty")
    if picture.content_type not in (JPEG, PNG):
        raise PictureRefused("unsupported_format")
    if found.size > MAX_OBJECT_BYTES:
        raise PictureRefused("too_large")
    _refuse_sides([side for side in (picture.width, picture.height) if side is not None])


def _refuse_sides(sides: list[int]) -> None:
    if any(side > MAX_SIDE for side in sides):
        raise PictureRefused("too_large")
    if any(side < MIN_SIDE for side in sides):
        raise PictureRefused("too_small")


def _label(label: "LabelTypeDef") -> Label:
    return Label(
        name=label["Name"],
        confidence=label["Confidence"],
        categories=tuple(category["Name"] for category in label.get("Categories", [])),
        parents=tuple(parent["Name"] for parent in label.get("Parents", [])),
        aliases=tuple(alias["Name"] for alias in label.get("Aliases", [])),
        instances=tuple(_instance(each) for each in label.get("Instances", []) if "BoundingBox" in each),
    )


def _instance(instance: "InstanceTypeDef") -> Instance:
    box = instance["BoundingBox"]
    return Instance(instance["Confidence"], Box(box["Left"], box["Top"], box["Width"], box["Height"]))
