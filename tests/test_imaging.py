import random
import struct

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from PIL import Image

from chalicelib.imaging import CONVERTIBLE, Picture, exif_orientation, inspect, is_readable_as_it_is, refusal
from tests.pictures import ENCODERS, ORIENTATION, png, png_chunk, tiff, turned
from tests.pictures import encoded as saved

WIDTH, HEIGHT = 84, 98
HEAD = 64 * 1024
FRAMES = sorted(set(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC})
SOI = b"\xff\xd8"


def segment(marker: int, payload: bytes = b"") -> bytes:
    return struct.pack(">BBH", 0xFF, marker, len(payload) + 2) + payload


def frame(marker: int = 0xC0, width: int = WIDTH, height: int = HEIGHT) -> bytes:
    return segment(marker, struct.pack(">BHHB", 8, height, width, 1) + b"\x01\x11\x00")


def noise(mode: str = "RGB") -> Image.Image:
    pixels = random.Random(1).randbytes(WIDTH * HEIGHT * 4)
    return Image.frombytes("RGBA", (WIDTH, HEIGHT), pixels).convert(mode)


def encoded(fmt: str, mode: str = "RGB", **options: object) -> bytes:
    return saved(noise(mode), fmt, **options)


OTHERS = [noise("L")]
HEADS = {content_type: encoder(noise())[:1000] for content_type, encoder in ENCODERS.items()}


def jpeg(channels: int | None = 1, **more: int) -> Picture:
    return Picture("image/jpeg", WIDTH, HEIGHT, **{"bits": 8, "channels": channels, "orientation": 1, **more})


def box(kind: bytes, *inner: bytes) -> bytes:
    body = b"".join(inner)
    return struct.pack(">I", 8 + len(body)) + kind + body


def ispe(width: int, height: int) -> bytes:
    return box(b"ispe", struct.pack(">III", 0, width, height))


def heif(*sizes: tuple[int, int], major: bytes = b"heic") -> bytes:
    properties = box(b"ipco", box(b"hvcC", b"?" * 20), *(ispe(*size) for size in sizes), box(b"irot", b"\1"))
    meta = box(b"meta", bytes(4), box(b"hdlr", b"?" * 24), box(b"iprp", properties, box(b"ipma", b"??")))
    return box(b"ftyp", major + bytes(4) + b"mif1" + b"heic") + meta + box(b"mdat", b"?" * 50)


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(encoded("JPEG"), id="baseline"),
        pytest.param(encoded("JPEG", progressive=True), id="progressive"),
        pytest.param(encoded("JPEG", optimize=True, quality=5), id="optimised"),
        pytest.param(encoded("JPEG", exif=b"Exif\0\0" + encoded("JPEG")), id="with a picture in its EXIF"),
        pytest.param(encoded("JPEG", icc_profile=b"p" * 50_000), id="with a large profile"),
        pytest.param(
            encoded("JPEG", comment=b"\xff\xc0" * 20_000), id="with a comment that looks like a frame"
        ),
    ],
)
def test_a_jpeg_tells_its_size(body: bytes) -> None:
    assert inspect(body[:HEAD]) == jpeg(3)


@pytest.mark.parametrize(("mode", "channels"), [("L", 1), ("RGB", 3), ("YCbCr", 3), ("CMYK", 4)])
def test_a_jpeg_tells_its_channels(mode: str, channels: int) -> None:
    assert inspect(encoded("JPEG", mode)) == jpeg(channels)


@pytest.mark.parametrize(
    ("mode", "bits", "channels"),
    [("1", 1, 1), ("L", 8, 1), ("LA", 8, 2), ("P", 8, 1), ("RGB", 8, 3), ("RGBA", 8, 4), ("I;16", 16, 1)],
)
def test_a_png_tells_its_size_and_depth(mode: str, bits: int, channels: int) -> None:
    body = saved(noise("L").convert(mode), "PNG")

    assert inspect(body) == Picture("image/png", WIDTH, HEIGHT, bits, channels, 1)


def test_an_animated_png_is_a_png() -> None:
    body = saved(noise(), "PNG", save_all=True, append_images=[noise("L").convert("RGB")])

    assert inspect(body) == Picture("image/png", WIDTH, HEIGHT, 8, 3, 1)


@pytest.mark.parametrize("marker", FRAMES, ids=hex)
def test_every_kind_of_frame_tells_the_size(marker: int) -> None:
    assert inspect(SOI + frame(marker)) == jpeg()


