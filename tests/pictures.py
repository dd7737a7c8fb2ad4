"""Small real pictures, made here."""

import io
import json
from collections.abc import Mapping
from typing import Any

from PIL import Image

LabelSpec = Mapping[str, Any]


def picture(*labels: LabelSpec | str, fmt: str = "PNG", size: tuple[int, int] = (80, 80)) -> bytes:
    """A real picture with a note behind its end of what the scripted Rekognition is to see in it."""
    buffer = io.BytesIO()
    Image.new("RGB", size, "teal").save(buffer, fmt)
    return buffer.getvalue() + json.dumps([_spell(label) for label in labels]).encode()


def note_in(body: bytes) -> list[dict[str, Any]]:
    """What `picture` noted behind the end of a PNG or a JPEG."""
    start = max(body.rfind(end) + len(end) for end in (b"IEND\xaeB`\x82", b"\xff\xd9") if end in body)
    labels: list[dict[str, Any]] = json.loads(body[start:] or b"[]")
    return labels


def _spell(label: LabelSpec | str) -> LabelSpec:
    """`Dog 98.5` is short for a label with that confidence and nothing else."""
    if not isinstance(label, str):
        return label
    name, _, confidence = label.rpartition(" ")
    return {"Name": name, "Confidence": float(confidence)}
