import pytest
from PIL import Image

from local_cloud.recognition.boxes import Box
from local_cloud.recognition.codes import CodeDetector
from tests.local_cloud.recognition.drawing import (
    checks,
    draw_qr_code,
    labels_of,
    noise,
    picture_of,
    sample,
    write,
)


def stick(*places: tuple[int, int], angle: int = 0) -> Image.Image:
    poster = Image.new("RGB", (800, 600), "white")
    for number, place in enumerate(places):
        code = draw_qr_code(f"https://example.com/{number}")
        poster.paste(code.rotate(angle, fillcolor="white"), place)
    return poster


@pytest.mark.parametrize("angle", [0, 10, 90, 180])
def test_a_code_is_found_in_its_place(angle: int) -> None:
    found = CodeDetector().detect(picture_of(stick((100, 300), angle=angle)))

    assert [(seen.label, seen.confidence) for seen in found] == [("QR Code", 99.0)]
    assert found[0].box is not None
    assert found[0].box.overlap(Box(100 / 800, 300 / 600, 200 / 800, 200 / 600)) > 0.7


def test_every_code_is_found() -> None:
    found = CodeDetector().detect(picture_of(stick((50, 50), (500, 300))))

    assert labels_of(found) == ["QR Code", "QR Code"]


def test_a_code_that_cannot_be_read_is_none() -> None:
    torn = stick((100, 300))
    torn.paste("grey", (150, 350, 300, 500))

    assert CodeDetector().detect(picture_of(torn)) == []


@pytest.mark.parametrize(
    "image",
    [
        pytest.param(sample("astronaut.png"), id="astronaut"),
        pytest.param(sample("coffee.png"), id="coffee"),
        pytest.param(checks(20), id="checks"),
        pytest.param(noise(1, 1), id="noise"),
        pytest.param(noise(1, 8), id="blurred noise"),
        pytest.param(write("QR"), id="writing"),
        pytest.param(Image.new("RGB", (4000, 80)), id="strip"),
    ],
)
def test_other_pictures_have_no_code(image: Image.Image) -> None:
    assert CodeDetector().detect(picture_of(image)) == []
