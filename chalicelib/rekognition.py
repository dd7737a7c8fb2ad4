"""Adapter: Amazon Rekognition's detectors."""

from collections.abc import Collection, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from chalicelib.aws_errors import Codes, error_code, translated
from chalicelib.errors import ObjectUnavailable, PictureRefused, ServiceFailed, Throttled
from chalicelib.model import (
    Box,
    Color,
    Detector,
    Findings,
    Instance,
    Label,
    Line,
    Moderation,
    ModerationLabel,
    Properties,
    Recipe,
    Region,
    StoredObject,
    Word,
)
from chalicelib.room import storable_labels, storable_moderation, storable_text

if TYPE_CHECKING:
    from mypy_boto3_rekognition import RekognitionClient
    from mypy_boto3_rekognition.type_defs import (
        BoundingBoxTypeDef,
        DetectLabelsImagePropertiesTypeDef,
        DominantColorTypeDef,
        ImageTypeDef,
        InstanceTypeDef,
        LabelTypeDef,
        ModerationLabelTypeDef,
        TextDetectionTypeDef,
    )

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
FEATURES = {Detector.LABELS: "GENERAL_LABELS", Detector.PROPERTIES: "IMAGE_PROPERTIES"}

Call = tuple[Detector, ...]
"""The detectors that one request asks for."""


def by_reference(bucket: str, found: StoredObject) -> "ImageTypeDef":
    """That very version of the object, which Rekognition fetches by itself."""
    place = {"Bucket": bucket, "Name": found.key}
    return {"S3Object": {**place, "Version": found.version_id} if found.version_id else place}  # type: ignore[typeddict-item]


def calls_for(detectors: Collection[Detector]) -> list[Call]:
    """The requests that ask for all of them: labels and properties share one."""
    shared = tuple(detector for detector in FEATURES if detector in detectors)
    alone = [(detector,) for detector in Detector if detector in detectors and detector not in FEATURES]
    return [shared, *alone] if shared else [*alone]


class Rekognition:
    def __init__(self, client: "RekognitionClient", recipe: Recipe) -> None:
        self._client = client
        self.recipe = recipe

    def detect(self, call: Call, image: "ImageTypeDef") -> Findings:
        """What the picture shows: confidences in percent, boxes in shares of its sides.

        Raises PictureRefused when Rekognition will never take the picture, ObjectUnavailable when it
        cannot read the object, and Throttled, ServiceFailed or AccessLost.
        """
        try:
            with translated(CODES):
                match call:
                    case (Detector.MODERATION,):
                        return self._detect_moderation(image)
                    case (Detector.TEXT,):
                        return self._detect_text(image)
                return self._detect_labels(call, image)
        except ClientError as error:
            reason = REFUSALS.get(error_code(error))
            if reason is None:
                raise
            raise PictureRefused(reason) from error

    def _detect_labels(self, call: Call, image: "ImageTypeDef") -> Findings:
        response = self._client.detect_labels(Image=image, **_labels_request(call, self.recipe))
        labels = map(_label, response.get("Labels", []))
        return Findings(
            labels=storable_labels(labels, self.recipe.max_labels) if Detector.LABELS in call else None,
            properties=_properties(response["ImageProperties"]) if Detector.PROPERTIES in call else None,
            model_versions=_version("labels", response.get("LabelModelVersion")),
        )

    def _detect_moderation(self, image: "ImageTypeDef") -> Findings:
        response = self._client.detect_moderation_labels(
            Image=image, MinConfidence=self.recipe.min_moderation_confidence
        )
        moderation = Moderation(
            labels=tuple(map(_moderation_label, response["ModerationLabels"])),
            content_types=tuple(each["Name"] for each in response.get("ContentTypes", [])),
        )
        return Findings(
            moderation=storable_moderation(moderation),
            model_versions=_version("moderation", response.get("ModerationModelVersion")),
        )

    def _detect_text(self, image: "ImageTypeDef") -> Findings:
        response = self._client.detect_text(
            Image=image, Filters={"WordFilter": {"MinConfidence": self.recipe.min_text_confidence}}
        )
        return Findings(
            text=storable_text(_lines(response["TextDetections"])),
            model_versions=_version("text", response.get("TextModelVersion")),
        )


def _version(name: str, version: str | None) -> dict[str, str]:
    return {name: version} if version else {}


def _labels_request(call: Call, recipe: Recipe) -> dict[str, Any]:
    request: dict[str, Any] = {"Features": [FEATURES[detector] for detector in call]}
    settings: dict[str, Any] = {}
    if Detector.LABELS in call:
        request |= {"MinConfidence": recipe.min_confidence, "MaxLabels": recipe.max_labels}
        if filters := _filters(recipe):
            settings["GeneralLabels"] = filters
    if Detector.PROPERTIES in call:
        settings["ImageProperties"] = {"MaxDominantColors": recipe.max_colors}
    return {**request, "Settings": settings} if settings else request


def _filters(recipe: Recipe) -> dict[str, list[str]]:
    filters = {
        "LabelInclusionFilters": recipe.include_labels,
        "LabelExclusionFilters": recipe.exclude_labels,
        "LabelCategoryInclusionFilters": recipe.include_categories,
        "LabelCategoryExclusionFilters": recipe.exclude_categories,
    }
    return {name: list(values) for name, values in filters.items() if values}


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
    return Instance(instance["Confidence"], _box(instance["BoundingBox"]))


def _moderation_label(label: "ModerationLabelTypeDef") -> ModerationLabel:
    parent = label.get("ParentName") or None
    return ModerationLabel(label["Name"], label["Confidence"], parent, label.get("TaxonomyLevel", 1))


def _lines(detections: list["TextDetectionTypeDef"]) -> Iterator[Line]:
    for line in detections:
        if line["Type"] == "LINE":
            words = [each for each in detections if each.get("ParentId") == line["Id"]]
            yield Line(
                line["DetectedText"],
                line["Confidence"],
                _text_box(line),
                tuple(_word(each) for each in words),
            )


def _word(word: "TextDetectionTypeDef") -> Word:
    return Word(word["DetectedText"], word["Confidence"], _text_box(word))


def _text_box(text: "TextDetectionTypeDef") -> Box:
    return _box(text["Geometry"]["BoundingBox"])


def _properties(properties: "DetectLabelsImagePropertiesTypeDef") -> Properties:
    return Properties(
        **vars(_region(properties)),
        foreground=_region(properties["Foreground"]) if "Foreground" in properties else None,
        background=_region(properties["Background"]) if "Background" in properties else None,
    )


def _region(region: Any) -> Region:
    quality = region.get("Quality", {})
    return Region(
        dominant_colors=tuple(_color(each) for each in region.get("DominantColors", [])),
        sharpness=quality.get("Sharpness"),
        brightness=quality.get("Brightness"),
        contrast=quality.get("Contrast"),
    )


def _color(color: "DominantColorTypeDef") -> Color:
    return Color(color["HexCode"], color["CSSColor"], color["SimplifiedColor"], color["PixelPercent"])


def _box(box: "BoundingBoxTypeDef") -> Box:
    return Box(box["Left"], box["Top"], box["Width"], box["Height"])