def test_the_size_is_told_as_soon_as_it_is_in_sight() -> None:
    assert inspect(SOI + frame()[:10]) == jpeg()
    assert inspect(SOI + frame()[:9]) == Picture("image/jpeg")


@pytest.mark.parametrize("marker", [0xC4, 0xC8, 0xCC], ids=hex)
def test_a_table_among_the_frames_is_passed_over(marker: int) -> None:
    table = segment(marker, b"\0" * 20)

    assert inspect(SOI + table) == Picture("image/jpeg")
    assert inspect(SOI + table + frame()) == jpeg()


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
    assert inspect(SOI + before + frame()) == jpeg()


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
    assert inspect((SOI + rest)[:HEAD]) == Picture("image/jpeg")


def test_a_jpeg_that_tells_its_height_after_the_first_scan_has_none_yet() -> None:
    assert inspect(SOI + frame(height=0)) == Picture("image/jpeg", WIDTH, None, 8, 1, 1)


@pytest.mark.parametrize("content_type", ENCODERS)
def test_every_format_tells_its_size(content_type: str) -> None:
    picture = inspect(ENCODERS[content_type](noise())[:HEAD])

    assert (picture.content_type, picture.width, picture.height) == (content_type, WIDTH, HEIGHT)


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        pytest.param("image/webp", encoded("WEBP", lossless=True), id="lossless WebP"),
        pytest.param("image/webp", encoded("WEBP", "RGBA"), id="WebP with transparency"),
        pytest.param("image/webp", encoded("WEBP", save_all=True, append_images=OTHERS), id="animated WebP"),
        pytest.param("image/avif", encoded("AVIF", "RGBA"), id="AVIF with transparency"),
        pytest.param("image/avif", encoded("AVIF", save_all=True, append_images=OTHERS), id="animated AVIF"),
        pytest.param("image/heic", encoded("HEIF", "RGBA"), id="HEIC with transparency"),
        pytest.param("image/gif", encoded("GIF", save_all=True, append_images=OTHERS), id="animated GIF"),
        pytest.param("image/tiff", encoded("TIFF", big_tiff=True), id="BigTIFF"),
        pytest.param("image/tiff", encoded("TIFF", "I;16B"), id="TIFF of Motorola's order"),
        pytest.param("image/bmp", encoded("BMP", "P"), id="BMP with a palette"),
        pytest.param("image/bmp", encoded("BMP", "RGBA"), id="BMP of a newer version"),
    ],
)  # fmt: skip
def test_every_kind_of_a_format_tells_its_size(content_type: str, body: bytes) -> None:
    picture = inspect(body[:HEAD])

    assert (picture.content_type, picture.width, picture.height) == (content_type, WIDTH, HEIGHT)


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize(("kind", "big"), [(3, False), (4, False), (3, True), (4, True), (16, True)])
def test_a_tiff_of_either_order_tells_its_size_in_numbers_of_any_length(
    order: str, kind: int, big: bool
) -> None:
    shift = {3: 48, 4: 32}.get(kind, 0) if big and order == ">" else 0
    body = tiff(order, (254, 4, 0), (256, kind, WIDTH << shift), (257, kind, HEIGHT << shift), big=big)

    assert inspect(body) == Picture("image/tiff", WIDTH, HEIGHT)


def test_a_tiff_whose_directory_is_out_of_sight_is_still_a_tiff() -> None:
    at_the_end = b"II*\0" + struct.pack("<I", 70_008) + b"\0" * 70_000 + tiff("<", (256, 3, WIDTH))[8:]

    assert inspect(at_the_end[:HEAD]) == Picture("image/tiff")
    assert inspect(at_the_end) == Picture("image/tiff", WIDTH)


def test_a_bmp_may_begin_with_its_top_row_or_be_an_old_one() -> None:
    top_down = b"BM" + bytes(12) + struct.pack("<Iii", 40, WIDTH, -HEIGHT)
    old = b"BM" + bytes(12) + struct.pack("<IHH", 12, WIDTH, HEIGHT)

    assert inspect(top_down) == inspect(old) == Picture("image/bmp", WIDTH, HEIGHT)


def test_the_largest_of_the_sizes_in_a_heic_counts_for_the_others_are_its_tiles_and_thumbnails() -> None:
    assert inspect(heif((512, 512), (4032, 3024), (240, 320))) == Picture("image/heic", 4032, 3024)


