"""What the bytes are, whatever the name or the declared type says."""

import struct
from dataclasses import dataclass

JPEG, PNG = "image/jpeg", "image/png"

# Start-of-frame markers carry the size; C4, C8 and CC in their midst are tables.
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_WITHOUT_LENGTH = frozenset({0x01, *range(0xD0, 0xD8)})


@dataclass(frozen=True)
class Picture:
    """The format, and the sides in pixels as far as the first bytes tell them."""

    content_type: str | None
    width: int | None = None
    height: int | None = None


def inspect(head: bytes) -> Picture:
    if head.startswith(b"\x89PNG\r\n\x1a\n"):
        return Picture(PNG, *_png_size(head))
    if head.startswith(b"\xff\xd8\xff"):
        return Picture(JPEG, *_jpeg_size(head))
    return Picture(None)


def _png_size(head: bytes) -> tuple[int | None, int | None]:
    if len(head) < 24 or head[12:16] != b"IHDR":
        return None, None
    width, height = struct.unpack(">II", head[16:24])
    return width, height


def _jpeg_size(head: bytes) -> tuple[int | None, int | None]:
    at = 2
    while at + 9 <= len(head) and head[at] == 0xFF:
        marker = head[at + 1]
        if marker in _FRAMES:
            height, width = struct.unpack(">HH", head[at + 5 : at + 9])
            return width, height or None  # the height may follow the first scan
        at += _segment_bytes(head, at, marker)
    return None, None


def _segment_bytes(head: bytes, at: int, marker: int) -> int:
    if marker == 0xFF:  # fill byte
        return 1
    if marker in _WITHOUT_LENGTH:
        return 2
    return 2 + int(struct.unpack(">H", head[at + 2 : at + 4])[0])
