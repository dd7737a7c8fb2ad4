import math
import re

import pytest
from PIL import Image, ImageDraw, ImageFont

from local_cloud.recognition.boxes import Box
from local_cloud.recognition.text import TextDetector, TextLine
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


def words_of(line: TextLine) -> list[str]:
    return [word.text for word in line.words]


def test_every_word_has_its_place_in_the_line(text: TextDetector) -> None:
    sentence = "first 2nd and some longer word5"
    font = ImageFont.load_default(48)
    ends = [40 + font.getlength(sentence[: found.end()]) for found in re.finditer(r"\w+", sentence)]
    starts = [40 + font.getlength(sentence[: found.start()]) for found in re.finditer(r"\w+", sentence)]

    line = text.read(picture_of(write(sentence, height=48)))[0]

    assert words_of(line) == sentence.split()
    assert [800 * word.box.left for word in line.words] == pytest.approx(starts, abs=15)
    assert [800 * word.box.right for word in line.words] == pytest.approx(ends, abs=15)
    assert [word.box.top for word in line.words] == pytest.approx([line.box.top] * 6, abs=0.01)
    assert [word.box.bottom for word in line.words] == pytest.approx([line.box.bottom] * 6, abs=0.01)


def test_the_words_of_a_line_are_those_between_its_spaces(text: TextDetector) -> None:
    line = text.read(picture_of(write("it's 42.5% of l-o-n-g (words), no?", height=40)))[0]

    assert words_of(line) == line.text.split() == ["it's", "42.5%", "of", "l-o-n-g", "(words),", "no?"]
    assert {word.confidence for word in line.words} == {line.confidence}


@pytest.mark.parametrize(
    ("angle", "first_is"),
    [(0, "left"), (90, "below"), (180, "right"), (270, "above"), (20, "left"), (-20, "left")],
)
def test_words_stand_where_they_are_read_in_turned_writing(
    text: TextDetector, angle: int, first_is: str
) -> None:
    image = write("first middle last", size=(640, 160), height=48)

    line = text.read(picture_of(image.rotate(angle, expand=True, fillcolor="white")))[0]

    assert words_of(line) == ["first", "middle", "last"]
    first, last = line.words[0].box, line.words[-1].box
    right, down = last.left - first.left, last.top - first.top
    across = "left" if right > 0 else "right"
    assert first_is == (across if abs(right) > abs(down) else "above" if down > 0 else "below")


@pytest.mark.parametrize(
    ("angle", "corner"), [(0, "top left"), (90, "bottom left"), (180, "bottom right"), (270, "top right")]
)
def test_corners_begin_at_the_top_left_of_the_first_letter(
    text: TextDetector, angle: int, corner: str
) -> None:
    turned = write("first middle last", size=(640, 160), height=48).rotate(angle, expand=True)

    line = text.read(picture_of(turned))[0]

    for writing in (line, *line.words):
        (x, y), box = writing.corners[0], writing.box
        vertical = "top" if y < box.top + box.height / 2 else "bottom"
        assert f"{vertical} {'left' if x < box.left + box.width / 2 else 'right'}" == corner


def test_a_slanted_line_has_slanted_corners(text: TextDetector) -> None:
    image = write("a slanted line", size=(640, 160), height=48).rotate(-20, expand=True, fillcolor="white")

    line = text.read(picture_of(image))[0]

    across, down = (line.corners[1] - line.corners[0]) * image.size
    assert math.degrees(math.atan2(down, across)) == pytest.approx(20, abs=3)


def test_a_picture_is_read_once(text: TextDetector) -> None:
    picture = picture_of(write("once and for all"))

    assert text.read(picture) is text.read(picture)


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