def test_a_heic_whose_sizes_are_not_all_in_sight_tells_none() -> None:
    body = heif((512, 512), (4032, 3024))

    assert inspect(body[: body.index(b"irot")]) == Picture("image/heic")
    assert inspect(heif()) == Picture("image/heic")


@pytest.mark.parametrize(
    ("brands", "content_type"),
    [
        (b"heic\0\0\0\0mif1heic", "image/heic"),
        (b"heix\0\0\0\0mif1", "image/heic"),
        (b"hevc\0\0\0\0hevcheic", "image/heic"),
        (b"mif1\0\0\0\0mif1heic", "image/heic"),
        (b"msf1\0\0\0\0msf1hevc", "image/heic"),
        (b"mif1\0\0\0\0mif1", "image/heif"),
        (b"avif\0\0\0\0mif1miaf", "image/avif"),
        (b"avis\0\0\0\0msf1iso8", "image/avif"),
        (b"mif1\0\0\0\0avifmif1", "image/avif"),
        (b"isom\0\0\2\0isomiso2avc1mp41", "video/mp4"),
        (b"mp42heic", "video/mp4"),  # the version of a brand is no brand
        (b"qt  \0\0\0\0qt  ", "video/quicktime"),
        (b"crx \0\0\0\1crx isom", "image/x-canon-cr3"),
        (b"M4A \0\0\0\0M4A ", "audio/mp4"),
        (b"", "video/mp4"),
    ],
)
def test_brands_tell_pictures_from_films(brands: bytes, content_type: str) -> None:
    assert inspect(box(b"ftyp", brands)) == Picture(content_type)


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (b'<svg xmlns="http://www.w3.org/2000/svg"/>', "image/svg+xml"),
        (b'\xef\xbb\xbf\n <?xml version="1.0"?>\n<!-- Made by hand -->\n<SVG/>', "image/svg+xml"),
        (b"<!DOCTYPE svg PUBLIC '-//W3C//DTD SVG 1.1//EN'><svg/>", "image/svg+xml"),
        (b'<?xml version="1.0"?><rss/>', None),
        (b"<!doctype html><svg/>", None),
        (b"%PDF-1.7\n", "application/pdf"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n", "application/postscript"),
        (b"\x1a\x45\xdf\xa3\x9f\x42\x86\x81\1\x42\x82\x84webm", "video/webm"),
        (b"\x1a\x45\xdf\xa3\xa3\x42\x82\x88matroska", "video/x-matroska"),
        (b"RIFF\0\0\0\0AVI LIST", "video/x-msvideo"),
        (b"RIFF\0\0\0\0WAVEfmt ", None),
        (b"PK\3\4\x14\0", "application/zip"),
        (b"\x1f\x8b\x08\0", "application/gzip"),
        (b"7z\xbc\xaf\x27\x1c\0\4", "application/x-7z-compressed"),
        (b"name".ljust(257, b"\0") + b"ustar\0", "application/x-tar"),
        (b"8BPS\0\1", "image/vnd.adobe.photoshop"),
        (encoded("JPEG2000"), "image/jp2"),
        (b"\0\0\0\x0cJXL \r\n\x87\n", "image/jxl"),
    ],
)
def test_what_is_never_decoded_is_named(body: bytes, content_type: str | None) -> None:
    assert inspect(body) == Picture(content_type)
    assert refusal(inspect(body), len(body), 100, 100) == "unsupported_format"


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("content_type", ["image/jpeg", "image/png"])
def test_the_orientation_is_told(content_type: str, orientation: int) -> None:
    body = turned(orientation, ENCODERS[content_type])

    assert inspect(body).orientation == orientation


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize(("stored", "told"), [(0, 1), (1, 1), (6, 6), (8, 8), (9, 1), (65535, 1)])
def test_an_orientation_out_of_range_is_none(order: str, stored: int, told: int) -> None:
    block = tiff(order, (271, 3, 5), (ORIENTATION, 3, stored))

    assert exif_orientation(block) == exif_orientation(b"Exif\0\0" + block) == told


def test_the_first_exif_block_counts() -> None:
    blocks = [segment(0xE1, b"Exif\0\0" + tiff("<", (ORIENTATION, 3, turn))) for turn in (3, 6)]
    other = segment(0xE1, b"http://ns.adobe.com/xap/1.0/\0<x/>")

    assert inspect(SOI + other + b"".join(blocks) + frame()) == jpeg(orientation=3)


