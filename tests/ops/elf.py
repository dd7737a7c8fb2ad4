"""Compiled files, made without a compiler: no code, only what tells a loader what they need."""

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
VER_FLG_WEAK = 2
HEADER, PROGRAM_HEADER, SECTION_HEADER, SYMBOL, TAG = 64, 56, 64, 24, 16

NO_SYMBOLS = bytes(SYMBOL)  # but the one that every table begins with
NO_HASHES = pack("<4I", 1, 1, 0, 0)
SECTION_NAMES = b"\0.dynstr\0.dynamic\0.gnu.version_r\0.shstrtab\0"
AT_SYMBOLS = HEADER + 2 * PROGRAM_HEADER
AT_HASHES = AT_SYMBOLS + len(NO_SYMBOLS)
AT_VERSIONS = AT_HASHES + len(NO_HASHES)


def compiled(
    machine: str = "x86_64",
    *,
    needs: Sequence[str] = (),
    rpath: str = "",
    runpath: str = "",
    versions: Mapping[str, Sequence[str]] | None = None,
    weak: bool = False,
    section_headers: bool = True,
    static: bool = False,
) -> bytes:
    """A shared library; `versions` are the symbol versions that it needs of each library."""
    strings = _Strings()
    wanted = _needed_versions(versions or {}, strings, VER_FLG_WEAK if weak else 0)
    tags = [(DT_NEEDED, strings.at(library)) for library in needs]
    tags += [(tag, strings.at(path)) for tag, path in ((DT_RPATH, rpath), (DT_RUNPATH, runpath)) if path]
    at_text = AT_VERSIONS + len(wanted)
    tags += [(DT_HASH, AT_HASHES), (DT_STRTAB, at_text), (DT_SYMTAB, AT_SYMBOLS)]
    tags += [(DT_STRSZ, len(strings.text)), (DT_SYMENT, SYMBOL)]
    if versions:
        tags += [(DT_VERNEED, AT_VERSIONS), (DT_VERNEEDNUM, len(versions))]

    dynamic = b"".join(pack("<2Q", *tag) for tag in [*tags, (0, 0)])
    tables = NO_SYMBOLS + NO_HASHES + wanted + strings.text
    tables += bytes(-len(tables) % 8)
    at_dynamic = AT_SYMBOLS + len(tables)
    end = at_dynamic + len(dynamic)
    sections = [
        _section(),
        _section(1, SHT_STRTAB, at_text, len(strings.text), align=1),
        _section(9, SHT_DYNAMIC, at_dynamic, len(dynamic), link=1, align=8, entry=TAG),
        _section(18, SHT_GNU_VERNEED, AT_VERSIONS, len(wanted), link=1, info=len(versions or {}), align=4),
        _section(33, SHT_STRTAB, end, len(SECTION_NAMES), align=1),
    ]
    header = pack(
        "<16s2HI3QI6H",
        *(b"\x7fELF\x02\x01\x01", 3, MACHINES[machine], 1, 0, HEADER),
        *(end + len(SECTION_NAMES) if section_headers else 0, 0),
        *(HEADER, PROGRAM_HEADER, 1 if static else 2, SECTION_HEADER),
        *((len(sections), len(sections) - 1) if section_headers else (0, 0)),
    )
    programs = _program(PT_LOAD, 0, end, 4096) + _program(PT_DYNAMIC, at_dynamic, len(dynamic), 8)
    return (
        header + programs + tables + dynamic + SECTION_NAMES + b"".join(sections if section_headers else ())
    )


def _program(kind: int, at: int, size: int, align: int) -> bytes:
    return pack("<2I6Q", kind, 6, at, at, at, size, size, align)


def _section(
    name: int = 0,
    kind: int = 0,
    at: int = 0,
    size: int = 0,
    *,
    link: int = 0,
    info: int = 0,
    align: int = 0,
    entry: int = 0,
) -> bytes:
    return pack("<2I4Q2I2Q", name, kind, 2 if kind else 0, at, at, size, link, info, align, entry)


def _needed_versions(versions: Mapping[str, Sequence[str]], strings: "_Strings", flags: int) -> bytes:
    wanted = b""
    for left, (library, names) in zip(range(len(versions) - 1, -1, -1), versions.items(), strict=True):
        size = 16 * (1 + len(names))
        wanted += pack("<2H3I", 1, len(names), strings.at(library), 16, size if left else 0)
        for index, name in enumerate(names, start=1):
            following = 16 if index < len(names) else 0
            wanted += pack("<I2H2I", _hash(name), flags, index + 1, strings.at(name), following)
    return wanted


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
