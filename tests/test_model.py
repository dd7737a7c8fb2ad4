import base64
import unicodedata
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from chalicelib.model import (
    MAX_LABEL_BYTES,
    VISIBLE,
    Detector,
    Findings,
    Image,
    Label,
    ModerationLabel,
    Properties,
    Recipe,
    Status,
    StoredObject,
    Summary,
    TopLabel,
    image_id,
    is_flagged,
    is_object_key,
    label_key,
    source_file,
    top_labels,
)

TEXT = st.text(st.characters(exclude_categories=["Cs"]))
KEYS = TEXT.filter(lambda key: 0 < len(key.encode()) <= 1024)


@given(KEYS)
@example("car.png")
@example("\N{DOG FACE}" * 256)
@example("caf\N{LATIN SMALL LETTER E WITH ACUTE}.png")
@example("cafe\N{COMBINING ACUTE ACCENT}.png")
@example("../a b+c%2F#d?.png ")
@example("/\n\0")
def test_an_id_leads_back_to_its_key(key: str) -> None:
    assert source_file(image_id(key)) == key


@given(KEYS)
def test_an_id_needs_no_encoding_in_a_path(key: str) -> None:
    assert image_id(key).replace("-", "").replace("_", "").isalnum()
    assert image_id(key).isascii()


@given(TEXT | st.text("ABab01-_=+/"))
@example("Y2FyLnBuZx")
def test_a_key_has_no_second_id(text: str) -> None:
    key = source_file(text)

    assert key is None or image_id(key) == text


@pytest.mark.parametrize(
    "not_an_id",
    [
        pytest.param("", id="empty"),
        pytest.param("Y2FyLnBuZx", id="stray bits"),
        pytest.param("Y2FyLnBuZw==", id="padded"),
        pytest.param("Y2FyLnBuZw=", id="half padded"),
        pytest.param(" Y2FyLnBuZw", id="leading space"),
        pytest.param("Y2Fy LnBuZw", id="inner space"),
        pytest.param("Y2FyLnBuZw\n", id="newline"),
        pytest.param("Y2FyLnBuZw.", id="stray character"),
        pytest.param("Y", id="one character"),
        pytest.param("é", id="not ASCII"),
        pytest.param("\ud83d", id="lone surrogate"),
        pytest.param(base64.b64encode(b"?>?").decode(), id="the other alphabet's slash"),
        pytest.param(base64.b64encode(b">>>").decode(), id="the other alphabet's plus"),
        pytest.param("_w", id="not UTF-8"),
        pytest.param("7aCA", id="an encoded surrogate"),
        pytest.param(image_id("k" * 1025), id="key of 1,025 bytes"),
    ],
)
def test_what_image_id_would_not_spell_names_no_key(not_an_id: str) -> None:
    assert source_file(not_an_id) is None


@pytest.mark.parametrize(
    ("text", "can_be_a_key"),
    [("k", True), ("é" * 512, True), ("", False), ("é" * 512 + "k", False), ("\ud83d", False)],
    ids=["shortest", "longest", "empty", "too long", "lone surrogate"],
)
def test_a_key_has_1_to_1024_bytes(text: str, can_be_a_key: bool) -> None:
    assert is_object_key(text) is can_be_a_key


def test_a_visible_status_is_any_but_removed() -> None:
    assert set(Status) - set(VISIBLE) == {Status.REMOVED}


@pytest.mark.parametrize(
    ("name", "key"),
    [
        pytest.param("Dog", "dog", id="case"),
        pytest.param("STRASSE", "strasse", id="upper"),
        pytest.param("Straße", "strasse", id="sharp s"),
        pytest.param("CAFE\N{COMBINING ACUTE ACCENT}", "café", id="decomposed"),
        pytest.param("J\N{COMBINING CARON}", "\N{LATIN SMALL LETTER J WITH CARON}", id="composed again"),
        pytest.param("ΟΔΟΣ", "οδοσ", id="final sigma"),
        pytest.param("Dog #1/2", "dog #1/2", id="separators stay"),
        pytest.param("", "", id="empty"),
    ],
)
def test_a_label_has_one_key_however_it_is_written(name: str, key: str) -> None:
    assert label_key(name) == key


@given(TEXT)
@example("\N{COMBINING GREEK YPOGEGRAMMENI}\N{COMBINING ACUTE ACCENT}")
@example("\N{GREEK SMALL LETTER ALPHA WITH PSILI AND PERISPOMENI AND YPOGEGRAMMENI}" * 400)
def test_a_label_key_is_its_own_key(name: str) -> None:
    assert label_key(label_key(name)) == label_key(name)


@given(TEXT)
@example("\N{GREEK SMALL LETTER ALPHA}\N{COMBINING GREEK YPOGEGRAMMENI}\N{COMBINING ACUTE ACCENT}")
def test_normal_forms_share_a_label_key(name: str) -> None:
    keys = {label_key(unicodedata.normalize(form, name)) for form in ("NFC", "NFD")}

    assert keys == {label_key(name)}