def test_a_png_whose_pixels_are_out_of_sight_may_yet_tell_an_orientation() -> None:
    size, long = (WIDTH, HEIGHT), png_chunk(b"iCCP", b"p" * HEAD)
    turn = png_chunk(b"eXIf", tiff(">", (ORIENTATION, 3, 6)))
    body = png(size, 8, 0, bytes(WIDTH), long, turn)

    assert inspect(body[:HEAD]) == Picture("image/png", WIDTH, HEIGHT, 8, 1, None)
    assert inspect(body) == Picture("image/png", WIDTH, HEIGHT, 8, 1, 6)


@pytest.mark.parametrize(
    ("content_type", "signature"),
    [
        ("image/jpeg", 3),
        ("image/png", 8),
        ("image/webp", 15),
        ("image/heic", 12),
        ("image/avif", 12),
        ("image/gif", 6),
        ("image/tiff", 4),
        ("image/bmp", 15),
    ],
)
def test_a_picture_cut_anywhere_tells_the_right_size_or_none(content_type: str, signature: int) -> None:
    seen = [inspect(HEADS[content_type][:length]) for length in range(1000)]

    sizes = {(picture.width, picture.height) for picture in seen if picture.content_type == content_type}
    assert sizes <= {(None, None), (WIDTH, None), (WIDTH, HEIGHT)}
    assert (seen[-1].width, seen[-1].height) == (WIDTH, HEIGHT)
    assert {picture.content_type for picture in seen[signature:]} == {content_type}
    assert seen[signature - 1].content_type != content_type


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
        pytest.param(b"BMW and others", id="text that begins like a BMP"),
        pytest.param(b"\x89PNG\n\x1a\n" + b"\0" * 20, id="a PNG that went through text mode"),
        pytest.param(b"\r\n" + encoded("PNG"), id="a PNG behind a line end"),
    ],
)
def test_what_looks_like_nothing_is_nothing(body: bytes) -> None:
    assert inspect(body) == Picture(None)


def huge(*numbers: int) -> bytes:
    return struct.pack(f"<{len(numbers)}Q", *numbers)


@given(
    st.sampled_from(
        [
            b"",
            SOI + b"\xff",
            SOI + frame()[:7],
            *(head[:length] for head in HEADS.values() for length in (24, 200)),
        ]
    ),
    st.binary(max_size=300),
)
@example(SOI + b"\xff", b"\xc0")
@example(SOI + b"\xff", b"\xc0\0\0\0\0\0\0\0\0")
@example(b"II+\0\x08\0\0\0", huge(2**64 - 1))
@example(b"II+\0\x08\0\0\0", huge(16, 2**64 - 1, 2**64 - 1, 2**64 - 1))
@example(b"II+\0\x08\0\0\0", huge(2**63, 1))
@example(b"II*\0\xff\xff\xff\xff", b"")
@example(box(b"ftyp", b"heic"), b"\0\0\0\1meta" + b"\xff" * 8)
@example(box(b"ftyp", b"heic"), b"\0\0\0\1meta" + bytes(8))
@example(box(b"ftyp", b"heic"), b"\0\0\0\3free" * 9)
@example(box(b"ftyp", b"heic"), b"\0\0\0\0meta")
@example(b"\xff\xff\xff\xffftyp", b"")
def test_no_bytes_are_too_odd(start: bytes, rest: bytes) -> None:
    picture = inspect(start + rest)

    assert all(side is None or side >= 0 for side in (picture.width, picture.height))
    assert picture.orientation in (None, *range(1, 9))
    assert refusal(picture, 1, 100, 100) in (None, "unsupported_format", "too_large", "too_small")
    assert is_readable_as_it_is(picture, 1) in (True, False)


@given(st.sampled_from(sorted(ENCODERS)), st.data())
def test_no_change_to_a_picture_is_too_odd(content_type: str, data: st.DataObject) -> None:
    body = bytearray(HEADS[content_type][:400])
    changes = st.tuples(st.integers(0, len(body) - 1), st.integers(0, 255))
    for at, byte in data.draw(st.lists(changes, max_size=8)):
        body[at] = byte

    picture = inspect(bytes(body))

    assert all(side is None or side >= 0 for side in (picture.width, picture.height))


MAX_BYTES, MAX_PIXELS = 100_000_000, 100_000_000


