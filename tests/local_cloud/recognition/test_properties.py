import numpy as np
import pytest
from PIL import Image, ImageFilter

from local_cloud.recognition.boxes import Box
from local_cloud.recognition.properties import Appearance
from tests.local_cloud.recognition.drawing import checks, noise, picture_of, sample

EVERYTHING = Box(0, 0, 1, 1)


def quality(image: Image.Image) -> dict[str, float]:
    measured = Appearance(picture_of(image), 0).describe([])["Quality"]
    return {kind: measured[kind] for kind in ("Brightness", "Contrast", "Sharpness")}


def sharpness(image: Image.Image) -> float:
    return quality(image)["Sharpness"]


def framed(inner: str, outer: str, box: tuple[int, int, int, int]) -> Image.Image:
    image = Image.new("RGB", (400, 200), outer)
    image.paste(inner, box)
    return image


@pytest.mark.parametrize(
    ("image", "brightness", "contrast"),
    [
        pytest.param(Image.new("RGB", (90, 90), "black"), 0, 0, id="black"),
        pytest.param(Image.new("RGB", (90, 90), "white"), 100, 0, id="white"),
        pytest.param(Image.new("RGB", (90, 90), "#777777"), 50, 0, id="grey"),
        pytest.param(checks(50), 50, 100, id="black and white"),
    ],
)
def test_brightness_and_contrast_go_from_0_to_100(
    image: Image.Image, brightness: float, contrast: float
) -> None:
    measured = quality(image)

    assert measured["Brightness"] == pytest.approx(brightness, abs=0.5)
    assert measured["Contrast"] == pytest.approx(contrast, abs=0.5)


@pytest.mark.parametrize("name", ["astronaut.png", "chelsea.png", "coffee.png", "rocket.jpg"])
def test_sharpness_falls_as_a_picture_is_blurred(name: str) -> None:
    original = sample(name)
    blurred = [original.filter(ImageFilter.GaussianBlur(radius)) for radius in (0, 1, 2, 4, 8)]

    measured = [sharpness(image) for image in blurred]

    assert measured == sorted(measured, reverse=True)
    assert measured[0] > 65
    assert measured[-1] < 30


def test_sharpness_does_not_depend_on_brightness() -> None:
    dark = sample("coffee.png").point(lambda value: value / 3)

    assert sharpness(dark) == pytest.approx(sharpness(sample("coffee.png")), abs=6)


def test_motion_in_one_direction_blurs() -> None:
    pixels = np.asarray(sample("coffee.png"))
    moved = np.mean([np.roll(pixels, shift, axis=1) for shift in range(12)], axis=0).astype(np.uint8)

    assert sharpness(Image.fromarray(moved)) < sharpness(sample("coffee.png")) / 2


def test_noise_is_sharp_and_a_blank_is_not() -> None:
    assert sharpness(noise(1, 1)) > 90
    assert sharpness(Image.new("RGB", (90, 90), "teal")) == 0


def test_what_was_found_is_the_foreground() -> None:
    image = framed("red", "white", (100, 50, 200, 150))

    properties = Appearance(picture_of(image), 10).describe([Box(0.25, 0.25, 0.25, 0.5)])

    assert [colour["CSSColor"] for colour in properties["DominantColors"]] == ["white", "red"]
    assert [colour["PixelPercent"] for colour in properties["DominantColors"]] == pytest.approx(
        [87.5, 12.5], abs=0.1
    )
    assert [colour["CSSColor"] for colour in properties["Foreground"]["DominantColors"]] == ["red"]
    assert [colour["CSSColor"] for colour in properties["Background"]["DominantColors"]] == ["white"]
    assert properties["Background"]["Quality"] == {"Brightness": 100.0, "Sharpness": 0.0}
    assert properties["Foreground"]["Quality"].keys() == {"Brightness", "Sharpness"}


def test_several_things_found_are_one_foreground() -> None:
    image = framed("red", "white", (0, 0, 100, 200))
    image.paste("blue", (300, 0, 400, 200))

    properties = Appearance(picture_of(image), 10).describe([Box(0, 0, 0.25, 1), Box(0.75, 0, 0.25, 1)])

    assert {colour["CSSColor"] for colour in properties["Foreground"]["DominantColors"]} == {"red", "blue"}


def test_the_middle_is_the_foreground_where_nothing_was_found() -> None:
    image = framed("red", "white", (100, 50, 300, 150))

    properties = Appearance(picture_of(image), 10).describe([])

    assert [colour["PixelPercent"] for colour in properties["Foreground"]["DominantColors"]] == [100.0]
    assert [colour["CSSColor"] for colour in properties["Background"]["DominantColors"]] == ["white"]


@pytest.mark.parametrize(
    ("box", "left_out"),
    [
        pytest.param(EVERYTHING, "Background", id="it fills the picture"),
        pytest.param(Box(0.5, 0.5, 0.0001, 0.5), "Foreground", id="it has no pixel"),
    ],
)
def test_a_part_without_pixels_is_left_out(box: Box, left_out: str) -> None:
    properties = Appearance(picture_of(sample("coffee.png")), 10).describe([box])

    assert {"Foreground", "Background"} - properties.keys() == {left_out}


def test_no_more_colours_are_told_than_wanted_in_any_part() -> None:
    properties = Appearance(picture_of(sample("coffee.png")), 2).describe([Box(0.1, 0.1, 0.5, 0.5)])

    parts = (properties, properties["Foreground"], properties["Background"])
    assert [len(part["DominantColors"]) for part in parts] == [2, 2, 2]


def test_a_large_picture_looks_as_its_smaller_copy() -> None:
    small = quality(sample("coffee.png"))
    large = quality(sample("coffee.png").resize((1800, 1200), Image.Resampling.BICUBIC))

    assert large == pytest.approx(small, rel=0.05)
