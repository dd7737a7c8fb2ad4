"""Any picture in, a JPEG that Rekognition reads out: run by conversion.py, as a process of its own."""

import io
import math
import resource
import struct
import sys
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib import import_module
from typing import BinaryIO, cast

from PIL import Image, ImageCms

from chalicelib import imaging
from chalicelib.errors import PictureRefused

# The smallest face that Rekognition finds grows with any picture beyond 1920x1080, so more pixels show it no
# more (https://docs.aws.amazon.com/rekognition/latest/dg/limits.html). 4,096 are twice that, for small print,
# and photographs of that size stay below 5 MB in the first of these qualities.
LONGEST_SIDE = 4096
QUALITIES = (90, 75, 50)
BAND_PIXELS = 2**21

# One decoder for each type: nothing is decoded as what it did not look like, and nothing imported in vain.
DECODERS = {
    imaging.JPEG: ("JPEG", "PIL.JpegImagePlugin"),
    imaging.PNG: ("PNG", "PIL.PngImagePlugin"),
    imaging.AVIF: ("AVIF", "PIL.AvifImagePlugin"),
    imaging.BMP: ("BMP", "PIL.BmpImagePlugin"),
    imaging.GIF: ("GIF", "PIL.GifImagePlugin"),
    imaging.HEIC: ("HEIF", "pillow_heif.HeifImagePlugin"),
    imaging.HEIF: ("HEIF", "pillow_heif.HeifImagePlugin"),
    imaging.TIFF: ("TIFF", "PIL.TiffImagePlugin"),
    imaging.WEBP: ("WEBP", "PIL.WebPImagePlugin"),
}
UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
# What Pillow and its decoders raise for bytes that they do not like.
REASONS: dict[type[Exception], str] = {
    Image.DecompressionBombError: "too_large",
    Image.DecompressionBombWarning: "too_large",
    MemoryError: "too_large",
    ArithmeticError: "unreadable",
    EOFError: "unreadable",
    LookupError: "unreadable",
    OSError: "unreadable",
    RuntimeError: "unreadable",
    SyntaxError: "unreadable",
    ValueError: "unreadable",
    struct.error: "unreadable",
    zlib.error: "unreadable",
}


@contextmanager
def _translated() -> Iterator[None]:
    """The one place that tells a picture's fault; what Pillow only warns of is nobody's."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            yield
    except tuple(REASONS) as error:
        reason = next(reason for kind, reason in REASONS.items() if isinstance(error, kind))
        raise PictureRefused(reason) from error


@_translated()
def to_jpeg(source: BinaryIO, max_pixels: int, max_bytes: int = imaging.MAX_SENT_BYTES) -> bytes:
    """The picture's first frame as a viewer shows it, over white and in sRGB. Raises PictureRefused."""
    Image.MAX_IMAGE_PIXELS = max_pixels
    small, orientation, profile = _decoded(source)
    upright = small.transpose(UPRIGHT[orientation]) if orientation > 1 else small
    return _encoded(_in_srgb(upright, profile), max_bytes)


def _decoded(source: BinaryIO) -> tuple[Image.Image, int, bytes | None]:
    with _opened(source) as image:
        size = _fitting(image.size)
        image.draft(image.mode, size)  # a JPEG is decoded at a half, a quarter or an eighth if that is enough
        image.load()
        orientation = imaging.exif_orientation(image.info.get("exif") or b"")
        return _scaled(image, size), orientation, image.info.get("icc_profile")


def _opened(source: BinaryIO) -> Image.Image:
    source.seek(0)
    content_type = imaging.inspect(source.read(64 * 1024)).content_type
    if content_type not in DECODERS:
        raise PictureRefused("unsupported_format")
    name, plugin = DECODERS[content_type]
    import_module(plugin)
    image = Image.open(source, formats=[name])
    if min(image.size) < imaging.MIN_SIDE:
        raise PictureRefused("too_small")
    image.info.pop("xmp", None)  # where TIFF would find another orientation; viewers heed its own and EXIF's
    return image


def _fitting(size: tuple[int, int]) -> tuple[int, int]:
    """No side too long, nor too short: boxes are shares of the sides, so a strip may become less narrow."""
    scale = min(1, LONGEST_SIDE / max(size))
    width, height = (max(imaging.MIN_SIDE, round(side * scale)) for side in size)
    return width, height


def _scaled(image: Image.Image, size: tuple[int, int]) -> Image.Image:
    """In bands, so that no large picture is in memory twice."""
    levels = _levels(image)
    scale = image.height / size[1]
    margin = math.ceil(4 * scale)  # what the filter takes from neighbouring bands
    step = max(1, int(BAND_PIXELS / image.width / scale))
    scaled = Image.new(_flat(image.crop((0, 0, 1, 1)), levels).mode, size)
    for row in range(0, size[1], step):
        rows = min(step, size[1] - row)
        top = max(0, int(row * scale) - margin)
        bottom = min(image.height, math.ceil((row + rows) * scale) + margin)
        band = _flat(image.crop((0, top, image.width, bottom)), levels)
        box = (0, row * scale - top, image.width, min((row + rows) * scale - top, band.height))
        scaled.paste(band.resize((size[0], rows), Image.Resampling.LANCZOS, box, reducing_gap=3), (0, row))
    return scaled


def _levels(image: Image.Image) -> tuple[float, float] | None:
    """What is black and what is white in a picture of more than 8 bits a channel."""
    if image.mode.startswith("I;16"):
        return 0, 2**16 - 1
    return cast(tuple[float, float], image.getextrema()) if image.mode in ("I", "F") else None


def _flat(band: Image.Image, levels: tuple[float, float] | None) -> Image.Image:
    """In 8 bits a channel, with white where nothing is."""
    if levels:
        black, white = levels
        scale = 255 / ((white - black) or 1)
        return band.convert("F").point(lambda value: value * scale - black * scale).convert("L")
    if band.has_transparency_data:
        ground = Image.new("RGBA", band.size, "white")
        return Image.alpha_composite(ground, band.convert("RGBA")).convert("RGB")
    return band if band.mode in ("L", "RGB", "CMYK") else band.convert("RGB")


def _in_srgb(image: Image.Image, profile: bytes | None) -> Image.Image:
    with suppress(ImageCms.PyCMSError, OSError):  # a profile of no use is as good as none
        if profile:
            own = ImageCms.ImageCmsProfile(io.BytesIO(profile))
            srgb = ImageCms.createProfile("sRGB")
            return ImageCms.profileToProfile(image, own, srgb, outputMode="RGB") or image
    return image.convert("RGB")


def _encoded(image: Image.Image, max_bytes: int) -> bytes:
    for quality in QUALITIES:
        body = io.BytesIO()
        image.save(body, "JPEG", quality=quality)
        if body.tell() <= max_bytes:
            return body.getvalue()
    return _encoded(image.reduce(2), max_bytes)


def main(max_pixels: int, max_memory: int) -> None:
    """Turns standard input into a JPEG on standard output, or into the reason why there is none."""
    _, most = resource.getrlimit(resource.RLIMIT_DATA)
    resource.setrlimit(resource.RLIMIT_DATA, (max_memory, most))
    try:
        answer = to_jpeg(sys.stdin.buffer, max_pixels)
    except PictureRefused as refused:
        answer = refused.reason.encode()
    sys.stdout.buffer.write(answer)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
