import json
import math
from collections.abc import Mapping
from dataclasses import asdict, replace
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from chalicelib import items, rows
from chalicelib.claim import Claim, Partial
from chalicelib.model import (
    Answer,
    Box,
    Color,
    Findings,
    Image,
    Instance,
    Label,
    Line,
    Moderation,
    ModerationLabel,
    Properties,
    Region,
    Status,
    StoredObject,
    Summary,
    TopLabel,
    Upload,
    Word,
)
from chalicelib.room import storable_labels, storable_moderation, storable_text
from chalicelib.settings import MAX_LABELS

NOW = datetime(2026, 1, 2, 3, 4, 5, 678_900, UTC)
UPLOADED = datetime(2026, 1, 2, 3, 4, 1, tzinfo=timezone(timedelta(hours=1)))
FOUND = StoredObject("car.png", "v1", "etag", 48_123, "text/plain", UPLOADED, {"by": "Ann"}, b"")
CAR = Label(
    "Car",
    98.71,
    ("Vehicles and Automotive", "Transport"),
    ("Vehicle",),
    ("Automobile",),
    (Instance(97.2, Box(0.1, 0.2, 0.5, 0.4)),),
)
WHEEL = Label("Wheel", 77.0)
BOX = Box(0.1, 0.2, 0.5, 0.4)
FINDINGS = Findings(
    labels=(WHEEL, CAR),
    moderation=Moderation(True, (ModerationLabel("Weapons", 91.0, "Violence", 2),), ("Illustrated",)),
    text=(Line("TAXI", 99.1, BOX, (Word("TAXI", 99.0, BOX),)),),
    properties=Properties((Color("#008080", "teal", "green", 62.5),), 50.5, 60.5, None, Region(), None),
    model_versions={"labels": "3.0", "moderation": "7.0", "text": "3.0"},
)
ANSWER = Answer(Status.LABELLED, None, "image/png", FINDINGS)
BOX_STORED = {
    "left": Decimal("0.1"),
    "top": Decimal("0.2"),
    "width": Decimal("0.5"),
    "height": Decimal("0.4"),
}
POSITION = "2026-01-02T03:04:05.678900Z~f6a6388a"

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
PERCENTS = st.floats(0, 100).filter(lambda value: value == 0 or value >= items.SMALLEST)
SHARES = st.floats(0, 1, width=32)
BOXES = st.builds(Box, SHARES, SHARES, SHARES, SHARES)
NAMES = st.lists(TEXT, max_size=3).map(tuple)
LABELS = st.builds(
    Label,
    TEXT,
    PERCENTS,
    NAMES,
    NAMES,
    NAMES,
    st.lists(st.builds(Instance, PERCENTS, BOXES), max_size=3).map(tuple),
)
LINES = st.builds(
    Line, TEXT, PERCENTS, BOXES, st.lists(st.builds(Word, TEXT, PERCENTS, BOXES), max_size=3).map(tuple)
)
SINS = st.builds(ModerationLabel, TEXT, PERCENTS, st.none() | TEXT, st.integers(1, 3))
MEASURES = st.none() | PERCENTS
REGIONS = st.builds(
    Region,
    st.lists(st.builds(Color, TEXT, TEXT, TEXT, PERCENTS), max_size=2).map(tuple),
    MEASURES,
    MEASURES,
    MEASURES,
)
FINDINGS_OF_ALL_KINDS = st.builds(
    Findings,
    st.none() | st.lists(LABELS, max_size=5).map(tuple),
    st.none() | st.builds(Moderation, st.booleans(), st.lists(SINS, max_size=3).map(tuple), NAMES),
    st.none() | st.lists(LINES, max_size=3).map(tuple),
    st.none()
    | st.builds(
        lambda region, *parts: Properties(**vars(region), foreground=parts[0], background=parts[1]),
        REGIONS,
        st.none() | REGIONS,
        st.none() | REGIONS,
    ),
    st.dictionaries(TEXT, TEXT, max_size=2),
)
ANSWERS = st.builds(Answer, st.just(Status.LABELLED), st.none(), TEXT, FINDINGS_OF_ALL_KINDS)


def stored(row: items.Row) -> dict[str, Any]:
    return items.unmarshal(items.marshal(row))