def grown(
    width: int | None = 4032, height: int | None = 3024, kind: str = "image/jpeg", **more: int
) -> Picture:
    return Picture(kind, width, height, **{"bits": 8, "channels": 3, "orientation": 1, **more})


@pytest.mark.parametrize(
    ("picture", "size", "reason"),
    [
        pytest.param(grown(), 1, None, id="a photograph"),
        pytest.param(Picture(None), 0, "empty", id="nothing"),
        pytest.param(grown(), 0, "empty", id="nothing more"),
        pytest.param(Picture(None), 5, "unsupported_format", id="unknown"),
        pytest.param(Picture("image/svg+xml"), 5, "unsupported_format", id="never decoded"),
        pytest.param(grown(bits=12), 5, "unsupported_format", id="a JPEG of 12 bits"),
        pytest.param(grown(kind="image/png", bits=16), 5, None, id="a PNG of 16 bits"),
        pytest.param(grown(), MAX_BYTES, None, id="as many bytes as allowed"),
        pytest.param(grown(), MAX_BYTES + 1, "too_large", id="a byte too many"),
        pytest.param(Picture("image/tiff"), MAX_BYTES + 1, "too_large", id="a byte too many, without a size"),
        pytest.param(grown(10_000, 10_000), 5, None, id="as many pixels as allowed"),
        pytest.param(grown(10_000, 10_001), 5, "too_large", id="too many pixels"),
        pytest.param(grown(65_535, 65_535, "image/png"), 900, "too_large", id="a decompression bomb"),
        pytest.param(grown(20_000, 100), 5, None, id="a long strip"),
        pytest.param(grown(80, 80), 5, None, id="as small as allowed"),
        pytest.param(grown(79, 80), 5, "too_small", id="too narrow"),
        pytest.param(grown(80, 79), 5, "too_small", id="too low"),
        pytest.param(grown(0, 0), 5, "too_small", id="no pixels"),
        pytest.param(grown(None, 79), 5, "too_small", id="too low, and who knows how wide"),
        *(
            pytest.param(Picture(kind), 5, None, id=f"{kind} of no known size")
            for kind in sorted(CONVERTIBLE)
        ),
    ],
)
def test_what_is_refused_at_a_look(picture: Picture, size: int, reason: str | None) -> None:
    assert refusal(picture, size, MAX_BYTES, MAX_PIXELS) == reason


@pytest.mark.parametrize(
    ("picture", "size", "readable"),
    [
        pytest.param(grown(), 15 * 2**20, True, id="a photograph of 15 MB"),
        pytest.param(grown(), 15 * 2**20 + 1, False, id="a photograph of more than 15 MB"),
        pytest.param(grown(channels=1), 5, True, id="a grey JPEG"),
        pytest.param(grown(channels=4), 5, False, id="a CMYK JPEG"),
        pytest.param(grown(orientation=6), 5, True, id="a turned JPEG: Rekognition turns it"),
        pytest.param(grown(10_000, 10_000), 5, True, id="as long as allowed"),
        pytest.param(grown(10_001, 80), 5, False, id="too wide"),
        pytest.param(grown(80, 10_001), 5, False, id="too high"),
        pytest.param(Picture("image/jpeg"), 5, False, id="a JPEG whose frame is out of sight"),
        pytest.param(grown(4032, None), 5, False, id="a JPEG whose height is out of sight"),
        pytest.param(grown(kind="image/png"), 5, True, id="a PNG"),
        pytest.param(grown(kind="image/png", channels=4), 5, True, id="a PNG with transparency"),
        pytest.param(grown(kind="image/png", channels=1, bits=1), 5, True, id="a PNG of two colours"),
        pytest.param(grown(kind="image/png", bits=16), 5, False, id="a PNG of 16 bits"),
        pytest.param(grown(kind="image/png", orientation=3), 5, False, id="a turned PNG"),
        pytest.param(grown(kind="image/png", orientation=None), 5, False, id="a PNG that may be turned"),  # type: ignore[arg-type]
        pytest.param(grown(kind="image/webp"), 5, False, id="WebP"),
        pytest.param(Picture("image/heic", 4032, 3024), 5, False, id="HEIC"),
        pytest.param(Picture(None), 5, False, id="unknown"),
    ],
)
def test_what_rekognition_reads_as_it_is(picture: Picture, size: int, readable: bool) -> None:
    assert is_readable_as_it_is(picture, size) is readable
