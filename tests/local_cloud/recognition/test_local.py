from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from PIL import Image

from local_cloud.recognition import Recogniser
from local_cloud.recognition.boxes import Box, Detection
from local_cloud.recognition.errors import ServiceError, Unreadable
from local_cloud.recognition.local import LocalRecogniser
from local_cloud.recognition.objects import ObjectDetector
from local_cloud.recognition.picture import Picture, read_picture
from local_cloud.recognition.text import TextDetector, TextLine
from tests.local_cloud.recognition.drawing import SAMPLES, checks, encode, gradient, noise, picture_of, write


class Spy:
    """A detector that sees nothing, lacks something, and remembers what was asked of it."""

    def __init__(self, *missing: str) -> None:
        self.missing = missing
        self.calls: list[str] = []

    def detect(self, picture: Picture) -> list[Detection]:
        self.calls.append(f"detect {picture.width} x {picture.height}")
        return []

    def warm_up(self) -> None:
        self.calls.append("warm up")

    def close(self) -> None:
        self.calls.append("close")


class Blind(Spy):
    """One that could read, and sees no text."""

    def read(self, _: Picture) -> list[TextLine]:
        return []


def names(recogniser: Recogniser, picture: Picture, least: float = 50) -> set[str]:
    answer = recogniser.recognise("DetectLabels", picture, {"MinConfidence": least})
    return {label["Name"] for label in answer["Labels"]}


@pytest.mark.parametrize(
    ("name", "labels"),
    [
        ("astronaut.png", {"Person", "Face", "Head"}),
        ("coffee.png", {"Cup"}),
        ("chelsea.png", {"Cat", "Animal", "Mammal", "Pet"}),
        ("rocket.jpg", set()),
    ],
)
def test_the_samples_show(
    recogniser: Recogniser, objects: ObjectDetector, name: str, labels: set[str]
) -> None:
    assert objects.missing == ()
    assert names(recogniser, read_picture((SAMPLES / name).read_bytes())) == labels


def test_a_face_and_its_person_are_one_label_each(recogniser: Recogniser, objects: ObjectDetector) -> None:
    assert objects.missing == ()
    picture = read_picture((SAMPLES / "astronaut.png").read_bytes())

    labels = recogniser.recognise("DetectLabels", picture, {})["Labels"]

    assert [(label["Name"], len(label["Instances"])) for label in labels] == [
        ("Person", 1),
        ("Face", 1),
        ("Head", 0),
    ]


@pytest.mark.parametrize(
    "image",
    [
        pytest.param(Image.new("RGB", (100, 100), "white"), id="white"),
        pytest.param(Image.new("RGB", (300, 100)), id="black"),
        pytest.param(gradient(1), id="gradient"),
        pytest.param(checks(50), id="checks"),
        *(pytest.param(noise(7, grain), id=f"noise {grain}") for grain in (1, 6, 20)),
    ],
)
def test_it_claims_nothing_it_did_not_see(recogniser: Recogniser, image: Image.Image) -> None:
    assert names(recogniser, picture_of(image), least=0) == set()


def test_a_written_page_is_text_and_document(recogniser: Recogniser) -> None:
    page = write(*["Every picture tells a story"] * 6, size=(400, 240), height=20)

    assert names(recogniser, picture_of(page)) == {"Text", "Document"}


def test_a_cut_off_picture_is_unreadable(recogniser: Recogniser) -> None:
    data = (SAMPLES / "coffee.png").read_bytes()[:50_000]

    with pytest.raises(Unreadable):
        recogniser.recognise("DetectLabels", read_picture(data), {})


def test_all_detectors_look_are_warmed_up_and_closed() -> None:
    first, second = Spy(), Blind()
    recogniser = LocalRecogniser([first], second)

    recogniser.warm_up()
    recogniser.recognise("DetectLabels", read_picture(encode(Image.new("RGB", (90, 80)))), {})
    recogniser.close()

    assert first.calls == second.calls == ["warm up", "detect 90 x 80", "close"]


def test_what_is_missing_is_said_for_every_detector() -> None:
    recogniser = LocalRecogniser([Spy(), Spy("No cups.")], Blind("No text."))

    assert recogniser.missing == ["No cups.", "No text."]
    recogniser.close()


class Finder(Spy):
    """One that finds the same in every picture."""

    def __init__(self, *found: Detection) -> None:
        super().__init__()
        self._found = found

    def detect(self, picture: Picture) -> list[Detection]:
        super().detect(picture)
        return list(self._found)


def halves() -> Picture:
    """Red on the left, blue on the right."""
    image = Image.new("RGB", (200, 100), "blue")
    image.paste("red", (0, 0, 100, 100))
    return picture_of(image)


def detect_labels(
    detectors: Sequence[Spy], picture: Picture, *features: str, **settings: Any
) -> dict[str, Any]:
    recogniser = LocalRecogniser(detectors, Blind())
    try:
        return recogniser.recognise(
            "DetectLabels", picture, {"Features": list(features), "Settings": settings}
        )
    finally:
        recogniser.close()


CUP = Detection("Cup", 80.0, Box(0, 0, 0.5, 1))
RED, BLUE = ["red"], ["blue"]


def css(colours: Sequence[Any]) -> list[str]:
    return [colour["CSSColor"] for colour in colours]


