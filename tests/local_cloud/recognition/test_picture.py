import io
import struct
import zlib
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from unittest.mock import Mock

import numpy as np
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from local_cloud.recognition import picture as picture_module
from local_cloud.recognition.errors import TooLarge, TooSmall, Unreadable
from local_cloud.recognition.picture import read_picture
from tests.local_cloud.recognition.drawing import SAMPLES, encode, noise, sample

RED, BLUE = (255, 0, 0), (0, 0, 255)
OPPOSITE = {"left": "right", "right": "left", "top": "bottom", "bottom": "top"}


def half_red_half_blue() -> Image.Image:
    """Red on the left, blue on the right."""
    image = Image.new("RGB", (120, 90), RED)
    image.paste(BLUE, (60, 0, 120, 90))
    return image


def header(width: int, height: int) -> bytes:
    """A PNG that promises so many pixels, and ends there."""
    chunk = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + struct.pack(">I", 13)
        + chunk
        + struct.pack(">I", zlib.crc32(chunk))
        + b"\0\0\0\1IDAT"
    )


def resize_jpeg(data: bytes, width: int, height: int) -> bytes:
    """The same JPEG with another size in its frame header."""
    start = data.index(b"\xff\xc0") + 5
    return data[:start] + struct.pack(">HH", height, width) + data[start + 4 :]


def colour_at(pixels: np.ndarray[tuple[int, ...], np.dtype[np.uint8]], x: float, y: float) -> str:
    height, width = pixels.shape[:2]
    red, _, blue = pixels[int(y * height), int(x * width)].tolist()
    return "red" if red > blue else "blue"


@pytest.mark.parametrize("mode", ["RGB", "L", "1", "P", "RGBA", "LA", "I;16"])
def test_every_kind_of_png_becomes_rgb(mode: str) -> None:
    picture = read_picture(encode(sample("coffee.png").convert("L").convert(mode)))

    assert picture.pixels.shape == (400, 600, 3)
    assert picture.pixels.dtype == np.uint8


@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
def test_every_kind_of_jpeg_becomes_rgb(mode: str) -> None:
    picture = read_picture(encode(sample("coffee.png").convert(mode), "JPEG"))

    assert picture.pixels.shape == (400, 600, 3)
    assert abs(picture.pixels.mean() - np.asarray(sample("coffee.png").convert("L")).mean()) < 30


def test_sixteen_bits_a_channel_keep_their_brightness() -> None:
    grey = Image.fromarray(np.full((100, 100), 0x8000, np.uint16))

    assert read_picture(encode(grey)).pixels[50, 50].tolist() == [0x80, 0x80, 0x80]


def test_what_is_transparent_is_white() -> None:
    ink = Image.new("RGBA", (100, 100), (0, 0, 0, 0))
    ink.paste((0, 0, 0, 255), (0, 0, 50, 100))

    pixels = read_picture(encode(ink)).pixels

    assert pixels[50, [25, 75]].tolist() == [[0, 0, 0], [255, 255, 255]]


def test_the_first_frame_of_an_animation_counts() -> None:
    frames = [Image.new("RGB", (90, 90), colour) for colour in (RED, BLUE)]

    picture = read_picture(encode(frames[0], save_all=True, append_images=frames[1:]))

    assert picture.pixels[45, 45].tolist() == list(RED)


@pytest.mark.parametrize(
    ("orientation", "red_at"),
    [
        (1, "left"),
        (2, "right"),
        (3, "right"),
        (4, "left"),
        (5, "top"),
        (6, "top"),
        (7, "bottom"),
        (8, "bottom"),
    ],
)
def test_a_jpeg_is_turned_as_its_exif_says(orientation: int, red_at: str) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    places = {"left": (0.1, 0.5), "right": (0.9, 0.5), "top": (0.5, 0.1), "bottom": (0.5, 0.9)}

    pixels = read_picture(encode(half_red_half_blue(), "JPEG", exif=exif)).pixels

    assert colour_at(pixels, *places[red_at]) == "red"
    assert colour_at(pixels, *places[OPPOSITE[red_at]]) == "blue"
    assert pixels.shape[:2] == ((90, 120) if orientation <= 4 else (120, 90))


def test_a_png_is_not_turned() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6

    pixels = read_picture(encode(half_red_half_blue(), exif=exif)).pixels

    assert pixels.shape == (90, 120, 3)
    assert colour_at(pixels, 0.1, 0.5) == "red"


