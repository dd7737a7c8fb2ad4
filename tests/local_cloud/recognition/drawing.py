"""Pictures: the samples, and what tests draw."""

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from local_cloud.recognition.boxes import Detection
from local_cloud.recognition.picture import Picture, read_picture

SAMPLES = Path(__file__).parents[3] / "samples"


def sample(name: str) -> Image.Image:
    return Image.open(SAMPLES / name).convert("RGB")


def encode(image: Image.Image, fmt: str = "PNG", **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, fmt, **options)
    return buffer.getvalue()


def picture_of(image: Image.Image) -> Picture:
    return read_picture(encode(image))


def write(*lines: str, size: tuple[int, int] = (800, 600), height: int = 32) -> Image.Image:
    paper = Image.new("RGB", size, "white")
    font = ImageFont.load_default(height)
    for position, line in enumerate(lines):
        ImageDraw.Draw(paper).text((40, 30 + position * height * 1.5), line, "black", font)
    return paper


def draw_qr_code(text: str, pixels_a_module: int = 7) -> Image.Image:
    code = cv2.QRCodeEncoder.create().encode(text)
    side = len(code) * pixels_a_module
    return Image.fromarray(code).resize((side, side), Image.Resampling.NEAREST).convert("RGB")


def mirrored_cat() -> Image.Image:
    """The sample cat looks aside; its near half and that half's mirror image look at the camera."""
    cat = np.asarray(sample("chelsea.png"))
    turn = cv2.getRotationMatrix2D((225, 130), -20, 1)
    turn[:, 2] += 150
    turned = cv2.warpAffine(cat, turn, (751, 600), borderMode=cv2.BORDER_REFLECT)
    half = turned[:, 400:660]
    whole = Image.fromarray(np.concatenate([half[:, ::-1], half], axis=1))
    return whole.resize((364, 420))


def noise(seed: int, grain: int, size: tuple[int, int] = (480, 360)) -> Image.Image:
    """Random colours in grains of so many pixels, blurred into one another."""
    width, height = size[0] // grain, size[1] // grain
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)
    return Image.fromarray(pixels).resize(size, Image.Resampling.BICUBIC)


def gradient(axis: int) -> Image.Image:
    ramp: NDArray[np.uint8] = np.linspace(0, 255, 400).astype(np.uint8)
    plane = np.tile(ramp, (400, 1))
    return Image.fromarray(plane if axis else plane.T).convert("RGB")


def checks(side: int) -> Image.Image:
    y, x = np.mgrid[0:400, 0:400]
    return Image.fromarray((((x // side + y // side) % 2) * 255).astype(np.uint8)).convert("RGB")


def labels_of(detections: Sequence[Detection]) -> list[str]:
    return [detection.label for detection in detections]