def test_an_answer_is_written_whole() -> None:
    assert stored(rows.answer_fields(FOUND, "run", ANSWER, NOW)) == {
        "status": "labelled",
        "status_key": "labelled#0",
        "updated_at": POSITION,
        "committed_run": "run",
        "content_type": "image/png",
        "size": 48_123,
        "version_id": "v1",
        "etag": "etag",
        "uploaded_at": "2026-01-02T02:04:01Z",
        "labelled_at": "2026-01-02T03:04:05Z",
        "labels": [
            {
                "name": "Wheel",
                "confidence": Decimal("77.0"),
                "categories": [],
                "parents": [],
                "aliases": [],
                "instances": [],
            },
            {
                "name": "Car",
                "confidence": Decimal("98.71"),
                "categories": ["Vehicles and Automotive", "Transport"],
                "parents": ["Vehicle"],
                "aliases": ["Automobile"],
                "instances": [
                    {
                        "confidence": Decimal("97.2"),
                        "box": BOX_STORED,
                    }
                ],
            },
        ],
        "top_labels": [
            {"name": "Car", "confidence": Decimal("98.71")},
            {"name": "Wheel", "confidence": Decimal("77.0")},
        ],
        "label_keys": ["wheel", "car"],
        "text": [
            {
                "line": "TAXI",
                "confidence": Decimal("99.1"),
                "box": BOX_STORED,
                "words": [{"word": "TAXI", "confidence": Decimal("99.0"), "box": BOX_STORED}],
            }
        ],
        "moderation": {
            "flagged": True,
            "labels": [{"name": "Weapons", "confidence": Decimal("91.0"), "parent": "Violence", "level": 2}],
            "content_types": ["Illustrated"],
        },
        "properties": {
            "dominant_colors": [
                {
                    "hex": "#008080",
                    "css_color": "teal",
                    "simplified_color": "green",
                    "percent": Decimal("62.5"),
                }
            ],
            "sharpness": Decimal("50.5"),
            "brightness": Decimal("60.5"),
            "contrast": None,
            "foreground": {"dominant_colors": [], "sharpness": None, "brightness": None, "contrast": None},
            "background": None,
        },
        "model_versions": {"labels": "3.0", "moderation": "7.0", "text": "3.0"},
        "metadata": {"by": "Ann"},
        "schema": 1,
    }


def test_a_failure_is_written_with_its_reason_and_no_labels() -> None:
    answer = Answer(Status.FAILED, "unsupported_format", "image/webp")
    found = replace(FOUND, version_id=None, metadata={})

    assert stored(rows.answer_fields(found, "run", answer, NOW)) == {
        "status": "failed",
        "status_key": "failed#0",
        "updated_at": POSITION,
        "committed_run": "run",
        "reason": "unsupported_format",
        "content_type": "image/webp",
        "size": 48_123,
        "etag": "etag",
        "uploaded_at": "2026-01-02T02:04:01Z",
        "labels": [],
        "top_labels": [],
        "label_keys": [],
        "model_versions": {},
        "metadata": {},
        "schema": 1,
    }


def test_each_label_has_a_row_that_carries_the_summary() -> None:
    top_labels = [
        {"name": "Car", "confidence": Decimal("98.71")},
        {"name": "Wheel", "confidence": Decimal("77.0")},
    ]
    summary = {
        "source_file": "car.png",
        "status": "labelled",
        "labelled_at": "2026-01-02T03:04:05Z",
        "top_labels": top_labels,
        "schema": 1,
    }

    assert [stored(row) for row in rows.label_rows(FOUND, ANSWER, NOW)] == [
        {
            **summary,
            "entry": "label#wheel",
            "label_key": "wheel#0",
            "label_name": "Wheel",
            "label_confidence": Decimal("77.0"),
            "label_category": [],
        },
        {
            **summary,
            "entry": "label#car",
            "label_key": "car#0",
            "label_name": "Car",
            "label_confidence": Decimal("98.71"),
            "label_category": ["Vehicles and Automotive", "Transport"],
        },
    ]


def test_an_expected_upload_is_written_with_what_was_declared() -> None:
    upload = Upload("image/png", 5, "00" * 32, {"by": "Ann"})

    assert stored(rows.upload_row("car.png", upload, 1_767_326_645, NOW)) == {
        "source_file": "car.png",
        "entry": "image",
        "status": "awaiting_upload",
        "status_key": "awaiting_upload#0",
        "updated_at": POSITION,
        "content_type": "image/png",
        "size": 5,
        "metadata": {"by": "Ann"},
        "expires_at": 1_767_326_645,
        "schema": 1,
    }


def test_a_tombstone_stands_in_no_index() -> None:
    assert stored(rows.tombstone("car.png", "run", 1_767_326_645)) == {
        "source_file": "car.png",
        "entry": "image",
        "status": "removed",
        "run": "run",
        "committed_run": "run",
        "expires_at": 1_767_326_645,
        "schema": 1,
    }


