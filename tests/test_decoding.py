import io
import random
import struct
import zlib
from unittest.mock import Mock

import pytest
from PIL import Image, ImageChops, ImageCms, ImageStat

from chalicelib.decoding import DECODERS, to_jpeg
from chalicelib.errors import PictureRefused
from chalicelib.imaging import CONVERTIBLE, Picture, inspect
from tests.pictures import (
    COLOURS,
    ENCODERS,
    UPRIGHT,
    XMP,
    decoded,
    encoded,
    png,
    png_chunk,
    quarters,
    seen,
    tiff,
    turned,
)

MAX_PIXELS = 1_000_000
ANY = "image/jpeg", "image/png", "image/webp", "image/heic", "image/avif", "image/tiff"  # may be turned
SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
GREY = [0, 60, 128, 255]
FIRST_COLOUR = quarters().quantize(4).getpixel((1, 1))


@pytest.fixture(autouse=True)
def _pillows_own_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", Image.MAX_IMAGE_PIXELS)


def converted(body: bytes, max_pixels: int = MAX_PIXELS, **options: int) -> bytes:
    return to_jpeg(io.BytesIO(body), max_pixels, **options)


def refusal(body: bytes, max_pixels: int = MAX_PIXELS) -> str:
    with pytest.raises(PictureRefused) as refused:
        converted(body, max_pixels)
    return refused.value.reason


def greys(body: bytes) -> list[int]:
    """How bright the quarters are."""
    image = decoded(body).convert("L")
    across, down = image.width // 4, image.height // 4
    places = [(across, down), (3 * across, down), (across, 3 * down), (3 * across, 3 * down)]
    return [int(ImageStat.Stat(image.crop((x - 4, y - 4, x + 4, y + 4))).mean[0]) for x, y in places]


def grey_quarters(mode: str, factor: float = 1) -> Image.Image:
    four = Image.new("F", (2, 2))
    four.putdata([grey * factor for grey in GREY])
    large = four.resize((160, 120), Image.Resampling.NEAREST)
    return large.convert(mode) if mode == "F" else large.convert("I").convert(mode)


def see_through(mode: str = "RGBA") -> Image.Image:
    """The quarters, of which the first one is transparent."""
    image = quarters().convert("RGBA")
    image.paste((*COLOURS["R"], 0), (0, 0, 80, 60))
    return image.convert(mode)


def others() -> list[Image.Image]:
    return [quarters("WWWW"), quarters("BBBB")]


def with_palette() -> Image.Image:
    return quarters().quantize(4)


def test_there_is_a_decoder_for_every_format_that_is_convertible() -> None:
    assert DECODERS.keys() == CONVERTIBLE


