from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from itertools import combinations
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError, ConnectTimeoutError, EndpointConnectionError, ReadTimeoutError

from chalicelib.errors import (
    AccessLost,
    ObjectUnavailable,
    PictureRefused,
    Retryable,
    ServiceFailed,
    Throttled,
)
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
from chalicelib.rekognition import Call, Rekognition, by_reference, calls_for
from chalicelib.room import MAX_BOXES
from tests import faults
from tests.scripted_rekognition import ScriptedRekognition

URL = "https://rekognition.example"
LABELS, MODERATION, TEXT, PROPERTIES = Detector

CALLS: list[Call] = [(LABELS,), (PROPERTIES,), (LABELS, PROPERTIES), (MODERATION,), (TEXT,)]
EVERY_CALL = pytest.mark.parametrize("call", CALLS, ids="+".join)
OPERATIONS = {
    LABELS: "DetectLabels",
    PROPERTIES: "DetectLabels",
    MODERATION: "DetectModerationLabels",
    TEXT: "DetectText",
}
IMAGE: Any = {"Bytes": b"picture"}
BOX = {"Left": 0.1, "Top": 0.2, "Width": 0.5, "Height": 0.4}
WHOLE = {"Left": 0.0, "Top": 0.0, "Width": 1.0, "Height": 1.0}
BLANK: dict[str, Any] = {
    "DetectLabels": {"Labels": [], "ImageProperties": {}, "LabelModelVersion": "3.0"},
    "DetectModerationLabels": {"ModerationLabels": [], "ModerationModelVersion": "7.0"},
    "DetectText": {"TextDetections": [], "TextModelVersion": "3.0"},
}

Detect = Callable[..., Findings]


@pytest.fixture
def client(endpoint: object) -> Any:
    return boto3.client("rekognition", config=Config(retries={"total_max_attempts": 1}))


@pytest.fixture
def detect(client: Any, rekognition: ScriptedRekognition) -> Detect:
    def detect(call: Call, answer: Any, recipe: Recipe | None = None) -> Findings:
        """What the app makes of this answer of Rekognition's."""
        rekognition.answers[OPERATIONS[call[0]]] = answer
        return Rekognition(client, recipe or Recipe()).detect(call, IMAGE)

    return detect


def event_of(call: Call) -> str:
    return f"rekognition.{OPERATIONS[call[0]]}"


def stored(version_id: str | None) -> StoredObject:
    return StoredObject("a car.png", version_id, "etag", 1, None, datetime(2026, 1, 2, tzinfo=UTC), {}, b"")


def detection(number: int, kind: str, text: str, **more: Any) -> Any:
    where = {"BoundingBox": BOX, "Polygon": [{"X": 0.1, "Y": 0.2}]}
    return {"Id": number, "Type": kind, "DetectedText": text, "Confidence": 90.5, "Geometry": where, **more}


@pytest.mark.parametrize(
    ("version_id", "place"),
    [
        ("v1", {"Bucket": "pictures", "Name": "a car.png", "Version": "v1"}),
        (None, {"Bucket": "pictures", "Name": "a car.png"}),
    ],
    ids=["that version", "where there are none"],
)
def test_an_object_is_named_to_rekognition(version_id: str | None, place: dict[str, str]) -> None:
    assert by_reference("pictures", stored(version_id)) == {"S3Object": place}


@pytest.mark.parametrize(
    ("detectors", "calls"),
    [
        pytest.param((), [], id="none"),
        pytest.param((LABELS,), [(LABELS,)], id="labels"),
        pytest.param((PROPERTIES,), [(PROPERTIES,)], id="properties"),
        pytest.param((TEXT, MODERATION), [(MODERATION,), (TEXT,)], id="two"),
        pytest.param(Detector, [(LABELS, PROPERTIES), (MODERATION,), (TEXT,)], id="all"),
    ],
)
def test_labels_and_properties_share_a_request(detectors: Any, calls: list[Call]) -> None:
    assert calls_for(frozenset(detectors)) == calls


def test_every_choice_of_detectors_is_asked_for_once() -> None:
    choices = [set(choice) for size in range(5) for choice in combinations(Detector, size)]

    asked = [[detector for call in calls_for(choice) for detector in call] for choice in choices]

    assert [sorted(each) for each in asked] == [sorted(choice) for choice in choices]


