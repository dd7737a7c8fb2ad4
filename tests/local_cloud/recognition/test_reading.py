from typing import Any

import numpy as np
import pytest

from local_cloud.recognition.errors import InvalidRequest
from local_cloud.recognition.reading import describe_text
from local_cloud.recognition.text import TextLine, Writing

HEIGHT = 0.1


def rectangle(left: float, top: float, right: float, bottom: float) -> Any:
    return np.array([[left, top], [right, top], [right, bottom], [left, bottom]])


def line(text: str, top: float, confidence: float = 95.0, width: float = 0.1, turn: int = 0) -> TextLine:
    """Words of the same width, side by side from the left; turned by so many right angles."""
    words = text.split()
    placed = [
        Writing(
            word, confidence, np.roll(rectangle(x * width, top, (x + 1) * width, top + HEIGHT), turn, axis=0)
        )
        for x, word in enumerate(words)
    ]
    whole = np.roll(rectangle(0, top, len(words) * width, top + HEIGHT), turn, axis=0)
    return TextLine(text, confidence, whole, tuple(placed))


def read(lines: list[TextLine], **filters: Any) -> list[str]:
    found = describe_text(lines, {"Filters": filters} if filters else {})
    return [f"{detection['Type']} {detection['DetectedText']}" for detection in found]


def test_lines_come_first_and_words_name_theirs() -> None:
    found = describe_text([line("but keep", 0.5), line("Smiling", 0.7)], {})

    assert [(each["Id"], each["Type"], each["DetectedText"], each.get("ParentId")) for each in found] == [
        (0, "LINE", "but keep", None),
        (1, "LINE", "Smiling", None),
        (2, "WORD", "but", 0),
        (3, "WORD", "keep", 0),
        (4, "WORD", "Smiling", 1),
    ]


def test_a_detection_says_how_sure_it_is_and_where_the_text_stands() -> None:
    word = describe_text([line("one two", 0.25, confidence=91.23456)], {})[2]

    assert word == {
        "DetectedText": "two",
        "Type": "WORD",
        "Id": 2,
        "ParentId": 0,
        "Confidence": 91.2346,
        "Geometry": {
            "BoundingBox": {"Width": 0.1, "Height": 0.1, "Left": 0.1, "Top": 0.25},
            "Polygon": [
                {"X": 0.1, "Y": 0.25},
                {"X": 0.2, "Y": 0.25},
                {"X": 0.2, "Y": 0.35},
                {"X": 0.1, "Y": 0.35},
            ],
        },
    }


@pytest.mark.parametrize(
    ("wanted", "words"),
    [
        pytest.param({}, ["sure"], id="80 unless told"),
        pytest.param({"MinConfidence": 70}, ["sure", "unsure"], id="at least"),
        pytest.param({"MinConfidence": 70.1}, ["sure"], id="more"),
        pytest.param({"MinConfidence": 100}, [], id="certain"),
        pytest.param({"MinBoundingBoxHeight": 0.11}, [], id="higher than any"),
        pytest.param({"MinBoundingBoxWidth": 0.05, "MinBoundingBoxHeight": 0.09}, ["sure"], id="wide enough"),
        pytest.param({"MinBoundingBoxWidth": 0.11}, [], id="wider than any"),
    ],
)
def test_words_pass_by_confidence_and_size(wanted: dict[str, float], words: list[str]) -> None:
    lines = [line("sure", 0.1, confidence=80), line("unsure", 0.3, confidence=70)]

    found = read(lines, WordFilter=wanted)

    assert found == [f"{kind} {word}" for kind in ("LINE", "WORD") for word in words]


def test_a_line_stays_whole_for_the_word_that_is_in_a_region() -> None:
    lines = [line("first second", 0.1), line("third", 0.5)]
    region = {"BoundingBox": {"Left": 0.1, "Top": 0, "Width": 0.2, "Height": 0.3}}

    assert read(lines, RegionsOfInterest=[region]) == ["LINE first second", "WORD second"]


def test_what_is_no_region_is_refused_even_where_nothing_was_read() -> None:
    with pytest.raises(InvalidRequest):
        read([], RegionsOfInterest=[{}])


def test_at_most_a_hundred_words_are_found() -> None:
    lines = [line(" ".join(f"w{row}-{place}" for place in range(9)), row / 20) for row in range(15)]

    found = read(lines)

    assert [each for each in found if each.startswith("WORD")][-1] == "WORD w11-0"
    assert len(found) == 12 + 100


def test_words_that_are_filtered_out_do_not_count_among_the_hundred() -> None:
    lines = [line("no " * 100, 0.1, confidence=60, width=0.001), line("yes", 0.5)]

    assert read(lines) == ["LINE yes", "WORD yes"]


@pytest.mark.parametrize(
    ("turn", "found"), [(0, True), (1, True), (2, False), (3, True)], ids=["level", "up", "over", "down"]
)
def test_text_that_stands_on_its_head_is_not_found(turn: int, found: bool) -> None:
    assert bool(read([line("word", 0.4, turn=turn)])) is found
