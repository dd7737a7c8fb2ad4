import unicodedata
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from chalicelib.model import (
    Box,
    Instance,
    Label,
    Line,
    Moderation,
    ModerationLabel,
    Word,
    label_key,
)
from chalicelib.room import MAX_BOXES, MAX_NAME, storable_labels, storable_moderation, storable_text


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


def with_boxes(name: str, confidence: float, boxes: int) -> Label:
    instances = tuple(Instance(confidence, Box(0.0, 0.0, 0.5, n / 10_000)) for n in range(boxes))
    return Label(name, confidence, instances=instances)