RECIPE = Recipe(
    min_confidence=61.5,
    max_labels=7,
    min_moderation_confidence=62.5,
    min_text_confidence=63.5,
    max_colors=3,
)
FILTERED = replace(
    RECIPE,
    include_labels=("Dog", "Cat"),
    exclude_labels=("Pug",),
    include_categories=("Animals and Pets",),
    exclude_categories=("Home and Indoors", "Sports"),
)
COLORS = {"ImageProperties": {"MaxDominantColors": 3}}
FILTERS = {
    "GeneralLabels": {
        "LabelInclusionFilters": ["Dog", "Cat"],
        "LabelExclusionFilters": ["Pug"],
        "LabelCategoryInclusionFilters": ["Animals and Pets"],
        "LabelCategoryExclusionFilters": ["Home and Indoors", "Sports"],
    }
}


@pytest.mark.parametrize(
    ("call", "recipe", "request_"),
    [
        pytest.param(
            (LABELS,),
            RECIPE,
            {"Features": ["GENERAL_LABELS"], "MinConfidence": 61.5, "MaxLabels": 7},
            id="labels",
        ),
        pytest.param(
            (LABELS,),
            FILTERED,
            {"Features": ["GENERAL_LABELS"], "MinConfidence": 61.5, "MaxLabels": 7, "Settings": FILTERS},
            id="filtered labels",
        ),
        pytest.param(
            (LABELS,),
            replace(RECIPE, exclude_labels=("Pug",)),
            {
                "Features": ["GENERAL_LABELS"],
                "MinConfidence": 61.5,
                "MaxLabels": 7,
                "Settings": {"GeneralLabels": {"LabelExclusionFilters": ["Pug"]}},
            },
            id="one filter",
        ),
        pytest.param(
            (PROPERTIES,), FILTERED, {"Features": ["IMAGE_PROPERTIES"], "Settings": COLORS}, id="properties"
        ),
        pytest.param(
            (LABELS, PROPERTIES),
            FILTERED,
            {
                "Features": ["GENERAL_LABELS", "IMAGE_PROPERTIES"],
                "MinConfidence": 61.5,
                "MaxLabels": 7,
                "Settings": {**FILTERS, **COLORS},
            },
            id="labels and properties",
        ),
        pytest.param((MODERATION,), FILTERED, {"MinConfidence": 62.5}, id="moderation"),
        pytest.param((TEXT,), FILTERED, {"Filters": {"WordFilter": {"MinConfidence": 63.5}}}, id="text"),
    ],
)
def test_the_recipe_is_what_rekognition_is_asked(
    detect: Detect, rekognition: ScriptedRekognition, call: Call, recipe: Recipe, request_: dict[str, Any]
) -> None:
    operation = OPERATIONS[call[0]]

    detect(call, BLANK[operation], recipe)

    assert rekognition.requests == [(operation, {"Image": IMAGE, **request_})]


def test_all_that_rekognition_says_of_a_label_is_kept(detect: Detect) -> None:
    car = {
        "Name": "Car",
        "Confidence": 98.71,
        "Categories": [{"Name": "Vehicles and Automotive"}, {"Name": "Transport"}],
        "Parents": [{"Name": "Vehicle"}, {"Name": "Transportation"}],
        "Aliases": [{"Name": "Automobile"}],
        "Instances": [
            {"Confidence": 97.2, "BoundingBox": BOX},
            {"Confidence": 51.0, "BoundingBox": WHOLE},
            {"Confidence": 50.0},  # of no use without its place
        ],
    }
    wheel = {"Name": "Wheel", "Confidence": 77.0}

    findings = detect((LABELS,), {"Labels": [wheel, car], "LabelModelVersion": "3.0"})

    assert findings == Findings(
        labels=(
            Label(
                name="Car",
                confidence=98.71,
                categories=("Vehicles and Automotive", "Transport"),
                parents=("Vehicle", "Transportation"),
                aliases=("Automobile",),
                instances=(
                    Instance(97.2, Box(0.1, 0.2, 0.5, 0.4)),
                    Instance(51.0, Box(0.0, 0.0, 1.0, 1.0)),
                ),
            ),
            Label("Wheel", 77.0),
        ),
        model_versions={"labels": "3.0"},
    )


