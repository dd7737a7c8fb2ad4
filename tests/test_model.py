import base64
import unicodedata
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from chalicelib.model import (
    MAX_BOXES,
    MAX_LABEL_BYTES,
    MAX_NAME,
    VISIBLE,
    Box,
    Claim,
    Detector,
    Findings,
    Image,
    Instance,
    Label,
    Line,
    Moderation,
    ModerationLabel,
    Partial,
    Properties,
    Recipe,
    Status,
    StoredObject,
    Summary,
    TopLabel,
    Word,
    image_id,
    is_flagged,
    is_object_key,
    label_key,
    source_file,
    storable_labels,
    storable_moderation,
    storable_text,
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


def test_the_most_confident_labels_are_stored() -> None:
    labels = tuple(Label(f"L{confidence}", confidence) for confidence in (60.0, 90.0, 70.0, 80.0))

    assert storable_labels(labels, 2) == (Label("L90.0", 90.0), Label("L80.0", 80.0))


def test_of_labels_with_one_key_the_most_confident_is_stored() -> None:
    labels = (Label("dog", 60.0), Label("Dog", 90.0), Label("Cat", 70.0), Label("DOG", 80.0))

    assert storable_labels(labels, 3) == (Label("Dog", 90.0), Label("Cat", 70.0))


def test_labels_that_share_a_key_do_not_crowd_out_others() -> None:
    labels = (Label("Dog", 90.0), Label("dog", 89.0), Label("Cat", 50.0))

    assert storable_labels(labels, 2) == (Label("Dog", 90.0), Label("Cat", 50.0))


def test_boxes_beyond_what_a_row_holds_are_cut_from_the_least_confident_labels() -> None:
    labels = (with_boxes("Leaf", 60.0, 300), with_boxes("Tree", 90.0, 150), with_boxes("Twig", 50.0, 1))

    stored = storable_labels(labels, 10)

    assert [(label.name, len(label.instances)) for label in stored] == [
        ("Tree", 150),
        ("Leaf", MAX_BOXES - 150),
        ("Twig", 0),
    ]


def test_the_first_boxes_of_a_label_stay() -> None:
    tree = with_boxes("Tree", 90.0, MAX_BOXES + 5)

    assert storable_labels((tree,), 1) == (with_boxes("Tree", 90.0, MAX_BOXES),)


@given(
    st.lists(st.tuples(st.text("aAbB", max_size=3), st.floats(0, 100), st.integers(0, 600)), max_size=12),
    st.integers(1, 8),
)
def test_what_is_storable_is_distinct_ordered_and_within_bounds(
    specs: list[tuple[str, float, int]], most: int
) -> None:
    labels = tuple(with_boxes(name, confidence, boxes) for name, confidence, boxes in specs)

    stored = storable_labels(labels, most)

    keys = [label_key(label.name) for label in stored]
    assert len(stored) == min(most, len({label_key(name) for name, _, _ in specs}))
    assert len(keys) == len(set(keys))
    assert [label.confidence for label in stored] == sorted((s.confidence for s in stored), reverse=True)
    assert sum(len(label.instances) for label in stored) <= MAX_BOXES
    assert storable_labels(stored, most) == stored


def test_a_long_name_is_cut_and_found_as_it_was() -> None:
    name = "\N{LATIN CAPITAL LETTER E WITH ACUTE}" * MAX_NAME

    [label] = storable_labels([Label(name + "x", 90.0)], 1)

    assert label.name == name
    assert label_key(label.name) == label_key(unicodedata.normalize("NFD", name + "x"))


def test_what_a_row_has_no_room_for_costs_what_comes_after_it_nothing() -> None:
    chatty = Label("Chatty", 95.0, aliases=("alias " * 20_000,))

    assert storable_labels([chatty, Label("Dog", 90.0)], 2) == (Label("Dog", 90.0),)


def test_all_that_detect_text_can_tell_fits_a_row() -> None:
    box = Box(*[0.30000001192092896] * 4)
    word = Word("Donaudampfschiff", 99.12345886230469, box)
    lines = (Line(word.word, word.confidence, box, (word,)),) * 100

    assert storable_text(lines) == lines


def test_the_first_of_too_many_lines_are_stored() -> None:
    lines = [Line(f"{number} {'word ' * 1000}", 99.0, Box(0, 0, 1, 1)) for number in range(20)]

    stored = storable_text(lines)

    assert 1 < len(stored) < 20
    assert list(stored) == lines[: len(stored)]


def test_the_whole_taxonomy_of_moderation_fits_a_row() -> None:
    label = ModerationLabel("Exposed Female Genitalia", 99.12345886230469, "Explicit Nudity", 3)
    moderation = Moderation(True, (label,) * 80, ("Animated", "Illustrated"))

    assert storable_moderation(moderation) == moderation


def test_too_many_labels_of_moderation_are_cut() -> None:
    moderation = Moderation(True, (ModerationLabel("Violence", 99.0, None, 1),) * 999, ("Animated",))

    stored = storable_moderation(moderation)

    assert 80 < len(stored.labels) < 999
    assert replace(stored, labels=moderation.labels) == moderation


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


KNOWN = Findings(text=(), model_versions={"text": "3.0"})


def found(version: str, **metadata: str) -> StoredObject:
    return StoredObject("car.png", version, "e", 1, None, datetime(2026, 1, 2, tzinfo=UTC), metadata, b"")


@pytest.mark.parametrize(
    ("version", "recipe", "known"),
    [
        pytest.param("v1", "today's", KNOWN, id="same version, same question"),
        pytest.param("v2", "today's", Findings(), id="other version"),
        pytest.param("v1", "another", Findings(), id="other question"),
    ],
)
def test_what_is_known_of_a_version_need_not_be_asked_again(
    version: str, recipe: str, known: Findings
) -> None:
    claim = Claim("r1", None, "v1", 0, (), partial=Partial("v1", "today's", KNOWN))

    assert claim.known(found(version), recipe) == Partial(version, recipe, known)


@pytest.mark.parametrize(
    ("version", "recipe", "is_counted"),
    [("v1", "today's", True), ("v1", "another", True), ("v2", "today's", False)],
    ids=["same version", "other question", "other version"],
)
def test_a_version_is_counted_once_whatever_is_asked(version: str, recipe: str, is_counted: bool) -> None:
    claim = Claim("r1", None, "v1", 0, (), partial=Partial("v1", "today's", KNOWN, is_counted=True))

    assert claim.known(found(version), recipe).is_counted is is_counted


def test_nothing_is_known_of_what_nobody_has_looked_at() -> None:
    claim = Claim("r1", None, "v1", 0, ())

    assert claim.known(found("v1"), "today's") == Partial("v1", "today's", Findings())


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


@pytest.mark.parametrize(
    ("run", "committed_run", "asked", "answers"),
    [
        pytest.param("r1", "r1", "v1", True, id="finished, same version"),
        pytest.param("r1", "r1", "v2", False, id="finished, other version"),
        pytest.param("r1", "r1", None, False, id="finished, object gone"),
        pytest.param("r2", "r1", "v1", False, id="claimed again"),
        pytest.param("r1", None, "v1", False, id="never committed"),
        pytest.param(None, None, "v1", False, id="never claimed"),
    ],
)
def test_a_row_answers_for_the_version_that_its_last_run_committed(
    run: str | None, committed_run: str | None, asked: str | None, answers: bool
) -> None:
    claim = Claim(run, committed_run, "v1", lease_until=0, label_keys=())

    assert claim.answers(asked) is answers


def test_a_row_answers_for_nothing_while_another_answer_is_wanted() -> None:
    claim = Claim("r1", "r1", "v1", 100.0, (), relabel="t2", relabelled="t1")

    assert claim.answers("v1") is False
    assert claim.is_held("v1", 99.9) is False
    assert claim.is_wanted_anew is True


def test_a_row_answers_again_once_a_wish_came_true() -> None:
    claim = Claim("r1", "r1", "v1", 100.0, (), relabel="t2", relabelled="t2")

    assert claim.answers("v1") is True
    assert claim.is_wanted_anew is False


def test_a_tombstone_answers_for_there_being_no_object() -> None:
    assert Claim("r1", "r1", None, 0, ()).answers(None) is True


def test_a_row_that_nobody_claimed_does_not_answer_for_there_being_no_object() -> None:
    assert Claim(None, None, None, 0, ()).answers(None) is False


@pytest.mark.parametrize(
    ("committed_run", "asked", "now", "held"),
    [
        pytest.param(None, "v1", 99.9, True, id="within the lease"),
        pytest.param("r0", "v1", 99.9, True, id="an older answer stands"),
        pytest.param(None, "v1", 100.0, False, id="lease over"),
        pytest.param(None, "v2", 99.9, False, id="other version"),
        pytest.param("r1", "v1", 99.9, False, id="finished"),
    ],
)
def test_a_row_is_held_while_somebody_is_at_work_on_that_version(
    committed_run: str | None, asked: str, now: float, held: bool
) -> None:
    claim = Claim("r1", committed_run, "v1", lease_until=100.0, label_keys=())

    assert claim.is_held(asked, now) is held


def with_boxes(name: str, confidence: float, boxes: int) -> Label:
    instances = tuple(Instance(confidence, Box(0.0, 0.0, 0.5, n / 10_000)) for n in range(boxes))
    return Label(name, confidence, instances=instances)
