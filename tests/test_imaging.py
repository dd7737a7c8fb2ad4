import io
import itertools
import random
import struct

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from PIL import Image

from chalicelib.imaging import Picture, inspect

WIDTH, HEIGHT = 83, 97
FRAMES = sorted(set(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC})
SOI = b"\xff\xd8"


def segment(marker: int, payload: bytes = b"") -> bytes:
    return struct.pack(">BBH", 0xFF, marker, len(payload) + 2) + payload


def frame(marker: int = 0xC0, width: int = WIDTH, height: int = HEIGHT) -> bytes:
    return segment(marker, struct.pack(">BHHB", 8, height, width, 1) + b"\x01\x11\x00")


def encoded(fmt: str, mode: str = "RGB", **options: object) -> bytes:
    noise = random.Random(1).randbytes(WIDTH * HEIGHT * 4)
    buffer = io.BytesIO()
    Image.frombytes("RGBA", (WIDTH, HEIGHT), noise).convert(mode).save(buffer, fmt, **options)
    return buffer.getvalue()


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(encoded("JPEG"), id="baseline"),
        pytest.param(encoded("JPEG", progressive=True), id="progressive"),
        pytest.param(encoded("JPEG", optimize=True, quality=5), id="optimised"),
        pytest.param(encoded("JPEG", "L"), id="grey"),
        pytest.param(encoded("JPEG", "CMYK"), id="CMYK"),
        pytest.param(encoded("JPEG", exif=b"Exif\0\0" + encoded("JPEG")), id="with a picture in its EXIF"),
        pytest.param(encoded("JPEG", icc_profile=b"p" * 50_000), id="with a large profile"),
        pytest.param(
            encoded("JPEG", comment=b"\xff\xc0" * 20_000), id="with a comment that looks like a frame"
        ),
    ],
)
def test_a_jpeg_tells_its_size(body: bytes) -> None:
    assert inspect(body[: 64 * 1024]) == Picture("image/jpeg", WIDTH, HEIGHT)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "I;16"])
def test_a_png_tells_its_size(mode: str) -> None:
    buffer = io.BytesIO()
    Image.new(mode, (WIDTH, HEIGHT)).save(buffer, "PNG")

    assert inspect(buffer.getvalue()) == Picture("image/png", WIDTH, HEIGHT)


def test_an_animated_png_is_a_png() -> None:
    still = Image.new("RGB", (WIDTH, HEIGHT))
    buffer = io.BytesIO()
    still.save(buffer, "PNG", save_all=True, append_images=[Image.new("RGB", (WIDTH, HEIGHT), "red")])

    assert inspect(buffer.getvalue()) == Picture("image/png", WIDTH, HEIGHT)


@pytest.mark.parametrize("marker", FRAMES, ids=hex)
def test_every_kind_of_frame_tells_the_size(marker: int) -> None:
    assert inspect(SOI + frame(marker)) == Picture("image/jpeg", WIDTH, HEIGHT)


def test_the_size_is_told_as_soon_as_it_is_in_sight() -> None:
    assert inspect(SOI + frame()[:9]) == Picture("image/jpeg", WIDTH, HEIGHT)
    assert inspect(SOI + frame()[:8]) == Picture("image/jpeg")


@pytest.mark.parametrize("marker", [0xC4, 0xC8, 0xCC], ids=hex)
def test_a_table_among_the_frames_is_passed_over(marker: int) -> None:
    table = segment(marker, b"\0" * 20)

    assert inspect(SOI + table) == Picture("image/jpeg")
    assert inspect(SOI + table + frame()) == Picture("image/jpeg", WIDTH, HEIGHT)


@pytest.mark.parametrize(
    "before",
    [
        pytest.param(segment(0xE0, b"x" * 60_000), id="a large segment"),
        pytest.param(segment(0xE1) * 5, id="segments with nothing in them"),
        pytest.param(b"\xff" * 1000, id="fill bytes"),
        pytest.param(segment(0xE1, b"x") + b"\xff" * 7 + segment(0xDB, b"x"), id="fill bytes in between"),
        pytest.param(b"\xff\x01" + b"\xff\xd0\xff\xd7", id="markers without a length"),
        pytest.param(segment(0xE2, SOI + frame(width=1, height=1)), id="another picture in a segment"),
    ],
)
def test_what_stands_before_the_frame_is_passed_over(before: bytes) -> None:
    assert inspect(SOI + before + frame()) == Picture("image/jpeg", WIDTH, HEIGHT)