@pytest.mark.filterwarnings("ignore:.*EXIF.*:UserWarning")
def test_broken_exif_leaves_a_jpeg_as_it_is() -> None:
    data = encode(half_red_half_blue(), "JPEG", exif=b"Exif\0\0MM\0\x2a\0\0\0\x08\0\x05garbage")

    assert read_picture(data).pixels.shape == (90, 120, 3)


@pytest.mark.parametrize("fmt", ["PNG", "JPEG"])
def test_a_large_picture_is_shrunk_to_work_on(fmt: str) -> None:
    picture = read_picture(encode(Image.new("RGB", (5000, 2500), "teal"), fmt))

    assert (picture.width, picture.height) == (5000, 2500)
    assert picture.pixels.shape == (1000, 2000, 3)


@pytest.mark.parametrize("size", [(80, 80), (10_000, 80), (80, 10_000)])
@pytest.mark.parametrize("fmt", ["PNG", "JPEG"])
def test_the_limits_themselves_are_allowed(size: tuple[int, int], fmt: str) -> None:
    picture = read_picture(encode(Image.new("RGB", size, "teal"), fmt))

    assert (picture.width, picture.height) == size
    assert picture.pixels.ndim == 3


@pytest.mark.parametrize("size", [(79, 80), (80, 79), (1, 1)])
def test_a_side_under_80_pixels_is_too_small(size: tuple[int, int]) -> None:
    with pytest.raises(TooSmall, match=rf"{size[0]} x {size[1]} pixels"):
        read_picture(encode(Image.new("RGB", size)))


@pytest.mark.parametrize("size", [(10_001, 100), (100, 10_001), (100_000, 100_000), (2**31 - 1, 2**31 - 1)])
def test_a_bomb_is_refused_by_its_header_alone(size: tuple[int, int]) -> None:
    with pytest.raises(TooLarge, match="no side may exceed 10000"):
        read_picture(header(*size))


def test_a_jpeg_that_claims_65535_pixels_is_refused_by_its_header_alone() -> None:
    data = resize_jpeg(encode(half_red_half_blue(), "JPEG"), 65_535, 65_535)

    with pytest.raises(TooLarge):
        read_picture(data)


@pytest.mark.parametrize("fmt", ["GIF", "BMP", "TIFF", "WEBP", "PPM", "ICO"])
def test_other_formats_are_unreadable(fmt: str) -> None:
    with pytest.raises(Unreadable, match="neither JPEG nor PNG"):
        read_picture(encode(Image.new("RGB", (100, 100)), fmt))


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"<svg xmlns='http://www.w3.org/2000/svg'/>", id="svg"),
        pytest.param(b"%PDF-1.7", id="pdf"),
        pytest.param(b"\xff\xd8\xff", id="JPEG magic alone"),
        pytest.param(b"\x89PNG\r\n\x1a\n", id="PNG magic alone"),
        pytest.param(b"\x89PNG\r\n\x1a\n" + b"\xff" * 100, id="PNG magic and garbage"),
        pytest.param(b"\xff\xd8\xff" + b"\xff" * 100, id="JPEG magic and garbage"),
        pytest.param(header(0, 0)[:40], id="no pixels"),
    ],
)
def test_what_is_no_picture_is_unreadable(data: bytes) -> None:
    with pytest.raises((Unreadable, TooSmall)):
        _ = read_picture(data).pixels


