from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from local_cloud.recognition import calibration
from local_cloud.recognition.calibration import CLASSIFIER, OBJECTS, TEXT, Table, calibrate

TABLES = pytest.mark.parametrize(
    "table",
    [
        pytest.param(OBJECTS, id="objects"),
        pytest.param(TEXT, id="text"),
        pytest.param(CLASSIFIER, id="classifier"),
    ],
)


@pytest.mark.parametrize(
    ("score", "confidence"),
    [
        pytest.param(0.349, None, id="a clock in a rocket"),
        pytest.param(0.35, 55, id="floor"),
        pytest.param(0.40, 65, id="between two points"),
        pytest.param(0.46, 76, id="cup"),
        pytest.param(0.54, 84, id="horse"),
        pytest.param(0.60, 90, id="person"),
        pytest.param(1.0, 99.5, id="certain"),
        pytest.param(1.5, 99.5, id="more than certain"),
        pytest.param(float("nan"), None, id="no number"),
    ],
)
def test_the_object_detectors_low_scores_are_lifted(score: float, confidence: float | None) -> None:
    assert calibrate(OBJECTS, score) == (None if confidence is None else pytest.approx(confidence))


@TABLES
def test_a_table_rises_within_the_scale(table: Table) -> None:
    assert all(low < high and below < above for (low, below), (high, above) in pairwise(table))
    assert all(0 <= confidence <= 100 for _, confidence in table)


@TABLES
@given(st.floats(0, 1), st.floats(0, 1))
def test_a_higher_score_is_never_less_sure(table: Table, one: float, other: float) -> None:
    low, high = (calibrate(table, score) or 0 for score in sorted((one, other)))

    assert low <= high


@pytest.mark.parametrize("name", ["FACE", "CODE"])
def test_a_detector_without_scores_has_a_fixed_confidence(name: str) -> None:
    assert 55 < getattr(calibration, name) < 100
