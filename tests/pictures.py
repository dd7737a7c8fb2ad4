"""Small real pictures of every format, made here."""

import io
import json
import struct
import zlib
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any

from PIL import Image

import_module("pillow_heif.HeifImagePlugin")  # teaches Pillow one more format

LabelSpec = Mapping[str, Any]
Encoder = Callable[..., bytes]

COLOURS = {"R": (220, 30, 40), "G": (30, 170, 60), "B": (30, 60, 210), "Y": (240, 220, 40), "W": (255,) * 3}
UPRIGHT = "RGBY"  # the colours of the quarters: top left, top right, bottom left, bottom right
# What is stored so that a viewer shows the above, for each orientation in EXIF's words: which side of the
# picture the first row is, and which the first column.
STORED = {
    1: "RGBY",  # top, left
    2: "GRYB",  # top, right
    3: "YBGR",  # bottom, right
    4: "BYRG",  # bottom, left
    5: "RBGY",  # left, top
    6: "GYRB",  # right, top
    7: "YGBR",  # right, bottom
    8: "BRYG",  # left, bottom
}
ORIENTATION, XMP = 274, 700  # tags of EXIF and TIFF


def picture(*labels: LabelSpec | str, fmt: str = "PNG", size: tuple[int, int] = (80, 80)) -> bytes:
    """A real picture with a note behind its end of what the scripted Rekognition is to see in it."""
    note = json.dumps([_spell(label) for label in labels]).encode()
    return encoded(Image.new("RGB", size, "teal"), fmt) + note


def note_in(body: bytes) -> list[dict[str, Any]]:
    """What `picture` noted behind the end of a PNG or a JPEG."""
    start = max(body.rfind(end) + len(end) for end in (b"IEND\xaeB`\x82", b"\xff\xd9") if end in body)
    labels: list[dict[str, Any]] = json.loads(body[start:] or b"[]")
    return labels


def encoded(image: Image.Image, fmt: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, fmt, **options)
    return buffer.getvalue()


def decoded(body: bytes) -> Image.Image:
    image = Image.open(io.BytesIO(body))
    image.load()
    return image


def quarters(colours: str = UPRIGHT, size: tuple[int, int] = (160, 120)) -> Image.Image:
    """A picture whose quarters are of these colours, row by row."""
    four = Image.new("RGB", (2, 2))
    four.putdata([COLOURS[colour] for colour in colours])
    return four.resize(size, Image.Resampling.NEAREST)


def seen(body: bytes) -> str:
    """The colours of the quarters of what these bytes show."""
    image = decoded(body).convert("RGB")
    across, down = image.width // 4, image.height // 4
    middles = [(across, down), (3 * across, down), (across, 3 * down), (3 * across, 3 * down)]
    return "".join(_nearest(image.getpixel(middle)) for middle in middles)


def turned(orientation: int, encoder: Encoder, size: tuple[int, int] = (160, 120)) -> bytes:
    """A file that a viewer shows upright, in that size, and stores in this orientation."""
    stored = quarters(STORED[orientation], size if orientation < 5 else size[::-1])
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    return encoder(stored, exif=exif.tobytes())


def _encoder(fmt: str, **options: Any) -> Encoder:
    return lambda image, **more: encoded(image, fmt, **(options | more))


def _tiff(image: Image.Image, exif: bytes = b"", **options: Any) -> bytes:
    tags = Image.Exif()
    tags.load(exif)
    return encoded(image, "TIFF", tiffinfo=dict(tags), **options)


ENCODERS: dict[str, Encoder] = {
    "image/jpeg": _encoder("JPEG", quality=95),
    "image/png": _encoder("PNG"),
    "image/webp": _encoder("WEBP", quality=90),
    "image/heic": _encoder("HEIF", quality=90),
    "image/avif": _encoder("AVIF", quality=90, speed=10),
    "image/gif": _encoder("GIF"),
    "image/tiff": _tiff,
    "image/bmp": _encoder("BMP"),
}


def png(size: tuple[int, int], bits: int, colours: int, row: bytes, *chunks: bytes) -> bytes:
    """A PNG of equal rows, of kinds that Pillow does not write."""
    header = struct.pack(">IIBBBBB", *size, bits, colours, 0, 0, 0)
    pixels = zlib.compress((b"\0" + row) * size[1])
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        [png_chunk(b"IHDR", header), *chunks, png_chunk(b"IDAT", pixels), png_chunk(b"IEND")]
    )


def png_chunk(kind: bytes, body: bytes = b"") -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def tiff(order: str, *tags: tuple[int, int, int], big: bool = False) -> bytes:
    """A TIFF of one directory with these tags, types and values."""
    mark = b"II" if order == "<" else b"MM"
    if big:
        entries = [struct.pack(order + "HHQQ", tag, kind, 1, value) for tag, kind, value in tags]
        return mark + struct.pack(order + "HHHQQ", 43, 8, 0, 16, len(tags)) + b"".join(entries)
    number = {3: "HHIHxx", 4: "HHII"}
    entries = [struct.pack(order + number[kind], tag, kind, 1, value) for tag, kind, value in tags]
    return mark + struct.pack(order + "HIH", 42, 8, len(tags)) + b"".join(entries)


def _nearest(pixel: Any) -> str:
    def distance(colour: str) -> int:
        return sum(abs(ours - theirs) for ours, theirs in zip(COLOURS[colour], pixel, strict=True))

    return min(COLOURS, key=distance)


def _spell(label: LabelSpec | str) -> LabelSpec:
    """`Dog 98.5` is short for a label with that confidence and nothing else."""
    if not isinstance(label, str):
        return label
    name, _, confidence = label.rpartition(" ")
    return {"Name": name, "Confidence": float(confidence)}