@pytest.mark.parametrize("content_type", ENCODERS)
def test_every_format_becomes_a_jpeg(content_type: str) -> None:
    body = converted(ENCODERS[content_type](quarters()))

    assert inspect(body) == Picture("image/jpeg", 160, 120, 8, 3, 1)
    assert seen(body) == UPRIGHT


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("content_type", ANY)
def test_every_orientation_is_shown_as_a_viewer_shows_it(content_type: str, orientation: int) -> None:
    upright = decoded(converted(encoded(quarters(), "PNG")))

    image = decoded(converted(turned(orientation, ENCODERS[content_type])))

    assert image.size == upright.size
    assert seen(encoded(image, "PNG")) == UPRIGHT
    assert max(ImageStat.Stat(ImageChops.difference(image, upright)).mean) < 4


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_picture_that_is_scaled_down_is_turned_as_well(orientation: int) -> None:
    body = converted(turned(orientation, ENCODERS["image/jpeg"], (8800, 100)))

    assert (decoded(body).size, seen(body)) == ((4096, 80), UPRIGHT)


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(encoded(quarters(), "WEBP", xmp=b'<x tiff:Orientation="3"/>'), id="WebP"),
        pytest.param(encoded(quarters(), "TIFF", tiffinfo={XMP: b'<x tiff:Orientation="3"/>'}), id="TIFF"),
        pytest.param(encoded(quarters(), "AVIF", xmp=b'<x tiff:Orientation="3"/>'), id="AVIF"),
    ],
)
def test_no_viewer_heeds_the_orientation_in_xmp(body: bytes) -> None:
    assert seen(converted(body)) == UPRIGHT


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(encoded(quarters(), "JPEG", progressive=True), id="progressive JPEG"),
        pytest.param(encoded(quarters(), "MPO", save_all=True, append_images=others()), id="JPEG of two"),
        pytest.param(encoded(quarters().convert("CMYK"), "JPEG"), id="CMYK JPEG"),
        pytest.param(encoded(quarters().convert("CMYK"), "TIFF"), id="CMYK TIFF"),
        pytest.param(encoded(quarters().convert("LAB"), "TIFF"), id="Lab TIFF"),
        pytest.param(encoded(with_palette(), "PNG"), id="PNG with a palette"),
        pytest.param(encoded(with_palette(), "BMP"), id="BMP with a palette"),
        pytest.param(encoded(with_palette(), "TIFF"), id="TIFF with a palette"),
        pytest.param(encoded(quarters(), "WEBP", lossless=True), id="lossless WebP"),
        pytest.param(encoded(quarters(), "TIFF", big_tiff=True), id="BigTIFF"),
        *(
            pytest.param(encoded(quarters(), "TIFF", compression=name), id=f"TIFF with {name}")
            for name in ("tiff_lzw", "tiff_adobe_deflate", "packbits", "jpeg")
        ),
    ],
)
def test_colours_stay_what_they_are(body: bytes) -> None:
    assert seen(converted(body)) == UPRIGHT


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(encoded(grey_quarters("L"), "PNG"), id="8 bits"),
        pytest.param(encoded(grey_quarters("L"), "JPEG"), id="grey JPEG"),
        pytest.param(encoded(grey_quarters("I;16", 257), "PNG"), id="PNG of 16 bits"),
        pytest.param(encoded(grey_quarters("I;16", 257), "TIFF"), id="TIFF of 16 bits"),
        pytest.param(encoded(grey_quarters("I;16B", 257), "TIFF"), id="TIFF of 16 bits, high byte first"),
        pytest.param(encoded(grey_quarters("I", 1_000_000), "TIFF"), id="TIFF of 32 bits"),
        pytest.param(encoded(grey_quarters("F", 1 / 255), "TIFF"), id="TIFF of real numbers"),
    ],
)
def test_greys_of_any_depth_stay_what_they_are(body: bytes) -> None:
    assert greys(converted(body)) == pytest.approx(GREY, abs=2)


@pytest.mark.parametrize(("mode", "compression"), [("PNG", None), ("TIFF", "group4"), ("BMP", None)])
def test_black_and_white_stays_black_and_white(mode: str, compression: str | None) -> None:
    options = {"compression": compression} if compression else {}
    image = grey_quarters("L").point(lambda grey: 255 * (grey > 100)).convert("1")

    assert greys(converted(encoded(image, mode, **options))) == pytest.approx([0, 0, 255, 255], abs=2)


@pytest.mark.parametrize(
    ("colours", "samples"),
    [(2, COLOURS["B"]), (6, (*COLOURS["B"], 255))],
)
def test_a_png_of_16_bits_a_channel_keeps_its_colour(colours: int, samples: tuple[int, ...]) -> None:
    row = struct.pack(f">{len(samples)}H", *(sample * 257 for sample in samples)) * 100

    assert seen(converted(png((100, 100), 16, colours, row))) == "BBBB"


def numbers(*values: float) -> bytes:
    image = Image.new("F", (100, 100), values[0])
    for at, value in enumerate(values):
        image.putpixel((at, 0), value)
    return encoded(image, "TIFF")


