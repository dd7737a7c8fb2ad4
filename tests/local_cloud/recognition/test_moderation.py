import logging

import pytest

from local_cloud.recognition.moderation import (
    Mark,
    describe_content,
    describe_moderation,
    find_marks,
)


def names(*texts: str) -> list[tuple[str, float]]:
    return [(mark.name, mark.confidence) for mark in find_marks("moderation", texts)]


@pytest.mark.parametrize(
    ("text", "mark"),
    [
        pytest.param("moderation: Violence", ("Violence", 99.0), id="a label"),
        pytest.param("moderation: Self-Harm, 82.5", ("Self-Harm", 82.5), id="with a confidence"),
        pytest.param("moderation: Alcohol, 70%", ("Alcohol", 70.0), id="in percent"),
        pytest.param("  Moderation :  self harm ,80 ", ("Self-Harm", 80.0), id="case and spaces"),
        pytest.param("moderation:Blood&Gore，100", ("Blood & Gore", 100.0), id="as OCR reads it"),  # noqa: RUF001
        pytest.param("moderation：Gambling", ("Gambling", 99.0), id="wide colon"),  # noqa: RUF001
        pytest.param("moderation: Animated", ("Animated", 99.0), id="content type"),
        pytest.param("moderation: Illustrated Content, 60", ("Illustrated", 60.0), id="its other name"),
    ],
)
def test_a_line_that_begins_with_the_word_is_a_mark(text: str, mark: tuple[str, float]) -> None:
    assert names(text) == [mark]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Violence",
        "moderation Violence",
        "in moderation: Violence",
        "moderations: Violence",
        "mod: Violence",
    ],
)
def test_other_lines_are_no_marks_and_no_concern(text: str, caplog: pytest.LogCaptureFixture) -> None:
    assert names(text) == []
    assert caplog.records == []


def test_every_line_of_every_text_counts_once() -> None:
    assert names("a letter\nmoderation: Pills\n", "moderation: Pills\r\nmoderation: Smoking, 60") == [
        ("Pills", 99.0),
        ("Smoking", 60.0),
    ]


@pytest.mark.parametrize("wish", ["Rudeness", "", "Violence, high", "Violence, 101", "Violence, 80, 90"])
def test_a_mark_that_names_nothing_is_logged(wish: str, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        assert names(f"moderation: {wish}", "moderation: Pills") == [("Pills", 99.0)]

    assert [record.getMessage() for record in caplog.records] == [
        f"The mark 'moderation: {wish}' is no moderation label of Rekognition's."
    ]


def test_the_word_is_the_users_own_and_no_pattern() -> None:
    assert [mark.name for mark in find_marks("s.t (x)", ["s.t (x): Pills", "s-t (x): Smoking"])] == ["Pills"]


def test_a_label_brings_its_ancestors_deepest_first() -> None:
    assert describe_moderation([Mark("Smoking", 99.44782)], {}) == [
        {
            "Confidence": 99.4478,
            "Name": "Smoking",
            "ParentName": "Drugs & Tobacco Paraphernalia & Use",
            "TaxonomyLevel": 3,
        },
        {
            "Confidence": 99.4478,
            "Name": "Drugs & Tobacco Paraphernalia & Use",
            "ParentName": "Drugs & Tobacco",
            "TaxonomyLevel": 2,
        },
        {"Confidence": 99.4478, "Name": "Drugs & Tobacco", "ParentName": "", "TaxonomyLevel": 1},
    ]


def test_an_ancestor_is_as_sure_as_its_surest_child() -> None:
    labels = describe_moderation([Mark("Weapons", 60), Mark("Corpses", 95), Mark("Graphic Violence", 80)], {})

    assert [(label["Name"], label["Confidence"]) for label in labels] == [
        ("Corpses", 95),
        ("Death and Emaciation", 95),
        ("Visually Disturbing", 95),
        ("Graphic Violence", 80),
        ("Violence", 80),
        ("Weapons", 60),
    ]


@pytest.mark.parametrize(
    ("request_", "found"),
    [
        pytest.param({}, ["Alcohol"], id="50 unless told"),
        pytest.param({"MinConfidence": 49}, ["Alcohol", "Gambling"], id="at least"),
        pytest.param({"MinConfidence": 50.1}, [], id="more"),
    ],
)
def test_labels_pass_by_confidence(request_: dict[str, float], found: list[str]) -> None:
    labels = describe_moderation([Mark("Gambling", 49), Mark("Alcohol", 50)], request_)

    assert [label["Name"] for label in labels] == found


def test_content_types_are_no_labels() -> None:
    marks = [Mark("Animated", 75.5), Mark("Gambling", 60)]

    assert describe_content(marks) == [{"Confidence": 75.5, "Name": "Animated"}]
    assert [label["Name"] for label in describe_moderation(marks, {})] == ["Gambling"]
