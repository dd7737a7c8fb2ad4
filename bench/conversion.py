"""What a conversion costs at the default limit of 100 million pixels: `python bench/conversion.py`.

It makes a picture of that size in each format, converts it as the labeller does, in a process of its own,
and tells that process's peak memory and the processor's time. The first row, of a small picture, is what
Python and Pillow take by themselves.
"""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, Any

import PIL
from PIL import Image, ImageChops
from rich import print as show
from rich.table import Table

ROOT = Path(__file__).parent.parent
SIZE = (12_000, 8_333)
SMALL = (640, 480)
MEGABYTE = 2**20
NO_LIMIT = str(64 * 1024 * MEGABYTE)

Change = Callable[[Image.Image], Image.Image]


def as_it_is(image: Image.Image) -> Image.Image:
    return image


def with_transparency(image: Image.Image) -> Image.Image:
    image.putalpha(Image.linear_gradient("L").resize(image.size))
    return image


def in_mode(mode: str) -> Change:
    return lambda image: image.convert(mode)


def turned(image: Image.Image) -> Image.Image:
    image.getexif()[274] = 6
    return image


# Name, what is done to the picture, Pillow's name of the format, and what is asked of its encoder.
KINDS: list[tuple[str, Change, str, dict[str, Any]]] = [
    ("JPEG", as_it_is, "JPEG", {"quality": 85}),
    ("JPEG, progressive, 4:4:4", as_it_is, "JPEG", {"quality": 85, "progressive": True, "subsampling": 0}),
    ("JPEG, CMYK", in_mode("CMYK"), "JPEG", {"quality": 75}),
    ("PNG", as_it_is, "PNG", {"compress_level": 1}),
    ("PNG, transparent", with_transparency, "PNG", {"compress_level": 1}),
    ("GIF", lambda image: image.quantize(32), "GIF", {}),
    ("BMP", as_it_is, "BMP", {}),
    ("TIFF", as_it_is, "TIFF", {}),
    ("TIFF, LZW, turned", turned, "TIFF", {"compression": "tiff_lzw", "tiffinfo": {274: 6}}),
    ("TIFF, real numbers", in_mode("F"), "TIFF", {}),
    ("WebP", as_it_is, "WEBP", {"method": 0}),
    ("WebP, lossless", as_it_is, "WEBP", {"method": 0, "lossless": True, "quality": 0}),
    ("WebP, transparent", with_transparency, "WEBP", {"method": 0}),
    ("AVIF", as_it_is, "AVIF", {"speed": 10}),
    ("AVIF, transparent", with_transparency, "AVIF", {"speed": 10}),
    ("HEIC", as_it_is, "HEIF", {"quality": 10, "enc_params": {"preset": "ultrafast"}}),
]


def photograph(size: tuple[int, int], grain: int) -> Image.Image:
    """A sample scaled up, with some grain: it compresses as a photograph does."""
    image = Image.open(ROOT / "samples/astronaut.png").convert("RGB").resize(size, Image.Resampling.BICUBIC)
    noise = Image.effect_noise((1000, 1000), grain)
    tile = Image.merge("RGB", (noise, noise, noise))
    for left in range(0, size[0], 1000):
        for top in range(0, size[1], 1000):
            box = (left, top, min(left + 1000, size[0]), min(top + 1000, size[1]))
            image.paste(ImageChops.add(image.crop(box), tile, 1, -128), box)
    return image


@contextmanager
def made(number: int, size: tuple[int, int]) -> Iterator[IO[bytes]]:
    """The file of one kind, made by a process that takes its memory away with it."""
    with TemporaryFile() as file:
        command = [sys.executable, __file__, "make", str(number), *map(str, size)]
        subprocess.run(command, stdout=file, check=True)  # noqa: S603
        yield file


def make(number: int, width: int, height: int) -> None:
    import_module("pillow_heif.HeifImagePlugin")
    Image.MAX_IMAGE_PIXELS = None
    _, change, name, options = KINDS[number]
    # HEIC takes its encoder minutes if there is any grain.
    image = change(photograph((width, height), 0 if name == "HEIF" else 12))
    image.save(sys.stdout.buffer, name, **options)


def converted(file: IO[bytes]) -> tuple[float, float, float]:
    """Peak memory in MB, and the seconds of the processor and of the clock."""
    file.seek(0)
    started = time.perf_counter()
    command = [sys.executable, "-m", "chalicelib.decoding", str(SIZE[0] * SIZE[1]), NO_LIMIT]
    with subprocess.Popen(command, stdin=file, stdout=subprocess.PIPE, cwd=ROOT) as process:  # noqa: S603
        assert process.stdout  # noqa: S101
        body = process.stdout.read()
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode or not body.startswith(b"\xff\xd8"):
        raise RuntimeError(f"{process.returncode}: {body[:100]!r}")
    return usage.ru_maxrss / 1024, usage.ru_utime + usage.ru_stime, time.perf_counter() - started


def main() -> None:
    table = Table(box=None, title=f"{SIZE[0] * SIZE[1] / 1e6:.0f} million pixels, Pillow {PIL.__version__}")
    for heading in ("", "file", "peak memory", "of a small PNG's", "bytes a pixel", "processor", "clock"):
        table.add_column(heading, justify="right" if heading else "left")
    with made(3, SMALL) as file:
        least, *_ = measured(table, "a small PNG", file, SMALL, None)
    for number, (name, *_) in enumerate(KINDS):
        with made(number, SIZE) as file:
            measured(table, name, file, SIZE, least)
    show(table)


def measured(
    table: Table, name: str, file: IO[bytes], size: tuple[int, int], least: float | None
) -> tuple[float, float, float]:
    memory, processor, clock = converted(file)
    table.add_row(
        name,
        f"{os.fstat(file.fileno()).st_size / 1e6:.1f} MB",
        f"{memory:.0f} MB",
        f"{memory / (least or memory):.1f}",
        f"{(memory - least) * MEGABYTE / (size[0] * size[1]):.1f}" if least else "",
        f"{processor:.1f} s",
        f"{clock:.1f} s",
    )
    return memory, processor, clock


if __name__ == "__main__":
    if sys.argv[1:2] == ["make"]:
        make(*map(int, sys.argv[2:]))
    else:
        main()