@pytest.mark.parametrize("values", [(0.5,), (float("nan"),), (0.0, float("inf")), (0.0, 3e38, -3e38)])
def test_numbers_that_are_no_greys_do_no_harm(values: tuple[float, ...]) -> None:
    assert decoded(converted(numbers(*values))).size == (100, 100)


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(encoded(see_through(), "PNG"), id="PNG"),
        pytest.param(encoded(see_through(), "WEBP", quality=95), id="WebP"),
        pytest.param(encoded(see_through(), "TIFF"), id="TIFF"),
        pytest.param(encoded(see_through(), "AVIF", quality=95, speed=10), id="AVIF"),
        pytest.param(encoded(see_through(), "HEIF", quality=95), id="HEIC"),
        pytest.param(encoded(quarters(), "PNG", transparency=COLOURS["R"]), id="PNG, for one colour"),
        pytest.param(encoded(with_palette(), "PNG", transparency=FIRST_COLOUR), id="PNG with a palette"),
        pytest.param(encoded(with_palette(), "GIF", transparency=FIRST_COLOUR), id="GIF"),
    ],
)
def test_what_is_transparent_is_white(body: bytes) -> None:
    assert seen(converted(body)) == "WGBY"


def test_what_is_half_transparent_is_mixed_with_white_and_never_with_what_is_hidden() -> None:
    half = Image.new("RGBA", (200, 200), (0, 0, 0, 128))
    hidden = Image.new("RGBA", (200, 200), (255, 0, 0, 0))

    assert greys(converted(encoded(half, "PNG"))) == pytest.approx([127] * 4, abs=2)
    assert seen(converted(encoded(hidden, "PNG"))) == "WWWW"


@pytest.mark.parametrize("fmt", ["GIF", "PNG", "WEBP", "TIFF", "AVIF", "HEIF"])
def test_the_first_frame_counts(fmt: str) -> None:
    body = encoded(quarters(), fmt, save_all=True, append_images=others())

    assert seen(converted(body)) == UPRIGHT


def test_a_frame_of_a_gif_may_be_smaller_than_its_screen() -> None:
    screen = struct.pack("<HH", 320, 120)
    body = ENCODERS["image/gif"](quarters())

    assert decoded(converted(body[:6] + screen + body[10:])).size == (320, 120)


def test_colours_are_told_in_srgb() -> None:
    red_is_green = SRGB.replace(b"rXYZ", b"swap").replace(b"gXYZ", b"rXYZ").replace(b"swap", b"gXYZ")

    assert seen(converted(encoded(quarters(), "PNG", icc_profile=red_is_green))) == "GRBY"
    assert seen(converted(encoded(quarters(), "PNG", icc_profile=SRGB))) == UPRIGHT


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(encoded(quarters(), "PNG", icc_profile=b"no profile"), id="no profile"),
        pytest.param(encoded(quarters(), "PNG", icc_profile=SRGB[:200]), id="cut off"),
        pytest.param(encoded(quarters().convert("CMYK"), "JPEG", icc_profile=SRGB), id="of other channels"),
    ],
)
def test_a_profile_of_no_use_is_as_good_as_none(body: bytes) -> None:
    assert seen(converted(body)) == UPRIGHT


def test_nothing_but_the_picture_is_passed_on() -> None:
    exif = Image.Exif()
    exif[271] = "a maker"

    body = converted(encoded(quarters(), "JPEG", exif=exif, icc_profile=SRGB, comment=b"a comment"))

    assert [word for word in (b"Exif", b"maker", b"ICC_PROFILE", b"comment") if word in body] == []


@pytest.mark.parametrize(
    ("size", "shown"),
    [
        ((80, 80), (80, 80)),
        ((4096, 100), (4096, 100)),
        ((4097, 900), (4096, 900)),
        ((8200, 820), (4096, 410)),
        ((100, 9000), (80, 4096)),
        ((5000, 80), (4096, 80)),
        ((30_000, 160), (4096, 80)),
    ],
)
@pytest.mark.parametrize("fmt", ["PNG", "JPEG"])
def test_no_side_is_too_long_or_too_short_for_rekognition(
    fmt: str, size: tuple[int, int], shown: tuple[int, int]
) -> None:
    body = converted(encoded(quarters(size=size).convert("L"), fmt), 50_000_000)

    assert decoded(body).size == shown
    assert greys(body) == pytest.approx([88, 117, 69, 206], abs=9)


