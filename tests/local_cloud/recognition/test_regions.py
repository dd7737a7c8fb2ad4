from typing import Any

import numpy as np
import pytest

from local_cloud.recognition.errors import InvalidRequest
from local_cloud.recognition.regions import Regions

WORD = np.array([[0.4, 0.4], [0.6, 0.4], [0.6, 0.5], [0.4, 0.5]])


def box(left: float, top: float, width: float, height: float) -> dict[str, Any]:
    return {"BoundingBox": {"Left": left, "Top": top, "Width": width, "Height": height}}


def polygon(*points: tuple[float, float]) -> dict[str, Any]:
    return {"Polygon": [{"X": x, "Y": y} for x, y in points]}


@pytest.mark.parametrize(
    ("regions", "held"),
    [
        pytest.param([], True, id="no region is everywhere"),
        pytest.param([box(0, 0, 1, 1)], True, id="whole picture"),
        pytest.param([box(0, 0, 0.51, 1)], True, id="a little more than half"),
        pytest.param([box(0, 0, 0.49, 1)], False, id="a little less than half"),
        pytest.param([box(0, 0, 0.49, 1), box(0.51, 0, 0.49, 1)], False, id="two that hold a little less"),
        pytest.param([box(0.8, 0.8, 0.1, 0.1), box(0.3, 0.3, 0.3, 0.3)], True, id="the second of two"),
        pytest.param([polygon((0, 0), (1, 0), (0, 1))], True, id="triangle over it"),
        pytest.param([polygon((1, 0), (1, 1), (0, 1))], False, id="triangle beside it"),
        pytest.param([polygon((0, 0), (1, 0), (0.5, 0.45), (1, 1), (0, 1))], True, id="with a notch"),
        pytest.param([box(0.4, 0.4, 0.0001, 0.0001)], False, id="a speck"),
        pytest.param([box(0.9, 0.9, 1, 1)], False, id="over the edge"),
    ],
)
def test_a_region_holds_a_word_by_more_than_half(regions: list[dict[str, Any]], held: bool) -> None:
    assert Regions(regions).hold(WORD) is held


def test_a_slanted_word_counts_by_its_corners_and_not_by_the_box_around_them() -> None:
    slanted = np.array([[0.1, 0.8], [0.8, 0.1], [0.9, 0.2], [0.2, 0.9]])

    assert Regions([polygon((0, 0.7), (0.7, 0), (1, 0.3), (0.3, 1))]).hold(slanted)
    assert not Regions([polygon((0, 0), (0.85, 0), (0, 0.85))]).hold(slanted)


def test_a_word_at_the_edge_of_the_picture_is_in_it() -> None:
    assert Regions([box(0.5, 0.5, 0.5, 0.5)]).hold(np.array([[0.9, 0.9], [1, 0.9], [1, 1], [0.9, 1]]))


@pytest.mark.parametrize(
    ("region", "why"),
    [
        pytest.param({}, "either BoundingBox or Polygon", id="empty"),
        pytest.param({**box(0, 0, 1, 1), **polygon((0, 0), (1, 0), (1, 1))}, "either", id="both"),
        pytest.param({"BoundingBox": {"Left": 0, "Top": 0}}, "Left, Top, Width and Height", id="half a box"),
        pytest.param(box(0, 0, 0, 1), "must have an area", id="no width"),
        pytest.param(box(0, 0, 1, 1.5), "1.5 is no ratio", id="in pixels"),
        pytest.param(box(-0.1, 0, 1, 1), "-0.1 is no ratio", id="negative"),
        pytest.param(polygon((0, 0), (1, 1)), "3 to 10 points", id="a line"),
        pytest.param(polygon(*[(0, 0)] * 11), "3 to 10 points", id="eleven corners"),
        pytest.param(polygon((0, 0), (1, 0), (1, 2)), "2 is no ratio", id="corner outside"),
        pytest.param({"Polygon": [{"X": 0}] * 3}, "must have X and Y", id="no Y"),
    ],
)
def test_what_is_no_region_is_refused(region: dict[str, Any], why: str) -> None:
    with pytest.raises(InvalidRequest, match=why):
        Regions([region])
