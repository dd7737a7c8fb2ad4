from __future__ import annotations

import io
import struct
import zlib
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile

from local_cloud.recognition.errors import TooLarge, TooSmall, Unreadable

Pixels = NDArray[np.uint8]

MIN_SIDE = 80
MAX_SIDE = 10_000
WORKING_SIDE = 2_000
# Those whose values can be averaged: shrunk first, they need no copies of a hundred million pixels.
SHRINKABLE = frozenset({"L", "LA", "RGB", "RGBA", "CMYK"})
# What Pillow raises for bytes that were cut off or changed.
BROKEN = (
    OSError,
    SyntaxError,
    ValueError,
    TypeError,
    LookupError,
    EOFError,
    struct.error,
    zlib.error,
    OverflowError,
)


@dataclass(frozen=True)
class Picture:
    """A JPEG or PNG whose header passed Rekognition's limits; width and height are those of the header."""

    data: bytes
    is_jpeg: bool
    width: int
    height: int

    @cached_property
    def pixels(self) -> Pixels:
        """Height x width x RGB, upright by a JPEG's EXIF, no side above 2,000. Unreadable if cut off."""
        return np.asarray(self.decode(WORKING_SIDE))

    def decode(self, max_side: int) -> Image.Image:
        """The RGB picture, upright if a JPEG's EXIF says how, shrunk to max_side. Unreadable if cut off."""
        try:
            return _decode(self.data, self.is_jpeg, max_side)
        except BROKEN as error:
            raise Unreadable(f"Request has invalid image format: {error}") from error


def read_picture(data: bytes) -> Picture:
    """Look at the header only, so that a decompression bomb is refused unopened.

    Raises Unreadable, TooLarge or TooSmall.
    """
    image = _open(data)
    width, height = image.size
    if max(width, height) > MAX_SIDE:
        raise TooLarge(f"Image is {width} x {height} pixels; no side may exceed {MAX_SIDE}")
    if min(width, height) < MIN_SIDE:
        raise TooSmall(f"Image is {width} x {height} pixels; each side must have at least {MIN_SIDE}")
    return Picture(data, isinstance(image, JpegImageFile), width, height)


def _open(data: bytes) -> JpegImageFile | PngImageFile:
    try:
        if data.startswith(b"\xff\xd8\xff"):
            return JpegImageFile(io.BytesIO(data))
        if data.startswith(b"\x89PNG\r\n\x1a\n"):
            return PngImageFile(io.BytesIO(data))
    except BROKEN as error:
        raise Unreadable(f"Request has invalid image format: {error}") from error
    raise Unreadable("Request has invalid image format: neither JPEG nor PNG")


def _decode(data: bytes, is_jpeg: bool, max_side: int) -> Image.Image:
    image: Image.Image = _open(data)
    image.draft("RGB", (max_side, max_side))
    image.load()
    if image.mode in SHRINKABLE:
        image.thumbnail((max_side, max_side), Image.Resampling.BOX)
    rgb = _to_rgb(_turn_upright(image) if is_jpeg else image)
    rgb.thumbnail((max_side, max_side), Image.Resampling.BOX)
    return rgb


def _turn_upright(image: Image.Image) -> Image.Image:
    """Rekognition follows a JPEG's EXIF orientation, and ignores a PNG's."""
    try:
        return ImageOps.exif_transpose(image)
    except BROKEN:
        return image


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I"):
        return Image.fromarray((np.asarray(image) >> 8).astype(np.uint8)).convert("RGB")
    if not image.has_transparency_data:
        return image.convert("RGB")
    paper = Image.new("RGBA", image.size, "white")
    return Image.alpha_composite(paper, image.convert("RGBA")).convert("RGB")