@pytest.mark.parametrize(
    "large",
    [
        pytest.param(Image.frombytes("L", (20, 20), b"\0\xff" * 200).rotate(90), id="stripes"),
        pytest.param(Image.frombytes("L", (1, 801), random.Random(1).randbytes(801)), id="rows of noise"),
    ],
)
def test_every_row_is_where_it_was_and_no_seam_is_seen(large: Image.Image) -> None:
    large = large.resize((16_401, 801), Image.Resampling.NEAREST)

    image = decoded(converted(encoded(large, "PNG", compress_level=1), 50_000_000)).convert("L")

    straight = large.resize(image.size, Image.Resampling.LANCZOS)
    difference = ImageChops.difference(image, straight)
    assert image.size == (4096, 200)
    assert not any(difference.histogram()[5:])


@pytest.mark.parametrize(
    ("max_bytes", "side"), [(150_000, 400), (100_000, 400), (70_000, 400), (60_000, 200), (2_000, 100)]
)
def test_what_does_not_fit_is_told_more_coarsely_and_then_smaller(max_bytes: int, side: int) -> None:
    noise = Image.frombytes("RGB", (400, 400), random.Random(1).randbytes(480_000))

    body = converted(encoded(noise, "PNG"), max_bytes=max_bytes)

    assert len(body) <= max_bytes
    assert decoded(body).size == (side, side)


@pytest.mark.parametrize("content_type", ENCODERS)
def test_a_picture_of_more_pixels_than_allowed_is_too_large(content_type: str) -> None:
    body = ENCODERS[content_type](quarters())

    assert refusal(body, 160 * 120 - 1) == "too_large"
    assert converted(body, 160 * 120)


@pytest.mark.parametrize("content_type", ENCODERS)
@pytest.mark.parametrize("size", [(78, 100), (100, 78)])
def test_a_picture_of_fewer_pixels_than_rekognition_takes_is_too_small(
    content_type: str, size: tuple[int, int]
) -> None:
    assert refusal(ENCODERS[content_type](quarters(size=size))) == "too_small"


def bomb_at_the_end() -> bytes:
    """A TIFF whose directory, and so whose size, is out of sight at a look."""
    tags = {256: 60_000, 257: 60_000, 258: 1, 259: 1, 262: 1, 273: 8, 277: 1, 278: 60_000, 279: 70_000}
    directory = tiff("<", *((tag, 4, value) for tag, value in tags.items()))[8:]
    return b"II*\0" + struct.pack("<I", 8 + 70_000) + bytes(70_000) + directory


def gif_of(screen: int, frame: int) -> bytes:
    body = encoded(with_palette(), "GIF")
    at = body.index(struct.pack("<HHHH", 0, 0, 160, 120)) + 4
    sizes = [struct.pack("<HH", side, side) for side in (screen, frame)]
    return body[:6] + sizes[0] + body[10:at] + sizes[1] + body[at + 4 :]


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(png((60_000, 60_000), 1, 0, b""), id="PNG"),
        pytest.param(bomb_at_the_end(), id="TIFF"),
        pytest.param(gif_of(60_000, 100), id="GIF"),
        pytest.param(gif_of(100, 60_000), id="GIF whose frame leaves its screen"),
        pytest.param(b"BM" + bytes(12) + struct.pack("<IiiHH24x", 40, 60_000, -60_000, 1, 24), id="BMP"),
    ],
)
def test_a_bomb_is_refused_before_it_is_decoded(body: bytes) -> None:
    with pytest.raises(PictureRefused, match="too_large") as refused:
        converted(body, 100_000_000)

    assert isinstance(refused.value.__cause__, Image.DecompressionBombError)


def test_a_text_that_unpacks_to_a_hundred_times_its_size_is_no_picture() -> None:
    text = png_chunk(b"zTXt", b"note\0\0" + zlib.compress(bytes(20_000_000)))

    assert refusal(png((100, 100), 8, 0, bytes(100), text)) == "unreadable"


