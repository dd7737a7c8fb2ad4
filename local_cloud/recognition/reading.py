"""DetectText's answer: lines and words with their places, as far as the request lets them through."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from local_cloud.recognition.boxes import Corners
from local_cloud.recognition.regions import Regions
from local_cloud.recognition.text import TextLine, Writing

if TYPE_CHECKING:
    from mypy_boto3_rekognition.type_defs import GeometryTypeDef, TextDetectionTypeDef

DEFAULT_MIN_CONFIDENCE = 80
MOST_WORDS = 100
# Rekognition reads what is turned by up to 90 degrees; so much farther still counts as 90, as a cosine.
SLACK = 0.1


def describe_text(lines: Iterable[TextLine], request: Mapping[str, Any]) -> list[TextDetectionTypeDef]:
    """The first hundred words that pass the filters, and before them the lines that they stand in, whole.

    Raises InvalidRequest for a region that is none.
    """
    filters = request.get("Filters", {})
    regions = Regions(filters.get("RegionsOfInterest", ()))
    chosen = [
        (line, word)
        for line in lines
        if _is_within_90_degrees(line.corners)
        for word in line.words
        if _passes(word, filters.get("WordFilter", {})) and regions.hold(word.corners)
    ][:MOST_WORDS]
    kept = list(dict.fromkeys(line for line, _ in chosen))
    detections = [_describe(line, "LINE", number) for number, line in enumerate(kept)]
    for number, (line, word) in enumerate(chosen, len(kept)):
        detections.append({**_describe(word, "WORD", number), "ParentId": kept.index(line)})
    return detections


def _passes(word: Writing, wanted: Mapping[str, float]) -> bool:
    return (
        word.confidence >= wanted.get("MinConfidence", DEFAULT_MIN_CONFIDENCE)
        and word.box.height >= wanted.get("MinBoundingBoxHeight", 0)
        and word.box.width >= wanted.get("MinBoundingBoxWidth", 0)
    )


def _is_within_90_degrees(corners: Corners) -> bool:
    across, down = corners[1] - corners[0]
    return bool(across >= -SLACK * abs(down))


def _describe(writing: Writing, kind: Any, number: int) -> TextDetectionTypeDef:
    return {
        "DetectedText": writing.text,
        "Type": kind,
        "Id": number,
        "Confidence": round(writing.confidence, 4),
        "Geometry": _geometry(writing),
    }


def _geometry(writing: Writing) -> GeometryTypeDef:
    box = writing.box
    return {
        "BoundingBox": {
            "Width": round(box.width, 6),
            "Height": round(box.height, 6),
            "Left": round(box.left, 6),
            "Top": round(box.top, 6),
        },
        "Polygon": [{"X": round(x, 6), "Y": round(y, 6)} for x, y in writing.corners.tolist()],
    }
