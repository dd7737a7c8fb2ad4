from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image, ImageColor

from local_cloud.recognition.colours import GROUPS, SIMPLIFIED, Colours, dominant_colours, nearest_css_colour
from tests.local_cloud.recognition.drawing import noise, sample


def pixels(*shares: tuple[str, int]) -> Colours:
    """So many pixels of each colour."""
    colours = [ImageColor.getrgb(name)[:3] for name, count in shares for _ in range(count)]
    return np.array(colours, np.uint8)


def pixels_of(image: Image.Image) -> Colours:
    return np.asarray(image).reshape(-1, 3)


def test_a_colour_is_told_in_all_of_rekognitions_ways() -> None:
    assert dominant_colours(pixels(("steelblue", 100)), 10) == [
        {
            "Red": 70,
            "Green": 130,
            "Blue": 180,
            "HexCode": "#4682b4",
            "CSSColor": "steelblue",
            "SimplifiedColor": "blue",
            "PixelPercent": 100.0,
        }
    ]


def test_the_most_frequent_colours_come_first_with_their_shares() -> None:
    colours = dominant_colours(pixels(("navy", 200), ("gold", 500), ("white", 300)), 10)

    assert [(colour["CSSColor"], colour["PixelPercent"]) for colour in colours] == [
        ("gold", 50.0),
        ("white", 30.0),
        ("navy", 20.0),
    ]


@pytest.mark.parametrize("most", [0, 1, 2, 20])
def test_no_more_are_told_than_wanted(most: int) -> None:
    colours = dominant_colours(pixels(("navy", 200), ("gold", 500), ("white", 300)), most)

    assert [colour["CSSColor"] for colour in colours] == ["gold", "white", "navy"][:most]


def test_shades_that_look_alike_are_one_colour() -> None:
    colours = dominant_colours(pixels(("#c80000", 60), ("#cc0404", 40), ("blue", 300)), 10)

    assert [(colour["SimplifiedColor"], colour["PixelPercent"]) for colour in colours] == [
        ("blue", 75.0),
        ("red", 25.0),
    ]


def test_traces_are_no_dominant_colour() -> None:
    colours = dominant_colours(pixels(("white", 997), ("red", 3)), 10)

    assert [colour["CSSColor"] for colour in colours] == ["white"]


def test_a_colourful_picture_has_many_colours() -> None:
    colours = dominant_colours(pixels_of(noise(3, 1)), 20)

    assert len(colours) > 10
    assert sum(colour["PixelPercent"] for colour in colours) == pytest.approx(100, abs=0.01)


def test_no_pixels_have_no_colours() -> None:
    assert dominant_colours(pixels_of(Image.new("RGB", (0, 0))), 10) == []


@pytest.mark.parametrize("name", ["astronaut.png", "coffee.png"])
def test_the_same_picture_has_the_same_colours_in_every_thread(name: str) -> None:
    picture = pixels_of(sample(name))

    with ThreadPoolExecutor(3) as pool:
        answers = list(pool.map(lambda _: dominant_colours(picture, 20), range(6)))

    assert answers == [answers[0]] * 6


def test_every_css_colour_is_its_own_nearest_and_in_one_of_twelve_groups() -> None:
    known = {Image.new("RGB", (1, 1), name).getpixel((0, 0)): name for name in ImageColor.colormap}

    assert len(GROUPS) == 12
    assert sum(len(names.split()) for names in GROUPS.values()) == len(SIMPLIFIED) == len(known)
    assert {ImageColor.getrgb(name) for name in SIMPLIFIED} == known.keys()
    assert [nearest_css_colour(pixels((name, 1))[0]) for name in SIMPLIFIED] == list(SIMPLIFIED)


@pytest.mark.parametrize(
    ("colour", "simplified"),
    [
        ("#101010", "black"),
        ("#f8f8f8", "white"),
        ("#909090", "grey"),
        ("#e01020", "red"),
        ("#ff8c10", "orange"),
        ("#f8e020", "yellow"),
        ("#20a030", "green"),
        ("#10b0b0", "cyan"),
        ("#2040d0", "blue"),
        ("#8030b0", "purple"),
        ("#ff80b8", "pink"),
        ("#8a4a20", "brown"),
    ],
)
def test_a_colour_is_simplified_as_people_would(colour: str, simplified: str) -> None:
    assert dominant_colours(pixels((colour, 1)), 1)[0]["SimplifiedColor"] == simplified
