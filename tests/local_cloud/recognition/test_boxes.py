import pytest
from hypothesis import given
from hypothesis import strategies as st

from local_cloud.recognition.boxes import Box, Detection, merge_overlapping

WHOLE = Box(0, 0, 1, 1)
RATIOS = st.floats(-2, 3, allow_nan=False)


@pytest.mark.parametrize(
    ("one", "other", "overlap"),
    [
        pytest.param(WHOLE, WHOLE, 1, id="same"),
        pytest.param(WHOLE, Box(0, 0, 0.5, 1), 0.5, id="half"),
        pytest.param(Box(0, 0, 0.5, 1), Box(0.5, 0, 0.5, 1), 0, id="side by side"),
        pytest.param(Box(0, 0, 0.1, 0.1), Box(0.8, 0.8, 0.1, 0.1), 0, id="apart"),
        pytest.param(Box(0.3, 0.3, 0, 0), Box(0.3, 0.3, 0, 0), 0, id="without area"),
    ],
)
def test_overlap_is_the_common_part_of_both(one: Box, other: Box, overlap: float) -> None:
    assert one.overlap(other) == other.overlap(one) == pytest.approx(overlap)


@given(RATIOS, RATIOS, RATIOS.map(abs), RATIOS.map(abs))
def test_a_clipped_box_is_within_the_picture(left: float, top: float, width: float, height: float) -> None:
    box = Box(left, top, width, height).clipped()

    assert 0 <= box.left <= box.right <= 1 + 1e-9
    assert 0 <= box.top <= box.bottom <= 1 + 1e-9
    assert box.width >= 0
    assert box.height >= 0


def test_a_box_in_a_frame_has_a_place_in_the_picture() -> None:
    frame = Box(0.5, 0.2, 0.4, 0.8)

    assert Box(0.25, 0.5, 0.5, 0.25).within(frame) == Box(0.6, 0.6000000000000001, 0.2, 0.2)
    assert WHOLE.within(frame) == frame


def test_a_widened_box_has_the_same_centre() -> None:
    assert Box(0.25, 0.5, 0.25, 0.125).widened() == Box(0.125, 0.4375, 0.5, 0.25)


def test_overlapping_boxes_of_one_label_become_its_most_confident() -> None:
    worse = Detection("Cup", 60, Box(0.1, 0.1, 0.5, 0.5))
    best = Detection("Cup", 90, Box(0.12, 0.1, 0.5, 0.5))
    elsewhere = Detection("Cup", 70, Box(0.7, 0.7, 0.2, 0.2))

    assert merge_overlapping([worse, best, elsewhere]) == [best, elsewhere]


def test_two_labels_overlap_unless_they_claim_the_same_box() -> None:
    rider = Detection("Person", 90, Box(0.2, 0.1, 0.4, 0.6))
    horse = Detection("Horse", 80, Box(0.2, 0.2, 0.4, 0.7))
    cow = Detection("Cow", 60, Box(0.21, 0.2, 0.4, 0.7))

    assert merge_overlapping([cow, horse, rider]) == [rider, horse]


def test_a_label_without_a_place_is_kept_once() -> None:
    tabby = Detection("tabby", 60)

    assert merge_overlapping([tabby, Detection("tabby", 50), Detection("lynx", 40)]) == [
        tabby,
        Detection("lynx", 40),
    ]