def test_all_that_rekognition_says_of_moderation_is_kept(detect: Detect) -> None:
    answer = {
        "ModerationLabels": [
            {"Name": "Pills", "Confidence": 91.5, "ParentName": "Products", "TaxonomyLevel": 3},
            {"Name": "Products", "Confidence": 91.5, "ParentName": "Drugs & Tobacco", "TaxonomyLevel": 2},
            {"Name": "Drugs & Tobacco", "Confidence": 91.5, "ParentName": "", "TaxonomyLevel": 1},
        ],
        "ContentTypes": [{"Confidence": 88.5, "Name": "Illustrated"}],
        "ModerationModelVersion": "7.0",
    }

    findings = detect((MODERATION,), answer)

    assert findings == Findings(
        moderation=Moderation(
            flagged=False,  # whether it is, detection.py judges by the settings
            labels=(
                ModerationLabel("Pills", 91.5, "Products", 3),
                ModerationLabel("Products", 91.5, "Drugs & Tobacco", 2),
                ModerationLabel("Drugs & Tobacco", 91.5, None, 1),
            ),
            content_types=("Illustrated",),
        ),
        model_versions={"moderation": "7.0"},
    )


def test_words_stand_with_their_lines_in_the_order_of_reading(detect: Detect) -> None:
    answer = {
        "TextDetections": [
            detection(0, "LINE", "NO PARKING"),
            detection(1, "LINE", "TAXI"),
            detection(2, "WORD", "NO", ParentId=0),
            detection(3, "WORD", "PARKING", ParentId=0),
            detection(4, "WORD", "TAXI", ParentId=1),
        ],
        "TextModelVersion": "3.0",
    }

    findings = detect((TEXT,), answer)

    box = Box(0.1, 0.2, 0.5, 0.4)
    assert findings == Findings(
        text=(
            Line("NO PARKING", 90.5, box, (Word("NO", 90.5, box), Word("PARKING", 90.5, box))),
            Line("TAXI", 90.5, box, (Word("TAXI", 90.5, box),)),
        ),
        model_versions={"text": "3.0"},
    )


def test_all_that_rekognition_says_of_colours_and_quality_is_kept(detect: Detect) -> None:
    def region(quality: float, *colors: Any) -> Any:
        measures = {"Sharpness": quality, "Brightness": quality + 1, "Contrast": quality + 2}
        return {"Quality": measures, "DominantColors": [*colors]}

    teal = {
        "Red": 0,
        "Green": 128,
        "Blue": 128,
        "HexCode": "#008080",
        "CSSColor": "teal",
        "SimplifiedColor": "green",
        "PixelPercent": 62.5,
    }
    answer = {
        "ImageProperties": {
            **region(10.5, teal),
            "Foreground": region(20.5, teal, teal),
            "Background": region(30.5),
        },
        "LabelModelVersion": "3.0",
    }

    findings = detect((PROPERTIES,), answer)

    color = Color("#008080", "teal", "green", 62.5)
    assert findings == Findings(
        properties=Properties(
            dominant_colors=(color,),
            sharpness=10.5,
            brightness=11.5,
            contrast=12.5,
            foreground=Region((color, color), 20.5, 21.5, 22.5),
            background=Region((), 30.5, 31.5, 32.5),
        ),
        model_versions={"labels": "3.0"},
    )


@EVERY_CALL
def test_a_picture_may_show_nothing_which_is_an_answer_too(call: Call, detect: Detect) -> None:
    findings = detect(call, BLANK[OPERATIONS[call[0]]])

    nothing = {LABELS: (), MODERATION: Moderation(), TEXT: (), PROPERTIES: Properties()}
    assert {detector: getattr(findings, detector) for detector in Detector} == {
        detector: nothing[detector] if detector in call else None for detector in Detector
    }
    assert findings.told == frozenset(call)