@given(TEXT.map(lambda text: text * 400))
@example("\N{DOG FACE}" * 300)
@example("x" + "\N{DOG FACE}" * 300)
def test_a_label_key_fits_a_sort_key(name: str) -> None:
    assert len(label_key(name).encode()) <= MAX_LABEL_BYTES


def test_a_long_label_key_ends_between_characters() -> None:
    assert label_key("x" + "\N{DOG FACE}" * 300) == "x" + "\N{DOG FACE}" * 249


def test_findings_that_come_later_join_those_before() -> None:
    before = Findings(labels=(Label("Dog", 90.0),), text=(), model_versions={"labels": "3.0", "text": "3.0"})
    later = Findings(text=None, properties=Properties(), model_versions={"labels": "3.1"})

    assert before | later == Findings(
        labels=(Label("Dog", 90.0),),
        text=(),
        properties=Properties(),
        model_versions={"labels": "3.1", "text": "3.0"},
    )
    assert (before | later).told == {Detector.LABELS, Detector.TEXT, Detector.PROPERTIES}


def test_nothing_is_told_without_an_answer() -> None:
    assert Findings().told == set()


OTHERS = {
    "detectors": frozenset({Detector.TEXT}),
    "min_confidence": 50.5,
    "max_labels": 31,
    "include_labels": ("Dog",),
    "exclude_labels": ("Dog",),
    "include_categories": ("Dog",),
    "exclude_categories": ("Dog",),
    "min_moderation_confidence": 50.5,
    "min_text_confidence": 80.5,
    "max_colors": 11,
}


def test_every_other_question_has_another_fingerprint() -> None:
    assert set(OTHERS) == set(vars(Recipe()))

    fingerprints = {replace(Recipe(), **{name: value}).fingerprint for name, value in OTHERS.items()}  # type: ignore[arg-type]

    assert len(fingerprints | {Recipe().fingerprint}) == len(OTHERS) + 1


def test_a_fingerprint_is_the_same_in_every_process() -> None:
    detectors = [Detector.TEXT, Detector.MODERATION, Detector.LABELS]  # a set's order differs by process

    assert Recipe(frozenset(detectors)).fingerprint == Recipe(frozenset(reversed(detectors))).fingerprint
    assert Recipe().fingerprint == "5f6bc55a23ff773bd521c3d7dcbc270bf10976ee3fffd1dcb704bd8f5f5263c8"


PILLS = (
    ModerationLabel("Pills", 80.0, "Products", 3),
    ModerationLabel("Products", 80.0, "Drugs & Tobacco", 2),
)


@pytest.mark.parametrize(
    ("triggers", "flagged"),
    [
        pytest.param({"Pills": 80.0}, True, id="third level"),
        pytest.param({"Products": 80.0}, True, id="second level"),
        pytest.param({"Drugs & Tobacco": 80.0}, True, id="first level"),
        pytest.param({"drugs & tobacco": 80.0}, True, id="in any case"),
        pytest.param({"Pills": 80.1}, False, id="not sure enough"),
        pytest.param({"Pills": 99.0, "Products": 50.0}, True, id="one of two"),
        pytest.param({"Violence": 0.0}, False, id="another name"),
        pytest.param({}, False, id="none"),
    ],
)
def test_a_picture_is_flagged_by_a_name_at_any_level(triggers: dict[str, float], flagged: bool) -> None:
    assert is_flagged(PILLS, triggers) is flagged


def test_nothing_seen_flags_nothing() -> None:
    assert is_flagged((), {"Violence": 0.0}) is False


def test_a_summary_names_the_five_most_confident_labels() -> None:
    labels = tuple(Label(f"L{confidence}", confidence) for confidence in (1.0, 6.0, 2.0, 5.0, 3.0, 4.0))
    image = Image("car.png", Status.LABELLED, None, labelled_at="2026-01-02T03:04:05Z", labels=labels)

    assert image.summary == Summary(
        "car.png",
        Status.LABELLED,
        None,
        "2026-01-02T03:04:05Z",
        tuple(TopLabel(f"L{confidence}", confidence) for confidence in (6.0, 5.0, 4.0, 3.0, 2.0)),
    )


def test_equally_confident_labels_keep_their_order() -> None:
    labels = (Label("Dog", 90.0), Label("Animal", 90.0))

    assert top_labels(labels) == (TopLabel("Dog", 90.0), TopLabel("Animal", 90.0))


@pytest.mark.parametrize(
    ("version_id", "version"), [("v1", "v1"), (None, "etag")], ids=["versioned", "unversioned"]
)
def test_an_object_without_versions_is_told_by_its_etag(version_id: str | None, version: str) -> None:
    found = StoredObject("k", version_id, "etag", 1, None, datetime(2026, 1, 2, tzinfo=UTC), {}, b"")

    assert found.version == version