@pytest.mark.parametrize("features", [(), ("GENERAL_LABELS",)])
def test_labels_come_without_properties_unless_asked_for(features: tuple[str, ...]) -> None:
    answer = detect_labels([Finder(CUP)], halves(), *features)

    assert answer.keys() == {"Labels", "LabelModelVersion"}
    assert [label["Name"] for label in answer["Labels"]] == ["Cup"]
    assert answer["Labels"][0]["Instances"][0].keys() == {"BoundingBox", "Confidence"}


def test_properties_come_alone_when_asked_for_alone() -> None:
    answer = detect_labels([Finder(CUP)], halves(), "IMAGE_PROPERTIES")

    assert answer["Labels"] == []
    assert css(answer["ImageProperties"]["Foreground"]["DominantColors"]) == RED
    assert css(answer["ImageProperties"]["Background"]["DominantColors"]) == BLUE


def test_asked_for_both_each_instance_has_its_colours() -> None:
    answer = detect_labels([Finder(CUP)], halves(), "GENERAL_LABELS", "IMAGE_PROPERTIES")

    assert css(answer["Labels"][0]["Instances"][0]["DominantColors"]) == RED
    assert sorted(css(answer["ImageProperties"]["DominantColors"])) == BLUE + RED


@pytest.mark.parametrize("most", [0, 1])
def test_the_request_limits_the_colours(most: int) -> None:
    answer = detect_labels(
        [Finder(CUP)],
        halves(),
        "GENERAL_LABELS",
        "IMAGE_PROPERTIES",
        ImageProperties={"MaxDominantColors": most},
    )

    assert len(answer["ImageProperties"]["DominantColors"]) == most
    assert len(answer["Labels"][0]["Instances"][0]["DominantColors"]) == most


def test_what_is_rather_not_there_is_no_foreground() -> None:
    unsure = Detection("Cup", 54.9, Box(0, 0, 0.5, 1))

    answer = detect_labels([Finder(unsure)], halves(), "IMAGE_PROPERTIES")

    assert sorted(css(answer["ImageProperties"]["Foreground"]["DominantColors"])) == BLUE + RED


def test_filters_choose_labels_and_leave_the_foreground_alone() -> None:
    filters = {"LabelExclusionFilters": ["Cup"]}

    answer = detect_labels(
        [Finder(CUP)], halves(), "GENERAL_LABELS", "IMAGE_PROPERTIES", GeneralLabels=filters
    )

    assert answer["Labels"] == []
    assert css(answer["ImageProperties"]["Foreground"]["DominantColors"]) == RED


def test_one_look_serves_all_questions_about_a_picture() -> None:
    spy, picture = Spy(), halves()
    recogniser = LocalRecogniser([spy], Blind())

    for features in (["GENERAL_LABELS"], ["IMAGE_PROPERTIES"], ["GENERAL_LABELS", "IMAGE_PROPERTIES"]):
        recogniser.recognise("DetectLabels", picture, {"Features": features})
    recogniser.recognise("DetectLabels", halves(), {})
    recogniser.close()

    assert spy.calls == ["detect 200 x 100", "detect 200 x 100", "close"]


def test_three_questions_at_once_are_answered_from_one_reading(text: TextDetector) -> None:
    picture = picture_of(write("moderation: Alcohol, 77", "and so on", size=(500, 200)))
    recogniser = LocalRecogniser([Spy()], text)

    with ThreadPoolExecutor(3) as pool:
        labels, moderation, words = pool.map(
            lambda operation: recogniser.recognise(operation, picture, {}),
            ("DetectLabels", "DetectModerationLabels", "DetectText"),
        )

    assert [label["Name"] for label in labels["Labels"]] == ["Text"]
    assert [label["Name"] for label in moderation["ModerationLabels"]] == ["Alcohol"]
    assert [found["DetectedText"] for found in words["TextDetections"][:2]] == [
        "moderation: Alcohol, 77",
        "and so on",
    ]
    assert labels["Labels"][0]["Confidence"] in [found["Confidence"] for found in words["TextDetections"]]


@pytest.mark.parametrize("name", ["astronaut.png", "chelsea.png", "coffee.png", "rocket.jpg"])
def test_there_is_no_opinion_on_a_picture_without_a_mark(recogniser: Recogniser, name: str) -> None:
    picture = read_picture((SAMPLES / name).read_bytes())

    assert recogniser.recognise("DetectModerationLabels", picture, {"MinConfidence": 0}) == {
        "ModerationLabels": [],
        "ModerationModelVersion": "local-1",
        "ContentTypes": [],
    }


def test_the_samples_have_no_text(recogniser: Recogniser) -> None:
    picture = read_picture((SAMPLES / "chelsea.png").read_bytes())

    assert recogniser.recognise("DetectText", picture, {}) == {
        "TextDetections": [],
        "TextModelVersion": "local-1",
    }


@pytest.mark.parametrize("parameter", ["HumanLoopConfig", "ProjectVersion"])
def test_what_only_aws_has_is_not_found(parameter: str) -> None:
    recogniser = LocalRecogniser([], Blind())

    with pytest.raises(ServiceError, match=f"There is no {parameter} on the laptop") as raised:
        recogniser.recognise("DetectModerationLabels", halves(), {parameter: {}})

    assert raised.value.code == "ResourceNotFoundException"
    recogniser.close()
