"""Compiled files, made without a compiler: only what tells a loader what they need."""

from collections.abc import Mapping, Sequence
from struct import pack

MACHINES = {"x86_64": 62, "aarch64": 183}
PT_LOAD, PT_DYNAMIC = 1, 2
SHT_STRTAB, SHT_DYNAMIC, SHT_GNU_VERNEED = 3, 6, 0x6FFFFFFE
DT_NEEDED, DT_HASH, DT_STRTAB, DT_SYMTAB, DT_STRSZ, DT_SYMENT, DT_RPATH, DT_RUNPATH = (
    1,
    4,
    5,
    6,
    10,
    11,
    15,
    29,
)
DT_VERNEED, DT_VERNEEDNUM = 0x6FFFFFFE, 0x6FFFFFFF
HEADER, PROGRAM_HEADER, SECTION_HEADER = 64, 56, 64


def compiled(
    machine: str = "x86_64",
    *,
    needs: Sequence[str] = (),
    rpath: str = "",
    runpath: str = "",
    versions: Mapping[str, Sequence[str]] | None = None,
    weak: bool = False,
    section_headers: bool = True,
) -> bytes:
    """A shared library without code; `versions` are the symbol versions that it needs of each library."""
    strings = _Strings()
    start = HEADER + 2 * PROGRAM_HEADER
    symbols, hashes = bytes(24), pack("<4I", 1, 1, 0, 0)  # none but the empty one
    needed = _needed_versions(versions or {}, strings, flags=2 if weak else 0)
    tags = [(DT_NEEDED, strings.at(library)) for library in needs]
    tags += [(tag, strings.at(path)) for tag, path in ((DT_RPATH, rpath), (DT_RUNPATH, runpath)) if path]
    text = strings.text
    at_hashes = start + len(symbols)
    at_versions = at_hashes + len(hashes)
    at_text = at_versions + len(needed)
    at_dynamic = -(-(at_text + len(text)) // 8) * 8
    tags += [
        (DT_HASH, at_hashes),
        (DT_STRTAB, at_text),
        (DT_SYMTAB, start),
        (DT_STRSZ, len(text)),
        (DT_SYMENT, 24),
    ]
    if versions:
        tags += [(DT_VERNEED, at_versions), (DT_VERNEEDNUM, len(versions))]
    dynamic = b"".join(pack("<2Q", *tag) for tag in [*tags, (0, 0)])
    body = (symbols + hashes + needed + text).ljust(at_dynamic - start, b"\0") + dynamic
    end = start + len(body)
    names = b"\0.dynstr\0.dynamic\0.gnu.version_r\0.shstrtab\0"
    sections = [
        (0,) * 10,
        (1, SHT_STRTAB, 2, at_text, at_text, len(text), 0, 0, 1, 0),
        (9, SHT_DYNAMIC, 2, at_dynamic, at_dynamic, len(dynamic), 1, 0, 8, 16),
        (18, SHT_GNU_VERNEED, 2, at_versions, at_versions, len(needed), 1, len(versions or {}), 4, 0),
        (33, SHT_STRTAB, 0, 0, end, len(names), 0, 0, 1, 0),
    ]
    header = pack(
        "<16s2HI3QI6H",
        b"\x7fELF\x02\x01\x01",
        *(3, MACHINES[machine], 1, 0, HEADER, end + len(names) if section_headers else 0, 0),
        *(HEADER, PROGRAM_HEADER, 2, SECTION_HEADER, *((len(sections), 4) if section_headers else (0, 0))),
    )
    programs = pack("<2I6Q", PT_LOAD, 6, 0, 0, 0, end, end, 4096)
    programs += pack(
        "<2I6Q", PT_DYNAMIC, 6, at_dynamic, at_dynamic, at_dynamic, len(dynamic), len(dynamic), 8
    )
    headers = b"".join(pack("<2I4Q2I2Q", *section) for section in sections) if section_headers else b""
    return header + programs + body + names + headers


def _needed_versions(versions: Mapping[str, Sequence[str]], strings: "_Strings", flags: int) -> bytes:
    needed = b""
    for left, (library, names) in zip(range(len(versions) - 1, -1, -1), versions.items(), strict=True):
        size = 16 * (1 + len(names))
        needed += pack("<2H3I", 1, len(names), strings.at(library), 16, size if left else 0)
        for index, name in enumerate(names, start=1):
            following = 16 if index < len(names) else 0
            needed += pack("<I2H2I", _hash(name), flags, index + 1, strings.at(name), following)
    return needed


def _hash(name: str) -> int:
    """The System V ABI's, by which a loader compares versions."""
    value = 0
    for byte in name.encode():
        value = (value << 4) + byte
        high = value & 0xF0000000
        value = (value ^ high >> 24) & ~high
    return value


class _Strings:
    def __init__(self) -> None:
        self.text = b"\0"

    def at(self, string: str) -> int:
        offset = len(self.text)
        self.text += string.encode() + b"\0"
        return offset