def test_what_a_row_has_no_room_for_is_not_kept(detect: Detect) -> None:
    tree = {"Name": "Tree", "Confidence": 99.0, "Instances": [{"Confidence": 90.0, "BoundingBox": BOX}] * 999}
    forest = [{"Name": f"Tree {number}", "Confidence": 90.0} for number in range(99)]
    novel = [detection(number, "LINE", "word " * 1000) for number in range(99)]
    sins = [{"Name": "sin " * 100, "Confidence": 90.0}] * 99

    labels = detect((LABELS,), {"Labels": [tree, *forest]}, Recipe(max_labels=45)).labels or ()
    text = detect((TEXT,), {"TextDetections": novel}).text or ()
    moderation = detect((MODERATION,), {"ModerationLabels": sins}).moderation or Moderation()

    assert (len(labels), len(labels[0].instances)) == (45, MAX_BOXES)
    assert 1 < len(text) < 99
    assert 1 < len(moderation.labels) < 99


@EVERY_CALL
@pytest.mark.parametrize("status", [400, 500])
@pytest.mark.parametrize(
    ("code", "failure"),
    [
        ("AccessDeniedException", AccessLost),
        ("ExpiredTokenException", AccessLost),
        ("InternalServerError", ServiceFailed),
        ("InvalidS3ObjectException", ObjectUnavailable),
        ("ProvisionedThroughputExceededException", Throttled),
        ("ThrottlingException", Throttled),
        ("UnrecognizedClientException", AccessLost),
    ],
)
def test_what_a_retry_can_heal_is_no_refusal(
    client: Any, call: Call, code: str, status: int, failure: type[Retryable]
) -> None:
    faults.plan(client.meta.events, event_of(call), faults.json_error(status, code))

    with pytest.raises(Retryable) as raised:
        Rekognition(client, Recipe()).detect(call, IMAGE)

    assert type(raised.value) is failure


@EVERY_CALL
@pytest.mark.parametrize("status", [500, 502, 503, 504])
@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>Bad Gateway</html>",
        b'{"__type": "ServiceUnavailable"}',
        b'{"__type": "InvalidImageFormatException"}',
    ],
    ids=["no body", "HTML", "JSON", "a refusal's code"],
)
def test_a_server_error_is_never_the_pictures_fault(
    client: Any, call: Call, status: int, body: bytes
) -> None:
    faults.plan(client.meta.events, event_of(call), faults.answering(status, body))

    with pytest.raises(ServiceFailed):
        Rekognition(client, Recipe()).detect(call, IMAGE)


@EVERY_CALL
@pytest.mark.parametrize(
    "error",
    [
        ConnectTimeoutError(endpoint_url=URL),
        EndpointConnectionError(endpoint_url=URL),
        ReadTimeoutError(endpoint_url=URL),
    ],
    ids=lambda error: type(error).__name__,
)
def test_a_service_out_of_reach_is_a_failed_service(client: Any, call: Call, error: Exception) -> None:
    faults.plan(client.meta.events, event_of(call), faults.raising(error))

    with pytest.raises(ServiceFailed):
        Rekognition(client, Recipe()).detect(call, IMAGE)


@EVERY_CALL
@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("ImageTooLargeException", "too_large"),
        ("InvalidImageFormatException", "unreadable"),
        ("InvalidParameterException", "rejected"),
    ],
)
def test_a_refusal_is_final_after_one_attempt(endpoint: object, call: Call, code: str, reason: str) -> None:
    client = boto3.client("rekognition")
    sent = faults.plan(client.meta.events, event_of(call), faults.json_error(400, code))

    with pytest.raises(PictureRefused) as raised:
        Rekognition(client, Recipe()).detect(call, IMAGE)

    assert (raised.value.reason, len(sent)) == (reason, 1)


@EVERY_CALL
@pytest.mark.parametrize(
    "code", ["HumanLoopQuotaExceededException", "ResourceNotFoundException", "ValidationException"]
)
def test_what_this_app_should_never_hear_is_a_bug(client: Any, call: Call, code: str) -> None:
    faults.plan(client.meta.events, event_of(call), faults.json_error(400, code))

    with pytest.raises(ClientError, match=code):
        Rekognition(client, Recipe()).detect(call, IMAGE)
