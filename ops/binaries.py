"""What compiled files say of themselves, and whether Lambda can load them."""

import re
from collections import deque
from collections.abc import Iterator, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from pathlib import Path
from posixpath import basename, dirname, join, normpath
from typing import Self

from elftools.common.exceptions import ELFError
from elftools.elf.dynamic import DynamicSegment, DynamicTag
from elftools.elf.elffile import ELFFile
from elftools.elf.gnuversions import GNUVerNeedSection

from ops.lambda_runtime import LIBRARY_PATH, TASK_ROOT, WORDS, Runtime

MAGIC = b"\x7fELF"
MACHINES = {"EM_X86_64": "x86_64", "EM_AARCH64": "aarch64"}
VER_FLG_WEAK = 2  # the loader does without such a version
_LIBRARY_NAME = re.compile(r"\.(so|dylib)(\.\d+)*$")
_EXTENSION_NAME = re.compile(r"\.cpython-[^./]+\.so$")
_ORIGIN = re.compile(r"\$(ORIGIN\b|\{ORIGIN\})")
_SYMBOL_VERSION = re.compile(r"([A-Z]+)_(\d+(?:\.\d+)*)")


def is_compiled(file: Path) -> bool:
    """By its first bytes: a program has no suffix. What only calls itself a library is looked at, too."""
    with file.open("rb") as stream:
        return stream.read(len(MAGIC)) == MAGIC or _LIBRARY_NAME.search(file.name) is not None


@dataclass(frozen=True)
class Binary:
    path: str  # in the package
    machine: str
    needs: tuple[str, ...] = ()
    rpath: tuple[str, ...] = ()
    runpath: tuple[str, ...] = ()
    symbol_versions: tuple[tuple[str, str], ...] = ()  # (library, version)

    @classmethod
    def read(cls, folder: Path, path: str) -> Self:
        """Raises ELFError for what is no such file."""
        with (folder / path).open("rb") as stream:
            elf = ELFFile(stream)
            machine = MACHINES.get(elf["e_machine"], elf["e_machine"])
            dynamic = next(elf.iter_segments("PT_DYNAMIC"), None)
            if not isinstance(dynamic, DynamicSegment):
                return cls(path, machine)
            tags = list(dynamic.iter_tags())
            return cls(
                path,
                machine,
                tuple(_texts(tags, "needed")),
                tuple(_folders(tags, "rpath", path)),
                tuple(_folders(tags, "runpath", path)),
                tuple(_symbol_versions(elf, tags)),
            )


def faults(folder: Path, files: AbstractSet[str], runtime: Runtime) -> Iterator[tuple[str, str]]:
    """Each compiled file that Lambda cannot load, and why not: what follows the file's name in a sentence."""
    binaries = {}
    for path in sorted(path for path in files if is_compiled(folder / path)):
        try:
            binaries[path] = Binary.read(folder, path)
        except ELFError as error:
            yield path, f"is no compiled file that Linux can load ({error})"
    for path, binary in binaries.items():
        yield from ((path, reason) for reason in _misfits(binary, runtime))
    for path, library in sorted(_Loader(binaries, runtime).missing()):
        yield path, f"needs {library}, which is neither in the package nor in Lambda's runtime"


def _misfits(binary: Binary, runtime: Runtime) -> Iterator[str]:
    if binary.machine != runtime.machine:
        yield f"is compiled for {binary.machine}, and the functions run on {runtime.architecture}"
        return
    if _EXTENSION_NAME.search(binary.path) and not binary.path.endswith(runtime.extension):
        yield f"is for another Python: Lambda's {runtime.name} takes *{runtime.extension}"
    for library, version in binary.symbol_versions:
        if library in runtime.libraries and not _has(runtime, version):
            yield f"needs {version} of {library}, and Lambda's {runtime.name} has an older one"


def _has(runtime: Runtime, version: str) -> bool:
    numbered = _SYMBOL_VERSION.fullmatch(version)
    if numbered is None or numbered[1] not in runtime.newest:
        return version in WORDS
    return tuple(map(int, numbered[2].split("."))) <= runtime.newest[numbered[1]]


class _Loader:
    """Finds libraries as ld.so(8) does: a name once loaded serves all, and RPATH serves the loaded, too."""

    def __init__(self, binaries: Mapping[str, Binary], runtime: Runtime) -> None:
        self._binaries = binaries
        self._runtime = runtime
        self._visited: set[str] = set()

    def missing(self) -> set[tuple[str, str]]:
        """Each file with a library that it needs and that is not found."""
        needed = {library for binary in self._binaries.values() for library in binary.needs}
        missing = set()
        # What no other file needs is what Python loads; a ring of libraries that need each other comes last.
        for path in sorted(self._binaries, key=lambda path: basename(path) in needed):
            if path not in self._visited:
                missing |= set(self._load(path))
        return missing

    def _load(self, path: str) -> Iterator[tuple[str, str]]:
        loaded = set(self._runtime.libraries)
        waiting: deque[tuple[str, tuple[str, ...]]] = deque([(path, ())])
        while waiting:
            path, inherited = waiting.popleft()
            self._visited.add(path)
            binary = self._binaries[path]
            rpath = inherited if binary.runpath else binary.rpath + inherited
            folders = LIBRARY_PATH + binary.runpath if binary.runpath else rpath + LIBRARY_PATH
            for library in binary.needs:
                if library in loaded:
                    continue
                found = self._find(library, folders)
                if found is None:
                    yield path, library
                    continue
                loaded.add(library)
                waiting.append((found, rpath))

    def _find(self, library: str, folders: tuple[str, ...]) -> str | None:
        paths = (normpath(join(folder, library)).removeprefix(f"{TASK_ROOT}/") for folder in folders)
        return next((path for path in paths if path in self._binaries), None)


def _texts(tags: list[DynamicTag], name: str) -> Iterator[str]:
    return (getattr(tag, name) for tag in tags if tag.entry.d_tag == f"DT_{name.upper()}")


def _folders(tags: list[DynamicTag], name: str, path: str) -> Iterator[str]:
    origin = dirname(join(TASK_ROOT, path))
    for folders in _texts(tags, name):
        yield from (_ORIGIN.sub(origin, folder) for folder in folders.split(":") if folder)


def _symbol_versions(elf: ELFFile, tags: list[DynamicTag]) -> Iterator[tuple[str, str]]:
    sections = [section for section in elf.iter_sections() if isinstance(section, GNUVerNeedSection)]
    if not sections and any(tag.entry.d_tag == "DT_VERNEED" for tag in tags):
        raise ELFError("it lacks the section headers that say which symbol versions it needs")
    for section in sections:
        for library, versions in section.iter_versions():
            for version in versions:
                if not version["vna_flags"] & VER_FLG_WEAK:
                    yield str(library.name), version.name