@given(ANSWERS)
@example(
    Answer(
        Status.LABELLED,
        None,
        "image/png",
        Findings((Label("#", 100 / 3, ("\0",), ("",), ("é", "\N{DOG FACE}")),)),
    )
)
@example(ANSWER)
def test_an_answer_is_read_as_it_was_written(answer: Answer) -> None:
    row = stored({**rows.image_key(FOUND.key), **rows.answer_fields(FOUND, "run", answer, NOW)})

    assert rows.read_image(row) == Image(
        source_file="car.png",
        status=Status.LABELLED,
        reason=None,
        content_type=answer.content_type,
        size=48_123,
        version_id="v1",
        etag="etag",
        uploaded_at="2026-01-02T02:04:01Z",
        labelled_at="2026-01-02T03:04:05Z",
        labels=answer.labels,
        text=answer.findings.text,
        moderation=answer.findings.moderation,
        properties=answer.findings.properties,
        model_versions=answer.findings.model_versions,
        metadata={"by": "Ann"},
    )


def test_labels_are_a_list_though_none_were_asked_for() -> None:
    fields = stored(rows.answer_fields(FOUND, "run", replace(ANSWER, findings=Findings()), NOW))

    assert (fields["labels"], fields["top_labels"], fields["label_keys"]) == ([], [], [])
    assert {"text", "moderation", "properties"} & set(fields) == set()


@given(ANSWERS)
def test_a_summary_is_read_as_it_was_written(answer: Answer) -> None:
    row = stored({**rows.image_key(FOUND.key), **rows.answer_fields(FOUND, "run", answer, NOW)})

    assert rows.read_summary(row) == rows.read_image(row).summary


@given(ANSWERS)
def test_every_label_row_has_the_summary_of_its_image(answer: Answer) -> None:
    image = stored({**rows.image_key(FOUND.key), **rows.answer_fields(FOUND, "run", answer, NOW)})

    summaries = [rows.read_summary(stored(row)) for row in rows.label_rows(FOUND, answer, NOW)]

    assert summaries == [rows.read_image(image).summary] * len(answer.labels)


def test_a_row_that_was_never_labelled_reads_as_an_image_without_an_answer() -> None:
    row = stored({**rows.image_key("car.png"), **rows.status_fields("car.png", Status.PROCESSING, NOW)})

    assert rows.read_image(row) == Image("car.png", Status.PROCESSING)
    assert rows.read_summary(row) == Summary("car.png", Status.PROCESSING, None, None, ())


def test_a_summary_is_read_from_what_the_status_index_projects() -> None:
    row = {
        "source_file": "car.png",
        "status": "labelled",
        "labelled_at": "2026-01-02T03:04:05Z",
        "top_labels": [{"name": "Car", "confidence": Decimal("98.71")}],
    }

    summary = Summary("car.png", Status.LABELLED, None, "2026-01-02T03:04:05Z", (TopLabel("Car", 98.71),))
    assert rows.read_summary(row) == summary


def test_a_claim_is_read_with_the_keys_of_the_labels_that_stand() -> None:
    row = stored(
        {
            "run": "r2",
            "committed_run": "r1",
            "run_version": "v2",
            "lease_until": 1_767_326_645.5,
            "label_keys": ["car", "wheel"],
            "fence": "f1",
            "relabel": "t2",
            "relabelled": "t1",
        }
    )

    claim = Claim("r2", "r1", "v2", 1_767_326_645.5, ("car", "wheel"), "f1", None, "t2", "t1")
    assert rows.read_claim(row) == claim


@given(FINDINGS_OF_ALL_KINDS)
def test_what_is_kept_of_a_version_is_read_as_it_was_written(findings: Findings) -> None:
    partial = Partial("v1", "recipe", findings)

    row = stored(rows.partial_fields(partial))

    assert rows.read_claim(row).partial == (partial if findings.told else None)


@pytest.mark.parametrize("is_counted", [True, False])
def test_that_a_version_is_counted_is_kept_though_no_detector_told_anything(is_counted: bool) -> None:
    partial = Partial("v1", "recipe", Findings(), is_counted=is_counted)

    row = stored(rows.partial_fields(partial))

    assert rows.read_claim(row).partial == (partial if is_counted else None)


@pytest.mark.parametrize(
    "partial",
    [
        {"version": "v1", "recipe": "recipe"},
        {"version": "v1", "recipe": "recipe", "findings": {"text": ["TAXI"]}},
        "something else",
    ],
    ids=["without findings", "with other findings", "of another kind"],
)
def test_what_another_version_of_the_app_keeps_is_asked_again(partial: Any) -> None:
    assert rows.read_claim(stored({"run": "r1", "partial": partial})).partial is None


def test_what_a_later_version_of_the_app_keeps_besides_is_passed_over() -> None:
    row = stored(rows.partial_fields(Partial("v1", "recipe", FINDINGS)))
    row["partial"]["findings"]["faces"] = []

    assert rows.read_claim(row).partial == Partial("v1", "recipe", FINDINGS)


