import json
from dataclasses import replace
from typing import Any

import msgspec
import pytest

from chalicelib.announcement import BOXES, MAX_BYTES, announcement, event_id
from chalicelib.contract import told
from chalicelib.model import (
    MAX_KEY_BYTES,
    Box,
    Color,
    Image,
    Instance,
    Label,
    Line,
    Moderation,
    ModerationLabel,
    Properties,
    Region,
    Status,
    Word,
)

MOMENT = "2026-01-02T03:04:05.678900Z"
BOX = Box(0.123456, 0.234567, 0.345678, 0.456789)
IMAGE = Image("é.png", Status.LABELLED, labels=(Label("Dog", 90.0),), text=(), moderation=Moderation())


def labels(number: int, boxes: int = 0) -> tuple[Label, ...]:
    instances = boxes * (Instance(97.25, BOX),)
    return tuple(
        Label(f"Label {each:02}", 99.0 - each, ("A category",), ("A parent",), ("An alias",), instances)
        for each in range(number)
    )


def lines(number: int) -> tuple[Line, ...]:
    word = Word("word", 99.1, BOX)
    return tuple(Line(f"A line of text, {each}", 99.1, BOX, (word, word)) for each in range(number))


def data_of(image: Image) -> Any:
    announced = announcement(image, "run", MOMENT)
    assert len(announced.body.encode()) <= MAX_BYTES
    return json.loads(announced.body)["data"]


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (Status.LABELLED, "image.labelled"),
        (Status.QUARANTINED, "image.quarantined"),
        (Status.FAILED, "image.failed"),
    ],
)
def test_an_image_is_told_as_the_api_tells_it(status: Status, kind: str) -> None:
    image = replace(IMAGE, status=status)

    announced = announcement(image, "run", MOMENT)

    assert announced.type == kind
    assert json.loads(announced.body) == {
        "type": kind,
        "timestamp": MOMENT,
        "data": json.loads(msgspec.json.encode(told(image))),
    }


def test_the_same_answer_has_the_same_id_and_any_other_one_another() -> None:
    ids = [event_id("a", "1"), event_id("a", "1"), event_id("a", "2"), event_id("a1", ""), event_id("b", "1")]

    assert ids[0] == ids[1] == "evt_b343590635d7675badd5d692cccaf176"
    assert len(set(ids)) == 4


def test_what_is_told_does_not_depend_on_when_it_is_told() -> None:
    assert announcement(IMAGE, "run", MOMENT) == announcement(IMAGE, "run", MOMENT)


def test_what_fits_is_told_whole() -> None:
    image = replace(IMAGE, labels=labels(45), text=lines(20))

    assert "truncated" not in data_of(image)


def test_of_too_many_labels_the_surest_are_told() -> None:
    all_of_them = labels(45, boxes=8)

    data = data_of(replace(IMAGE, labels=all_of_them))

    names = [label["name"] for label in data["labels"]]
    assert data["truncated"] is True
    assert 10 < len(names) < 45
    assert names == [label.name for label in all_of_them[: len(names)]]
    assert {len(label["instances"]) for label in data["labels"]} == {BOXES}


def test_a_label_with_many_boxes_is_told_with_a_few() -> None:
    crowd = Label("Person", 99.0, instances=400 * (Instance(97.25, BOX),))

    data = data_of(replace(IMAGE, labels=(crowd, Label("Dog", 90.0))))

    assert [(label["name"], len(label["instances"])) for label in data["labels"]] == [
        ("Person", BOXES),
        ("Dog", 0),
    ]


def test_of_too_much_text_the_first_lines_are_told_without_their_words() -> None:
    data = data_of(replace(IMAGE, text=lines(200)))

    assert data["labels"][0]["name"] == "Dog"
    assert 10 < len(data["text"]) < 200
    assert [line["line"] for line in data["text"]] == [
        f"A line of text, {n}" for n in range(len(data["text"]))
    ]
    assert {line["words"] == [] for line in data["text"]} == {True}


def test_what_was_not_asked_for_is_not_told_as_nothing() -> None:
    data = data_of(replace(IMAGE, labels=labels(45, boxes=8), text=None, moderation=None))

    assert (data["text"], data["moderation"]) == (None, None)


def test_whatever_an_image_holds_it_fits() -> None:
    color = Color("#008080", "mediumaquamarine", "green", 62.512345)
    region = Region(20 * (color,), 50.5, 60.5, 70.5)
    image = Image(
        "\1" * MAX_KEY_BYTES,
        Status.LABELLED,
        content_type="x" * 2000,
        version_id="v" * 1024,
        labels=labels(45, boxes=8),
        text=lines(150),
        moderation=Moderation(True, 100 * (ModerationLabel("Weapons", 91.0, "Violence", 2),)),
        properties=Properties(20 * (color,), 50.5, 60.5, 70.5, region, region),
        metadata={"by": "é" * 1000},
    )

    data = data_of(image)

    assert data["truncated"] is True
    assert data["moderation"]["flagged"] is True
    assert data["properties"] is None
