from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from local_cloud.recognition.boxes import Box, Detection
from local_cloud.recognition.vocabulary import Entry, entry_of

if TYPE_CHECKING:
    from mypy_boto3_rekognition.type_defs import InstanceTypeDef, LabelTypeDef

DEFAULT_MIN_CONFIDENCE = 55
MOST_LABELS = 1000


def name_labels(detections: Iterable[Detection]) -> list[LabelTypeDef]:
    """Rekognition's labels for what was seen, most confident first.

    A label is as sure as its best detection; its ancestors are labels of their own, at least as sure.
    """
    seen: defaultdict[str, list[Detection]] = defaultdict(list)
    confidence: defaultdict[str, float] = defaultdict(float)
    for detection in detections:
        seen[detection.label].append(detection)
        for name in (detection.label, *entry_of(detection.label).parents):
            confidence[name] = max(confidence[name], detection.confidence)
    ranked = sorted(confidence, key=lambda name: (-confidence[name], name))
    return [_label(entry_of(name), confidence[name], seen[name]) for name in ranked]


def select_labels(labels: Sequence[LabelTypeDef], request: Mapping[str, Any]) -> list[LabelTypeDef]:
    """Those that a DetectLabels request asks for: MinConfidence, Settings.GeneralLabels, MaxLabels."""
    least = request.get("MinConfidence", DEFAULT_MIN_CONFIDENCE)
    filters = request.get("Settings", {}).get("GeneralLabels", {})
    chosen = [label for label in labels if label["Confidence"] >= least and _passes(label, filters)]
    return chosen[: min(request.get("MaxLabels", MOST_LABELS), MOST_LABELS)]


def _label(entry: Entry, confidence: float, seen: Iterable[Detection]) -> LabelTypeDef:
    return {
        "Name": entry.name,
        "Confidence": round(confidence, 4),
        "Instances": [_instance(detection.box, detection.confidence) for detection in seen if detection.box],
        "Parents": [{"Name": name} for name in entry.parents],
        "Aliases": [{"Name": name} for name in entry.aliases],
        "Categories": [{"Name": entry.category}] if entry.category else [],
    }


def _instance(box: Box, confidence: float) -> InstanceTypeDef:
    return {
        "BoundingBox": {
            "Width": round(box.width, 6),
            "Height": round(box.height, 6),
            "Left": round(box.left, 6),
            "Top": round(box.top, 6),
        },
        "Confidence": round(confidence, 4),
    }


def _passes(label: LabelTypeDef, filters: Mapping[str, Sequence[str]]) -> bool:
    included = (filters.get("LabelInclusionFilters", ()), filters.get("LabelCategoryInclusionFilters", ()))
    excluded = (filters.get("LabelExclusionFilters", ()), filters.get("LabelCategoryExclusionFilters", ()))
    return (not any(included) or _named_in(label, *included)) and not _named_in(label, *excluded)


def _named_in(label: LabelTypeDef, names: Sequence[str], categories: Sequence[str]) -> bool:
    return label["Name"] in names or any(category["Name"] in categories for category in label["Categories"])