@pytest.mark.parametrize(
    "rest",
    [
        pytest.param(segment(0xE0, b"x" * 65_533) + frame(), id="the frame is beyond the first bytes"),
        pytest.param(b"\xff" * 65_534, id="nothing but fill bytes"),
        pytest.param(b"\xff\xe0\0\0" * 16_383, id="segments of no length"),
        pytest.param(b"\xff\xe0\0\1" * 16_383, id="segments shorter than their length"),
        pytest.param(b"\xff\xd0" * 32_767, id="nothing but restarts"),
        pytest.param(segment(0xE0, b"x") + b"\0" + frame(), id="a stray byte"),
        pytest.param(segment(0xDA) + b"\x12\x34" * 10 + frame(), id="a scan before the frame"),
        pytest.param(b"\xff\xe0\xff\xff", id="a length beyond the end"),
        pytest.param(b"\xff", id="nothing"),
    ],
)
def test_a_jpeg_whose_frame_is_out_of_sight_is_still_a_jpeg(rest: bytes) -> None:
    assert inspect((SOI + rest)[: 64 * 1024]) == Picture("image/jpeg")


def test_a_jpeg_that_tells_its_height_after_the_first_scan_has_none_yet() -> None:
    assert inspect(SOI + frame(height=0)) == Picture("image/jpeg", WIDTH, None)


@pytest.mark.parametrize(
    ("body", "content_type", "signature"),
    [
        pytest.param(encoded("JPEG"), "image/jpeg", 3, id="jpeg"),
        pytest.param(encoded("JPEG", progressive=True), "image/jpeg", 3, id="progressive jpeg"),
        pytest.param(encoded("PNG"), "image/png", 8, id="png"),
    ],
)
def test_a_picture_cut_anywhere_tells_the_right_size_or_none(
    body: bytes, content_type: str, signature: int
) -> None:
    seen = [inspect(body[:length]) for length in range(len(body) + 1)]

    changes = [picture for picture, _ in itertools.groupby(seen)]
    assert changes == [Picture(None), Picture(content_type), Picture(content_type, WIDTH, HEIGHT)]
    assert seen.index(Picture(content_type)) == signature


def test_a_png_whose_first_chunk_is_not_its_header_tells_no_size() -> None:
    body = encoded("PNG")

    assert inspect(body[:12] + b"CgBI" + body[16:]) == Picture("image/png")


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"\xff", id="one byte"),
        pytest.param(b"\xff\xd8", id="two bytes"),
        pytest.param(b"not a picture", id="text"),
        pytest.param(b"\x89PNG\n\x1a\n" + b"\0" * 20, id="a PNG that went through text mode"),
        pytest.param(b"\r\n" + encoded("PNG"), id="a PNG behind a line end"),
        pytest.param(encoded("GIF"), id="gif"),
        pytest.param(encoded("WEBP"), id="webp"),
        pytest.param(encoded("BMP"), id="bmp"),
        pytest.param(encoded("TIFF"), id="tiff"),
        pytest.param(encoded("JPEG2000"), id="jpeg 2000"),
        pytest.param(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", id="heic"),
        pytest.param(b'<svg xmlns="http://www.w3.org/2000/svg"/>', id="svg"),
        pytest.param(b"%PDF-1.7\n", id="pdf"),
    ],
)
def test_what_is_neither_jpeg_nor_png_is_nothing(body: bytes) -> None:
    assert inspect(body) == Picture(None)


@given(
    st.sampled_from([b"", SOI + b"\xff", b"\x89PNG\r\n\x1a\n", SOI + frame()[:7]]), st.binary(max_size=300)
)
@example(SOI + b"\xff", b"\xc0")
@example(SOI + b"\xff", b"\xc0\0\0\0\0\0\0\0\0")
def test_no_bytes_are_too_odd(start: bytes, rest: bytes) -> None:
    picture = inspect(start + rest)

    assert picture.content_type in (None, "image/jpeg", "image/png")
    assert all(side is None or side >= 0 for side in (picture.width, picture.height))