def test_a_row_from_before_the_other_detectors_is_an_image_without_their_answers() -> None:
    row = stored(rows.answer_fields(FOUND, "run", ANSWER, NOW))
    for name in ("text", "moderation", "properties"):
        del row[name]

    image = rows.read_image({**row, "source_file": "car.png"})

    assert (image.labels, image.text, image.moderation, image.properties) == ((WHEEL, CAR), None, None, None)


def test_a_row_without_a_run_is_nobodys() -> None:
    assert rows.read_claim({"status": "awaiting_upload"}) == Claim(None, None, None, 0, ())


def test_positions_follow_the_time_whatever_its_zone() -> None:
    moments = [NOW, NOW + timedelta(microseconds=1), NOW.replace(microsecond=0) + timedelta(seconds=1)]
    zone = timezone(timedelta(hours=-5))

    positions = [
        rows.status_fields("car.png", Status.LABELLED, moment.astimezone(zone))["updated_at"]
        for moment in moments
    ]

    assert positions[0] == POSITION
    assert positions == sorted(positions)


def test_images_that_change_at_the_same_time_have_positions_of_their_own() -> None:
    positions = {rows.status_fields(f"{n}.png", Status.LABELLED, NOW)["updated_at"] for n in range(1000)}

    assert len(positions) == 1000


def test_a_position_in_a_list_of_a_label_is_the_whole_key_of_its_row() -> None:
    (row, _) = rows.label_rows(FOUND, ANSWER, NOW)
    item = stored(row)

    position = stored(rows.label_position("WHEEL", str(item["label_confidence"]), "car.png"))

    assert position == {
        name: item[name] for name in ("source_file", "entry", "label_key", "label_confidence")
    }


@given(st.floats(0, 100))
@example(100 / 3)
def test_a_position_finds_the_confidence_it_was_made_from(confidence: float) -> None:
    row = stored({"label_confidence": confidence})

    position = stored(rows.label_position("Car", str(row["label_confidence"]), "car.png"))

    assert position["label_confidence"] == row["label_confidence"]


@pytest.mark.parametrize("text", ["1e-400", "33." + "3" * 60], ids=["too small", "too many digits"])
def test_a_confidence_that_no_row_can_hold_is_still_a_position(text: str) -> None:
    position = stored(rows.label_position("Car", text, "car.png"))

    assert float(position["label_confidence"]) == float(text)


@given(LABELS | LINES | SINS)
def test_no_part_of_an_answer_is_shorter_as_json_than_dynamodb_counts_it(part: Any) -> None:
    value = asdict(part)

    assert _value_bytes(items.marshal({"part": value})["part"]) <= len(json.dumps(value))


def test_the_largest_answer_fits_a_row_beside_what_is_kept_of_the_next_version() -> None:
    answer = largest_answer()

    fields = {
        **rows.image_key("k" * 1024),
        **rows.answer_fields(replace(FOUND, metadata={"m": "x" * 2048}), "r" * 32, answer, NOW),
        **rows.partial_fields(Partial("v" * 1024, "f" * 64, answer.findings)),
        "run": "r" * 32,
        "run_version": "v" * 1024,
        "fence": "f" * 32,
    }

    assert 300 * 1024 < item_bytes(items.marshal(fields)) < 400 * 1024


def largest_answer() -> Answer:
    """As much of everything as is kept, in long names, which take more room than numbers."""
    third = 100 / 3
    labels = [Label(f"{n:02}".ljust(1850, "x"), third) for n in range(MAX_LABELS)]
    lines = [Line("word " * 900, third, BOX, (Word("word", third, BOX),)) for _ in range(99)]
    sins = [ModerationLabel("n" * 500, third, "p" * 500, 3) for _ in range(99)]
    region = Region((Color("#008080", "mediumspringgreen", "lightgreen", third),) * 20, third, third, third)
    findings = Findings(
        labels=storable_labels(labels, MAX_LABELS),
        moderation=storable_moderation(Moderation(True, tuple(sins), ("Animated", "Illustrated"))),
        text=storable_text(lines),
        properties=Properties(**vars(region), foreground=region, background=region),
        model_versions={"labels": "3.0", "moderation": "7.0", "text": "3.0"},
    )
    return Answer(Status.LABELLED, None, "image/png", findings)


# https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/CapacityUnitCalculations.html
def item_bytes(item: Mapping[str, Any]) -> int:
    return sum(len(name.encode()) + _value_bytes(value) for name, value in item.items())


def _value_bytes(value: Mapping[str, Any]) -> int:
    ((kind, content),) = value.items()
    match kind:
        case "M":
            return 3 + len(content) + item_bytes(content)
        case "L":
            return 3 + sum(1 + _value_bytes(each) for each in content)
        case "N":
            digits = Decimal(content).normalize().as_tuple().digits
            return 2 + math.ceil(len(digits) / 2)
        case "BOOL" | "NULL":
            return 1
    return len(content.encode())