@pytest.mark.parametrize("fmt", ["PNG", "JPEG"])
def test_a_picture_cut_off_anywhere_is_unreadable(fmt: str) -> None:
    whole = encode(sample("coffee.png").resize((300, 200)), fmt)
    ends = {"PNG": len(whole) - 12, "JPEG": len(whole) - 2}

    for length in range(0, ends[fmt], len(whole) // 40):
        with pytest.raises(Unreadable):
            _ = read_picture(whole[:length]).pixels


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("name", ["coffee.png", "rocket.jpg"])
def test_changed_bytes_are_decoded_or_refused_and_never_crash(name: str) -> None:
    random = np.random.default_rng(5)
    whole = encode(sample(name).resize((160, 120)), "PNG" if name.endswith("png") else "JPEG")

    for _ in range(150):
        changed = np.frombuffer(whole, np.uint8).copy()
        places = random.integers(2, len(changed) if random.random() < 0.5 else 200, 4)
        changed[places] = random.integers(0, 256, 4)
        try:
            pixels = read_picture(changed.tobytes()).pixels
        except (Unreadable, TooLarge, TooSmall):
            continue
        assert pixels.ndim == 3


def test_a_compressed_note_in_a_png_is_not_inflated() -> None:
    bomb = b"zTXt" + b"note\0\0" + zlib.compress(b"\0" * 50_000_000)
    chunk = struct.pack(">I", len(bomb) - 4) + bomb + struct.pack(">I", zlib.crc32(bomb))
    plain = encode(Image.new("RGB", (100, 100)))

    with pytest.raises(Unreadable):
        _ = read_picture(plain[:33] + chunk + plain[33:]).pixels


def with_text(*chunks: tuple[str, str], after_pixels: bool = False, **options: Any) -> bytes:
    notes = PngInfo()
    for keyword, text in chunks:
        notes.add_text(keyword, text, **options, **({"zip": False} if after_pixels else {}))
    data = encode(half_red_half_blue(), pnginfo=notes)
    if not after_pixels:
        return data
    start, end = data.index(b"tEXt") - 4, data.index(b"IDAT") - 4
    return data[:start] + data[end:-12] + data[start:end] + data[-12:]


def test_the_texts_of_a_png_are_its_notes() -> None:
    plain = with_text(("Comment", "a ship"), ("moderation", "Pills"))

    assert read_picture(plain).notes == ("Comment: a ship", "a ship", "moderation: Pills", "Pills")
    assert read_picture(with_text(("Comment", "a ship"), zip=True)).notes[1] == "a ship"
    assert (
        read_picture(with_text(("Comment", "ein Schiff übers Meer 🚢"))).notes[1]
        == "ein Schiff übers Meer 🚢"
    )


def test_a_text_behind_the_pixels_is_a_note_too() -> None:
    assert read_picture(with_text(("Comment", "a ship"), after_pixels=True)).notes[1] == "a ship"


def test_the_comments_of_a_jpeg_are_its_notes() -> None:
    data = encode(half_red_half_blue(), "JPEG", comment="übers Meer")
    second = b"\xff\xfe" + struct.pack(">H", 8) + b"a ship"

    assert read_picture(data[:2] + second + data[2:]).notes == ("a ship", "übers Meer")


@pytest.mark.parametrize("fmt", ["PNG", "JPEG"])
def test_the_image_description_is_a_note(fmt: str) -> None:
    exif = Image.Exif()
    exif[0x010E] = "a ship"

    assert read_picture(encode(half_red_half_blue(), fmt, exif=exif)).notes == ("a ship",)


@pytest.mark.parametrize("fmt", ["PNG", "JPEG"])
def test_a_plain_picture_has_no_notes(fmt: str) -> None:
    assert read_picture(encode(half_red_half_blue(), fmt)).notes == ()


@pytest.mark.filterwarnings("ignore:.*EXIF.*:UserWarning")
@pytest.mark.parametrize("exif", [b"MM\0\x2a\0\0\0\x08\0\x05garbage", b"no TIFF"], ids=["entries", "header"])
@pytest.mark.parametrize("fmt", ["PNG", "JPEG"])
def test_broken_exif_is_no_note(fmt: str, exif: bytes) -> None:
    data = encode(half_red_half_blue(), fmt, exif=b"Exif\0\0" + exif)

    assert read_picture(data).notes == ()


def test_a_picture_is_decoded_once_for_all_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    load = Mock(spec=picture_module._load, side_effect=picture_module._load)
    monkeypatch.setattr(picture_module, "_load", load)
    picture = read_picture((SAMPLES / "coffee.png").read_bytes())

    with ThreadPoolExecutor(4) as pool:
        pixels = list(pool.map(lambda _: picture.pixels, range(8)))

    assert {id(each) for each in pixels} == {id(picture.pixels)}
    assert picture.notes == ()
    assert load.call_count == 1


def test_bytes_after_the_end_of_a_picture_do_no_harm() -> None:
    data = (SAMPLES / "rocket.jpg").read_bytes() + b"PK\x03\x04 and more"

    assert read_picture(data).pixels.shape == (427, 640, 3)


def test_a_picture_can_be_decoded_smaller() -> None:
    picture = read_picture(encode(noise(1, 4, (1200, 600)), "JPEG"))

    assert picture.decode(300).size == (300, 150)
    assert Image.open(io.BytesIO(picture.data)).size == (1200, 600)


def test_a_large_jpeg_is_turned_too() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    large = half_red_half_blue().resize((4800, 3600))

    pixels = read_picture(encode(large, "JPEG", exif=exif)).pixels

    assert pixels.shape == (2000, 1500, 3)
    assert colour_at(pixels, 0.5, 0.1) == "red"