@pytest.mark.parametrize("content_type", ENCODERS)
@pytest.mark.parametrize("share", [0.3, 0.6, 0.9])
def test_a_picture_that_is_cut_off_is_unreadable(content_type: str, share: float) -> None:
    noise = Image.effect_mandelbrot((160, 120), (-2, -1.5, 1, 1.5), 60).convert("RGB")
    body = ENCODERS[content_type](noise)

    assert refusal(body[: int(len(body) * share)]) == "unreadable"


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"no picture", id="text"),
        pytest.param(b"<svg/>", id="SVG"),
        pytest.param(b"%PDF-1.7", id="PDF"),
        pytest.param(encoded(quarters(), "EPS"), id="EPS, for which Pillow would start Ghostscript"),
        pytest.param(encoded(quarters(), "JPEG2000"), id="JPEG 2000"),
        pytest.param(encoded(quarters(), "ICO"), id="icon"),
        pytest.param(encoded(quarters(), "PPM"), id="a format that only Pillow knows"),
        pytest.param(encoded(quarters(), "TGA"), id="a format without a signature"),
    ],
)
def test_other_formats_are_unsupported(body: bytes) -> None:
    assert refusal(body) == "unsupported_format"


@pytest.mark.parametrize("content_type", ENCODERS)
def test_no_other_decoder_gets_to_see_a_picture(monkeypatch: pytest.MonkeyPatch, content_type: str) -> None:
    greedy = Mock(side_effect=TypeError)
    monkeypatch.setitem(Image.OPEN, "GREEDY", (greedy, None))
    monkeypatch.setattr(Image, "ID", ["GREEDY", *Image.ID])

    converted(ENCODERS[content_type](quarters()))

    assert not greedy.called


def damaged(body: bytes) -> list[bytes]:
    """Always the same damages: C code need not survive all there are, and has its own process for that."""
    rolls = random.Random(4)
    made = []
    for _ in range(30):
        other = bytearray(body)
        for _ in range(rolls.choice((1, 2, 8))):
            at = rolls.randrange(rolls.choice((len(body), min(len(body), 300))))
            other[at] = rolls.choice((0, 255, rolls.randrange(256)))
        made.append(bytes(other[: rolls.choice((len(body), rolls.randrange(len(body))))]))
    return made


def outcome(body: bytes) -> str | None:
    try:
        return inspect(converted(body)).content_type
    except PictureRefused as refused:
        return refused.reason


@pytest.mark.parametrize("content_type", sorted(set(ENCODERS) - {"image/heic"}))
def test_damage_makes_another_picture_or_none(content_type: str) -> None:
    outcomes = {outcome(body) for body in damaged(ENCODERS[content_type](quarters()))}

    assert outcomes <= {"image/jpeg", "unreadable", "unsupported_format", "too_large", "too_small"}
    assert len(outcomes) > 1


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (EOFError(), "unreadable"),
        (IndexError(), "unreadable"),
        (KeyError(), "unreadable"),
        (MemoryError(), "too_large"),
        (NotImplementedError(), "unreadable"),
        (OSError(), "unreadable"),
        (OverflowError(), "unreadable"),
        (SyntaxError(), "unreadable"),
        (UnicodeDecodeError("utf-8", b"", 0, 0, ""), "unreadable"),
        (ZeroDivisionError(), "unreadable"),
        (struct.error(), "unreadable"),
        (zlib.error(), "unreadable"),
    ],
    ids=lambda value: value if isinstance(value, str) else type(value).__name__,
)
def test_whatever_a_decoder_raises_is_the_pictures_fault(
    monkeypatch: pytest.MonkeyPatch, error: Exception, reason: str
) -> None:
    monkeypatch.setattr("PIL.BmpImagePlugin.BmpImageFile.load", Mock(side_effect=error), raising=False)

    assert refusal(ENCODERS["image/bmp"](quarters())) == reason


def test_a_mistake_of_ours_is_no_pictures_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("chalicelib.decoding.UPRIGHT", None)

    with pytest.raises(TypeError):
        converted(turned(3, ENCODERS["image/jpeg"]))
