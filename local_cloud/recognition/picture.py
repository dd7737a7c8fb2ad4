from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageOps
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile

from local_cloud.recognition.errors import TooLarge, TooSmall, Unreadable
from local_cloud.recognition.memory import Memory

T = TypeVar("T")
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
class Content:
    """What decoding yields: height x width x RGB, and the texts that the file carries beside its pixels."""

    pixels: Pixels
    notes: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class Picture:
    """A JPEG or PNG whose header passed Rekognition's limits; width and height are those of the header.

    It remembers what was found out about it, so that threads that look at it together share their work.
    """

    data: bytes = field(repr=False)
    is_jpeg: bool
    width: int
    height: int
    _memory: Memory = field(default_factory=Memory, repr=False)

    @property
    def pixels(self) -> Pixels:
        """Height x width x RGB, upright by a JPEG's EXIF, no side above 2,000. Unreadable if cut off."""
        return self._content.pixels

    @property
    def notes(self) -> tuple[str, ...]:
        """A PNG's texts, with their keywords and without, a JPEG's comments, and EXIF's image description."""
        return self._content.notes

    def recall(self, key: Hashable, work: Callable[[], T]) -> T:
        """What work returned when the key was first asked for, in whichever thread."""
        return self._memory.recall(key, work)

    def decode(self, max_side: int) -> Image.Image:
        """The RGB picture, upright if a JPEG's EXIF says how, shrunk to max_side. Unreadable if cut off."""
        with _unreadable_if_broken():
            return _to_upright_rgb(_load(self.data, max_side), self.is_jpeg, max_side)

    @property
    def _content(self) -> Content:
        return self.recall("content", self._read_content)

    def _read_content(self) -> Content:
        with _unreadable_if_broken():
            image = _load(self.data, WORKING_SIDE)
            notes = tuple(_notes(image))
            return Content(np.asarray(_to_upright_rgb(image, self.is_jpeg, WORKING_SIDE)), notes)


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


@contextmanager
def _unreadable_if_broken() -> Iterator[None]:
    try:
        yield
    except BROKEN as error:
        raise Unreadable(f"Request has invalid image format: {error}") from error


def _open(data: bytes) -> JpegImageFile | PngImageFile:
    with _unreadable_if_broken():
        if data.startswith(b"\xff\xd8\xff"):
            return JpegImageFile(io.BytesIO(data))
        if data.startswith(b"\x89PNG\r\n\x1a\n"):
            return PngImageFile(io.BytesIO(data))
    raise Unreadable("Request has invalid image format: neither JPEG nor PNG")


def _load(data: bytes, max_side: int) -> JpegImageFile | PngImageFile:
    image = _open(data)
    image.draft("RGB", (max_side, max_side))
    image.load()
    return image


def _notes(image: JpegImageFile | PngImageFile) -> Iterator[str]:
    if isinstance(image, PngImageFile):
        for keyword, text in image.text.items():
            yield f"{keyword}: {text}"
            yield text
    else:
        for marker, segment in image.applist:
            if marker == "COM":
                yield segment.decode(errors="replace")
    yield from _image_description(image)


def _image_description(image: Image.Image) -> Iterator[str]:
    try:
        description = image.getexif().get(ExifTags.Base.ImageDescription)
    except BROKEN:
        return
    if description:
        yield str(description)


def _to_upright_rgb(image: Image.Image, is_jpeg: bool, max_side: int) -> Image.Image:
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
