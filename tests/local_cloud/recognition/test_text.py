import pytest
from PIL import Image, ImageDraw

from local_cloud.recognition.boxes import Box
from local_cloud.recognition.text import TextDetector
from tests.local_cloud.recognition.drawing import checks, labels_of, noise, picture_of, sample, write

PAGE = write(*(f"Line {number} of a letter" for number in range(6)), size=(400, 240), height=20)


def test_a_written_line_is_read_and_placed(text: TextDetector) -> None:
    line = text.read(picture_of(write("TAXI to Berlin 42", height=48)))[0]

    assert line.text == "TAXI to Berlin 42"
    assert line.confidence > 90
    assert line.box.overlap(Box(0.05, 0.065, 0.5, 0.08)) > 0.5


@pytest.mark.parametrize("angle", [90, 180, 270])
def test_turned_writing_is_read(text: TextDetector, angle: int) -> None:
    turned = write("TAXI to Berlin 42", size=(640, 160), height=48).rotate(angle, expand=True)

    assert [line.text for line in text.read(picture_of(turned))] == ["TAXI to Berlin 42"]


def test_lines_are_read_from_top_to_bottom(text: TextDetector) -> None:
    lines = text.read(picture_of(write("first line", "second line", "third line")))

    assert [line.text for line in lines] == ["first line", "second line", "third line"]


def test_a_word_is_text(text: TextDetector) -> None:
    found = text.detect(picture_of(write("EXIT", height=90)))

    assert labels_of(found) == ["Text"]
    assert found[0].confidence > 90
    assert found[0].box is None


def test_a_page_is_a_document_too(text: TextDetector) -> None:
    assert labels_of(text.detect(picture_of(PAGE))) == ["Text", "Document"]


def test_writing_in_a_narrow_strip_is_read_in_little_memory(text: TextDetector) -> None:
    strip = write("A very long line with much text in it", size=(4000, 80), height=40)

    assert text.read(picture_of(strip.crop((0, 0, 4000, 80))))[0].text.startswith("A very long line")


def ring() -> Image.Image:
    image = Image.new("RGB", (500, 500), "white")
    ImageDraw.Draw(image).ellipse((100, 100, 300, 300), outline="black", width=20)
    return image


@pytest.mark.parametrize(
    "image",
    [
        pytest.param(sample("coffee.png"), id="coffee"),
        pytest.param(sample("chelsea.png"), id="cat"),
        pytest.param(ring(), id="a ring, not an O"),
        pytest.param(checks(20), id="checks"),
        pytest.param(noise(1, 1), id="noise"),
        pytest.param(noise(1, 12), id="blurred noise"),
        pytest.param(Image.new("RGB", (80, 80), "white"), id="blank"),
    ],
)
def test_a_picture_without_writing_has_no_text(text: TextDetector, image: Image.Image) -> None:
    assert text.detect(picture_of(image)) == []
