"""What the bytes are, whatever the name or the declared type says, and what is to be done with them."""

import struct
from collections.abc import Iterator
from dataclasses import dataclass

JPEG, PNG = "image/jpeg", "image/png"
AVIF, BMP, GIF, HEIC, HEIF, TIFF, WEBP = (
    f"image/{name}" for name in ("avif", "bmp", "gif", "heic", "heif", "tiff", "webp")
)
CONVERTIBLE = frozenset({JPEG, PNG, AVIF, BMP, GIF, HEIC, HEIF, TIFF, WEBP})

# What Rekognition takes: https://docs.aws.amazon.com/rekognition/latest/dg/limits.html
MAX_OBJECT_BYTES = 15 * 1024 * 1024
MAX_SENT_BYTES = 5 * 1024 * 1024
MIN_SIDE, MAX_SIDE = 80, 10_000

_SIGNATURES = (
    (0, b"\xff\xd8\xff", JPEG),
    (0, b"\x89PNG\r\n\x1a\n", PNG),
    (0, b"GIF87a", GIF),
    (0, b"GIF89a", GIF),
    (0, b"II*\0", TIFF),
    (0, b"MM\0*", TIFF),
    (0, b"II+\0\x08\0\0\0", TIFF),  # BigTIFF
    (0, b"MM\0+\0\x08\0\0", TIFF),
    (8, b"WEBPVP8", WEBP),
    # What is named in the answer, and never decoded.
    (0, b"\0\0\0\x0cjP  \r\n\x87\n", "image/jp2"),
    (0, b"\0\0\0\x0cJXL \r\n\x87\n", "image/jxl"),
    (0, b"\xff\x0a", "image/jxl"),
    (0, b"8BPS\0", "image/vnd.adobe.photoshop"),
    (0, b"\0\0\1\0", "image/vnd.microsoft.icon"),
    (0, b"%PDF-", "application/pdf"),
    (0, b"%!PS", "application/postscript"),
    (0, b"PK\3\4", "application/zip"),
    (0, b"PK\5\6", "application/zip"),
    (0, b"\x1f\x8b\x08", "application/gzip"),
    (0, b"BZh", "application/x-bzip2"),
    (0, b"\xfd7zXZ\0", "application/x-xz"),
    (0, b"\x28\xb5\x2f\xfd", "application/zstd"),
    (0, b"7z\xbc\xaf\x27\x1c", "application/x-7z-compressed"),
    (0, b"Rar!\x1a\x07", "application/vnd.rar"),
    (257, b"ustar", "application/x-tar"),
    (0, b"\0\0\1\xba", "video/mpeg"),
    (0, b"FLV\1", "video/x-flv"),
    (8, b"AVI LIST", "video/x-msvideo"),
    (0, b"OggS\0", "application/ogg"),
)
_MOVIES = {b"qt  ": "video/quicktime", b"crx ": "image/x-canon-cr3", b"M4A ": "audio/mp4"}
_HEIC_BRANDS = frozenset({b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs"})
_HEIF_BRANDS = frozenset({b"mif1", b"mif2", b"msf1"})
_BMP_HEADERS = frozenset({12, 16, 40, 52, 56, 64, 108, 124})

# Start-of-frame markers carry the size; C4, C8 and CC in their midst are tables.
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_WITHOUT_LENGTH = frozenset({0x01, *range(0xD0, 0xD8)})
_EXIF = b"Exif\0\0"

_WIDTH, _HEIGHT, _ORIENTATION = 256, 257, 274  # TIFF tags, which are EXIF's as well
_NUMBERS = {3: "H", 4: "I", 16: "Q"}  # TIFF's types of whole numbers


@dataclass(frozen=True)
class Picture:
    """What the first bytes tell; None is what they do not.

    The sides are those of the stored pixels, before any turn or crop. The rest is told of JPEG and PNG only.
    """

    content_type: str | None
    width: int | None = None
    height: int | None = None
    bits: int | None = None  # of one channel
    channels: int | None = None
    orientation: int | None = None  # EXIF's, 1 to 8


def refusal(picture: Picture, size: int, max_bytes: int, max_pixels: int) -> str | None:
    """Why the picture is not to be downloaded or decoded at all."""
    if size == 0:
        return "empty"
    if picture.content_type not in CONVERTIBLE or (picture.content_type == JPEG and (picture.bits or 8) != 8):
        return "unsupported_format"
    if size > max_bytes or (picture.width or 0) * (picture.height or 0) > max_pixels:
        return "too_large"
    if any(side is not None and side < MIN_SIDE for side in (picture.width, picture.height)):
        return "too_small"
    return None


def is_readable_as_it_is(picture: Picture, size: int) -> bool:
    """Whether Rekognition itself reads the object, with boxes in the frame that a viewer shows.

    It turns a JPEG by its EXIF orientation, and a PNG never. What the first bytes leave open is converted:
    the profiles that fill them are mostly those of CMYK pictures.
    """
    plain = {
        JPEG: picture.bits == 8 and picture.channels in (1, 3),
        PNG: picture.bits in (1, 2, 4, 8) and picture.orientation == 1,
    }
    sides = (picture.width or MAX_SIDE + 1, picture.height or MAX_SIDE + 1)
    return (
        size <= MAX_OBJECT_BYTES and max(sides) <= MAX_SIDE and plain.get(picture.content_type or "", False)
    )


def inspect(head: bytes) -> Picture:
    """Looks at an object's first bytes; 64 kB mostly tell everything. No bytes are too odd."""
    content_type = _content_type(head)
    try:
        return _inspect(head, content_type)
    except struct.error:  # the first bytes end before the size, or what points to it lies
        return Picture(content_type)


def exif_orientation(exif: bytes) -> int:
    """The orientation in an EXIF block, from 1 to 8: 1 if it tells none."""
    orientation = _first_directory(exif.removeprefix(_EXIF)).get(_ORIENTATION, 1)
    return orientation if 1 <= orientation <= 8 else 1


def _content_type(head: bytes) -> str | None:
    for at, signature, content_type in _SIGNATURES:
        if head.startswith(signature, at):
            return content_type
    if head[4:8] == b"ftyp":
        return _media_type(head)
    if head.startswith(b"BM") and int.from_bytes(head[14:18], "little") in _BMP_HEADERS:
        return BMP
    if head.startswith(b"\x1a\x45\xdf\xa3"):
        return "video/webm" if b"webm" in head[:64] else "video/x-matroska"
    return "image/svg+xml" if _is_svg(head) else None


def _media_type(head: bytes) -> str:
    """Of the family of MP4, by the brands in its first box."""
    brands = head[8 : min(int.from_bytes(head[:4]), 256)]
    major, *others = (brands[at : at + 4] for at in range(0, max(len(brands), 1), 4))
    known = {major, *others[1:]}  # the major brand's version stands in between
    if known & {b"avif", b"avis"}:
        return AVIF
    if known & _HEIC_BRANDS:
        return HEIC
    if known & _HEIF_BRANDS:
        return HEIF
    return _MOVIES.get(major, "video/mp4")


def _is_svg(head: bytes) -> bool:
    text = head[:1024].removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    return text.startswith(b"<svg") or (
        text.startswith((b"<?xml", b"<!--", b"<!doctype svg")) and b"<svg" in text
    )


def _inspect(head: bytes, content_type: str | None) -> Picture:
    match content_type:
        case "image/jpeg":
            return _inspect_jpeg(head)
        case "image/png":
            return _inspect_png(head)
        case "image/webp":
            return Picture(WEBP, *_webp_size(head))
        case "image/gif":
            return Picture(GIF, *struct.unpack_from("<HH", head, 6))
        case "image/bmp":
            return Picture(BMP, *_bmp_size(head))
        case "image/tiff":
            tags = _first_directory(head)
            return Picture(TIFF, tags.get(_WIDTH), tags.get(_HEIGHT))
        case "image/avif" | "image/heic" | "image/heif":
            return Picture(content_type, *_heif_size(head))
    return Picture(content_type)


def _inspect_jpeg(head: bytes) -> Picture:
    at, exif = 2, b""
    while head[at : at + 1] == b"\xff":
        [marker] = struct.unpack_from("B", head, at + 1)
        if marker in _FRAMES:
            bits, height, width, channels = struct.unpack_from(">BHHB", head, at + 4)
            # The height may also follow the first scan.
            return Picture(JPEG, width, height or None, bits, channels, exif_orientation(exif))
        size = _segment_bytes(head, at, marker)
        if marker == 0xE1 and not exif and head.startswith(_EXIF, at + 4):
            exif = head[at + 4 : at + size]
        at += size
    return Picture(JPEG)


def _segment_bytes(head: bytes, at: int, marker: int) -> int:
    if marker == 0xFF:  # fill byte
        return 1
    if marker in _WITHOUT_LENGTH:
        return 2
    return 2 + int(struct.unpack_from(">H", head, at + 2)[0])


def _inspect_png(head: bytes) -> Picture:
    kind, width, height, bits, colours = struct.unpack_from(">4sIIBB", head, 12)
    if kind != b"IHDR":
        return Picture(PNG)
    channels = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}.get(colours)
    return Picture(PNG, width, height, bits, channels, _png_orientation(head))


def _png_orientation(head: bytes) -> int | None:
    """What stands before the pixels; None while they are out of sight."""
    at = 8
    while at + 8 <= len(head):
        size, kind = struct.unpack_from(">I4s", head, at)
        if kind == b"eXIf" and at + 8 + size <= len(head):
            return exif_orientation(head[at + 8 : at + 8 + size])
        if kind == b"IDAT":
            return 1
        at += 12 + size
    return None


def _webp_size(head: bytes) -> tuple[int, int]:
    if head[12:16] == b"VP8X":
        low_width, high_width, low_height, high_height = struct.unpack_from("<HBHB", head, 24)
        return low_width + (high_width << 16) + 1, low_height + (high_height << 16) + 1
    if head[12:16] == b"VP8L":
        [packed] = struct.unpack_from("<I", head, 21)
        return (packed & 0x3FFF) + 1, (packed >> 14 & 0x3FFF) + 1
    width, height = struct.unpack_from("<HH", head, 26)  # its upper two bits ask for a larger rendering
    return width & 0x3FFF, height & 0x3FFF


def _bmp_size(head: bytes) -> tuple[int, int]:
    [header] = struct.unpack_from("<I", head, 14)
    width, height = struct.unpack_from("<HH" if header == 12 else "<ii", head, 18)
    return abs(width), abs(height)  # a negative height means that the top row comes first


def _heif_size(head: bytes) -> tuple[int | None, int | None]:
    """The largest of all sizes: the others are those of tiles and thumbnails."""
    properties = list(_boxes(head, 0, len(head), b"meta", b"iprp", b"ipco", b"ispe"))
    sizes: list[tuple[int, int]] = [struct.unpack_from(">II", head, start + 4) for start, _ in properties]
    return max(sizes, key=lambda size: size[0] * size[1], default=(None, None))


def _boxes(head: bytes, start: int, end: int, kind: bytes, *path: bytes) -> Iterator[tuple[int, int]]:
    """Where the contents of the boxes at a path of kinds start and end."""
    while start + 8 <= end:
        size, name = struct.unpack_from(">I4s", head, start)
        inner = start + 8
        if size == 1:
            [size] = struct.unpack_from(">Q", head, inner)
            inner += 8
        after = start + max(size, 8) if size else end
        if name == kind and after <= end:  # of a box that is cut off, the largest size may be out of sight
            inner += 4 * (name == b"meta")  # its version and flags
            yield from _boxes(head, inner, after, *path) if path else [(inner, after)]
        start = after


def _first_directory(tiff: bytes) -> dict[int, int]:
    """The single whole numbers in the first directory of a TIFF or of an EXIF block."""
    order = "<" if tiff.startswith(b"II") else ">"
    try:
        [magic] = struct.unpack_from(order + "H", tiff, 2)
        big = magic == 43
        [start] = struct.unpack_from(order + ("Q" if big else "I"), tiff, 8 if big else 4)
        [count] = struct.unpack_from(order + ("Q" if big else "H"), tiff, start)
    except (struct.error, OverflowError):
        return {}
    entry, start = (order + "HHQ", start + 8) if big else (order + "HHI", start + 2)
    step = 20 if big else 12
    last = min(start + count * step, len(tiff) - step + 1)
    return dict(_numbers(tiff, range(start, last, step), entry))


def _numbers(tiff: bytes, entries: range, entry: str) -> Iterator[tuple[int, int]]:
    for at in entries:
        tag, kind, count = struct.unpack_from(entry, tiff, at)
        if count == 1 and kind in _NUMBERS:
            yield tag, struct.unpack_from(entry[0] + _NUMBERS[kind], tiff, at + struct.calcsize(entry))[0]
