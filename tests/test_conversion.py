import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from tempfile import TemporaryFile
from typing import BinaryIO

import pytest
from PIL import Image

from chalicelib import conversion
from chalicelib.conversion import Converter
from chalicelib.errors import PictureRefused
from tests.conftest import ROOT
from tests.pictures import ENCODERS, UPRIGHT, decoded, encoded, png, quarters, seen

MEGABYTE = 2**20
CONVERTER = Converter(max_pixels=100_000_000, max_memory=500 * MEGABYTE, max_seconds=60)

File = Callable[[bytes], BinaryIO]


@pytest.fixture
def file() -> Iterator[File]:
    with ExitStack() as files:

        def hold(body: bytes) -> BinaryIO:
            held: BinaryIO = files.enter_context(TemporaryFile())
            held.write(body)
            return held

        yield hold


def instead_of_the_decoder(monkeypatch: pytest.MonkeyPatch, code: str) -> None:
    monkeypatch.setattr(conversion, "DECODER", (sys.executable, "-c", code))


def refusal(converter: Converter, held: BinaryIO) -> str:
    with pytest.raises(PictureRefused) as refused:
        converter.to_jpeg(held)
    return refused.value.reason


@pytest.mark.parametrize("content_type", ["image/heic", "image/tiff"])
def test_a_picture_becomes_a_jpeg(file: File, content_type: str) -> None:
    assert seen(CONVERTER.to_jpeg(file(ENCODERS[content_type](quarters())))) == UPRIGHT


def test_a_file_is_read_from_its_beginning_again_and_again(file: File) -> None:
    held = file(ENCODERS["image/webp"](quarters()))

    assert CONVERTER.to_jpeg(held) == CONVERTER.to_jpeg(held)


def test_a_picture_that_is_refused_is_refused_with_the_decoders_reason(file: File) -> None:
    few = Converter(max_pixels=100, max_memory=CONVERTER.max_memory, max_seconds=60)

    assert refusal(few, file(ENCODERS["image/gif"](quarters()))) == "too_large"
    assert refusal(CONVERTER, file(b"%PDF-1.7")) == "unsupported_format"


def strip(fmt: str) -> bytes:
    """24 million pixels, which are 92 MB when they are decoded, in a few kilobytes."""
    width, height = 24_000, 1000
    if fmt == "PNG":
        return png((width, height), 8, 6, bytes(4 * width))
    return encoded(Image.new("RGB", (width, height)), fmt)


@pytest.mark.parametrize(("fmt", "megabytes"), [("PNG", 180), ("JPEG", 90)])
def test_a_large_picture_is_never_in_memory_twice_and_a_large_jpeg_not_even_once(
    file: File, fmt: str, megabytes: int
) -> None:
    just_enough = Converter(CONVERTER.max_pixels, megabytes * MEGABYTE, 60)

    assert decoded(just_enough.to_jpeg(file(strip(fmt)))).size == (4096, 171)


def test_a_picture_that_takes_more_memory_than_there_is_is_too_large(file: File) -> None:
    little = Converter(CONVERTER.max_pixels, 90 * MEGABYTE, 60)

    assert refusal(little, file(strip("PNG"))) == "too_large"


def test_a_picture_that_takes_more_time_than_there_is_is_too_large(
    file: File, monkeypatch: pytest.MonkeyPatch
) -> None:
    instead_of_the_decoder(monkeypatch, "import time; time.sleep(3600)")

    assert refusal(Converter(1, 1, max_seconds=0.1), file(b"")) == "too_large"


def test_a_picture_that_crashes_its_decoder_is_unreadable(
    file: File, monkeypatch: pytest.MonkeyPatch
) -> None:
    instead_of_the_decoder(monkeypatch, "import os, signal; os.kill(os.getpid(), signal.SIGSEGV)")

    assert refusal(CONVERTER, file(b"")) == "unreadable"


def test_a_decoder_that_does_not_start_is_no_pictures_fault(
    file: File, monkeypatch: pytest.MonkeyPatch
) -> None:
    instead_of_the_decoder(monkeypatch, "import no_such_module")

    with pytest.raises(RuntimeError, match="No module named 'no_such_module'"):
        CONVERTER.to_jpeg(file(b""))


def test_nothing_waits_for_pillow_until_a_picture_is_converted() -> None:
    code = "import sys; from chalicelib import conversion, services; sys.exit('PIL' in sys.modules)"

    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)
