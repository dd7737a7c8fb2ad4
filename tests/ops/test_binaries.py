"""What Lambda's loader would say of compiled files; where it can be, this machine's loader is asked, too."""

import os
import platform
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from ops.binaries import Binary, faults
from ops.lambda_runtime import Runtime
from tests.ops.elf import compiled

X86_64 = Runtime("x86_64", (3, 11))
ARM64 = Runtime("arm64", (3, 11))
NEWER = Runtime("x86_64", (3, 12))
LACKS = "which is neither in the package nor in Lambda's runtime"
OLDER = "and Lambda's python3.11 has an older one"

Layout = Mapping[str, Mapping[str, Any]]


def laid_out(folder: Path, layout: Layout, machine: str = "x86_64") -> None:
    for path, contents in layout.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(compiled(machine, **contents))


def judged(folder: Path, runtime: Runtime = X86_64) -> list[tuple[str, str]]:
    files = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    return list(faults(folder, files, runtime))


def test_a_file_says_what_it_needs_and_where_it_looks(tmp_path: Path) -> None:
    (tmp_path / "a.so").write_bytes(
        compiled(
            "aarch64",
            needs=["libc.so.6", "libjpeg.so.62"],
            rpath="$ORIGIN/../x.libs:${ORIGIN}",
            runpath="/opt/lib",
            versions={"libc.so.6": ["GLIBC_2.17", "GLIBC_2.26"], "libm.so.6": ["GLIBC_2.17"]},
        )
    )

    assert Binary.read(tmp_path, "a.so") == Binary(
        path="a.so",
        machine="aarch64",
        needs=("libc.so.6", "libjpeg.so.62"),
        rpath=("/var/task/../x.libs", "/var/task"),
        runpath=("/opt/lib",),
        symbol_versions=(
            ("libc.so.6", "GLIBC_2.17"),
            ("libc.so.6", "GLIBC_2.26"),
            ("libm.so.6", "GLIBC_2.17"),
        ),
    )


def test_a_package_without_compiled_files_has_no_faults(tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text("")

    assert judged(tmp_path) == []


@pytest.mark.parametrize(
    ("runtime", "machine"), [(X86_64, "aarch64"), (ARM64, "x86_64")], ids=["arm on x86", "x86 on arm"]
)
def test_a_file_for_another_processor_is_found(tmp_path: Path, runtime: Runtime, machine: str) -> None:
    laid_out(tmp_path, {"bin/tool": {}}, machine)

    assert judged(tmp_path, runtime) == [
        ("bin/tool", f"is compiled for {machine}, and the functions run on {runtime.architecture}")
    ]


@pytest.mark.parametrize(
    "suffix",
    [".cpython-310-x86_64-linux-gnu.so", ".cpython-311-x86_64-linux-musl.so", ".cpython-311-darwin.so"],
)
def test_a_module_for_another_python_is_found(tmp_path: Path, suffix: str) -> None:
    laid_out(tmp_path, {f"m{suffix}": {}})

    assert judged(tmp_path) == [
        (f"m{suffix}", "is for another Python: Lambda's python3.11 takes *.cpython-311-x86_64-linux-gnu.so")
    ]


@pytest.mark.parametrize("suffix", [".cpython-311-x86_64-linux-gnu.so", ".abi3.so", ".so", ".so.1.2"])
def test_a_module_for_this_python_or_any_is_fit(tmp_path: Path, suffix: str) -> None:
    laid_out(tmp_path, {f"m{suffix}": {}})

    assert judged(tmp_path) == []


@pytest.mark.parametrize("name", ["m.so", "libm.so.6", "m.cpython-311-darwin.so", "libm.dylib"])
def test_what_only_calls_itself_a_library_is_found(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"\xcf\xfa\xed\xfe made on a Mac")

    assert judged(tmp_path) == [
        (name, "is no compiled file that Linux can load (Magic number does not match)")
    ]


def test_a_program_that_needs_no_library_is_fit(tmp_path: Path) -> None:
    laid_out(tmp_path, {"bin/tool": {"needs": ["libnowhere.so"], "static": True}})

    assert judged(tmp_path) == []


def test_a_damaged_file_is_found(tmp_path: Path) -> None:
    (tmp_path / "m.so").write_bytes(compiled()[:40])

    [(path, reason)] = judged(tmp_path)

    assert path == "m.so"
    assert reason.startswith("is no compiled file that Linux can load")


def test_a_file_that_hides_the_versions_it_needs_is_found(tmp_path: Path) -> None:
    laid_out(tmp_path, {"m.so": {"versions": {"libc.so.6": ["GLIBC_2.99"]}, "section_headers": False}})

    [(_, reason)] = judged(tmp_path)

    assert "it lacks the section headers that say which symbol versions it needs" in reason


FOUND: dict[str, Layout] = {
    "nothing needed": {"m.so": {}},
    "the runtime's": {"m.so": {"needs": ["libc.so.6", "libm.so.6", "libgcc_s.so.1", "libz.so.1"]}},
    "beside it by RPATH": {"p/m.so": {"needs": ["liba.so"], "rpath": "$ORIGIN"}, "p/liba.so": {}},
    "beside it by RUNPATH": {"p/m.so": {"needs": ["liba.so"], "runpath": "${ORIGIN}"}, "p/liba.so": {}},
    "as auditwheel puts it": {
        "p/m.so": {"needs": ["liba.so.1"], "rpath": "$ORIGIN/../p.libs"},
        "p.libs/liba.so.1": {},
    },
    "in the second folder": {"m.so": {"needs": ["liba.so"], "rpath": "$ORIGIN/x:$ORIGIN/y"}, "y/liba.so": {}},
    "the package's own folder": {"p/m.so": {"needs": ["liba.so"]}, "liba.so": {}},
    "the package's lib": {"p/m.so": {"needs": ["liba.so"]}, "lib/liba.so": {}},
    "by the RPATH of what loads it": {
        "m.so": {"needs": ["liba.so"], "rpath": "$ORIGIN/x"},
        "x/liba.so": {"needs": ["libb.so"]},
        "x/libb.so": {"needs": ["libc2.so"]},
        "x/libc2.so": {},
    },
    "by an RPATH beyond a RUNPATH": {
        "m.so": {"needs": ["liba.so"], "rpath": "$ORIGIN/x"},
        "x/liba.so": {"needs": ["libb.so"], "runpath": "$ORIGIN/y"},
        "x/y/libb.so": {"needs": ["libc2.so"]},
        "x/libc2.so": {},
    },
    "already loaded": {
        "m.so": {"needs": ["liba.so", "libb.so"], "runpath": "$ORIGIN/x"},
        "x/liba.so": {"needs": ["libb.so"]},
        "x/libb.so": {},
    },
    "a ring": {
        "m.so": {"needs": ["liba.so"], "rpath": "$ORIGIN/x"},
        "x/liba.so": {"needs": ["libb.so"]},
        "x/libb.so": {"needs": ["liba.so"]},
    },
}

NOT_FOUND: dict[str, tuple[Layout, tuple[str, str]]] = {
    "nowhere": ({"m.so": {"needs": ["libnowhere.so.62"]}}, ("m.so", "libnowhere.so.62")),
    "elsewhere": ({"m.so": {"needs": ["liba.so"]}, "p/liba.so": {}}, ("m.so", "liba.so")),
    "beside it, unsaid": ({"p/m.so": {"needs": ["liba.so"]}, "p/liba.so": {}}, ("p/m.so", "liba.so")),
    "what another file needs": (
        {"m.so": {"needs": ["liba.so"], "rpath": "$ORIGIN/x"}, "x/liba.so": {"needs": ["libb.so"]}},
        ("x/liba.so", "libb.so"),
    ),
    "a RUNPATH serves one file": (
        {
            "m.so": {"needs": ["liba.so"], "runpath": "$ORIGIN/x"},
            "x/liba.so": {"needs": ["libb.so"]},
            "x/libb.so": {},
        },
        ("x/liba.so", "libb.so"),
    ),
    "a RUNPATH silences the RPATH": (
        {"m.so": {"needs": ["liba.so"], "rpath": "$ORIGIN/x", "runpath": "$ORIGIN/y"}, "x/liba.so": {}},
        ("m.so", "liba.so"),
    ),
    "a RUNPATH silences the RPATH of what loads it": (
        {
            "m.so": {"needs": ["liba.so"], "rpath": "$ORIGIN/x"},
            "x/liba.so": {"needs": ["libb.so"], "runpath": "$ORIGIN/y"},
            "x/libb.so": {},
        },
        ("x/liba.so", "libb.so"),
    ),
    "in a ring that nothing loads": (
        {
            "x/liba.so": {"needs": ["libb.so"], "rpath": "$ORIGIN"},
            "x/libb.so": {"needs": ["liba.so", "libnowhere.so"], "rpath": "$ORIGIN"},
        },
        ("x/libb.so", "libnowhere.so"),
    ),
}


@pytest.mark.parametrize("layout", FOUND.values(), ids=FOUND)
def test_a_library_is_found_where_the_loader_looks(tmp_path: Path, layout: Layout) -> None:
    laid_out(tmp_path, layout)

    assert judged(tmp_path) == []


@pytest.mark.parametrize(("layout", "missing"), NOT_FOUND.values(), ids=NOT_FOUND)
def test_a_library_is_missed_where_the_loader_does_not_look(
    tmp_path: Path, layout: Layout, missing: tuple[str, str]
) -> None:
    laid_out(tmp_path, layout)

    assert judged(tmp_path) == [(missing[0], f"needs {missing[1]}, {LACKS}")]


@pytest.mark.skipif(sys.platform != "linux", reason="this machine's loader is not Lambda's")
@pytest.mark.parametrize(
    ("layout", "missing"),
    [*((layout, None) for layout in FOUND.values()), *NOT_FOUND.values()],
    ids=[*FOUND, *NOT_FOUND],
)
def test_this_machines_loader_agrees(tmp_path: Path, layout: Layout, missing: tuple[str, str] | None) -> None:
    laid_out(tmp_path, layout, platform.machine())
    first = tmp_path / next(iter(layout))

    loaded = subprocess.run(
        [sys.executable, "-I", "-c", "import ctypes, sys; ctypes.CDLL(sys.argv[1])", str(first)],
        env={**os.environ, "LD_LIBRARY_PATH": f"{tmp_path}:{tmp_path / 'lib'}"},
        capture_output=True,
        text=True,
        check=False,
    )

    if missing is None:
        assert loaded.stderr == ""
    else:
        assert f"{missing[1]}: cannot open shared object file" in loaded.stderr


@pytest.mark.parametrize(
    ("library", "version"),
    [
        ("libc.so.6", "GLIBC_2.27"),
        ("libm.so.6", "GLIBC_2.29"),
        ("libstdc++.so.6", "GLIBCXX_3.4.25"),
        ("libstdc++.so.6", "CXXABI_1.3.12"),
        ("libgcc_s.so.1", "GCC_12.0.0"),
        ("libz.so.1", "ZLIB_1.2.9"),
        ("libc.so.6", "GLIBC_ABI_DT_RELR"),
        ("libc.so.6", "GLIBC_PRIVATE"),
    ],
)
def test_a_symbol_version_that_the_runtime_lacks_is_found(tmp_path: Path, library: str, version: str) -> None:
    laid_out(tmp_path, {"m.so": {"needs": [library], "versions": {library: [version]}}})

    assert judged(tmp_path) == [("m.so", f"needs {version} of {library}, {OLDER}")]


@pytest.mark.parametrize(
    ("library", "version"),
    [
        ("libc.so.6", "GLIBC_2.2.5"),
        ("libc.so.6", "GLIBC_2.26"),
        ("libstdc++.so.6", "GLIBCXX_3.4.24"),
        ("libstdc++.so.6", "CXXABI_1.3.11"),
        ("libstdc++.so.6", "CXXABI_FLOAT128"),
        ("libgcc_s.so.1", "GCC_7.0.0"),
        ("libz.so.1", "ZLIB_1.2.5.2"),
    ],
)
def test_a_symbol_version_that_the_runtime_has_is_fit(tmp_path: Path, library: str, version: str) -> None:
    laid_out(tmp_path, {"m.so": {"needs": [library], "versions": {library: [version]}}})

    assert judged(tmp_path) == []


def test_a_newer_python_has_newer_libraries(tmp_path: Path) -> None:
    laid_out(
        tmp_path,
        {
            "m.so": {
                "needs": ["libc.so.6", "libstdc++.so.6", "libz.so.1"],
                "versions": {
                    "libc.so.6": ["GLIBC_2.34", "GLIBC_2.35"],
                    "libstdc++.so.6": ["GLIBCXX_3.4.29", "GLIBCXX_3.4.30"],
                    "libz.so.1": ["ZLIB_1.2.9"],
                },
            }
        },
    )

    assert judged(tmp_path, NEWER) == [
        ("m.so", "needs GLIBC_2.35 of libc.so.6, and Lambda's python3.12 has an older one"),
        ("m.so", "needs GLIBCXX_3.4.30 of libstdc++.so.6, and Lambda's python3.12 has an older one"),
    ]


def test_a_version_that_the_loader_can_do_without_is_fit(tmp_path: Path) -> None:
    laid_out(tmp_path, {"m.so": {"versions": {"libc.so.6": ["GLIBC_2.99"]}, "weak": True}})

    assert judged(tmp_path) == []


def test_the_versions_of_a_library_in_the_package_are_its_own_affair(tmp_path: Path) -> None:
    layout: Layout = {
        "m.so": {"needs": ["libstdc++-1.so.6"], "versions": {"libstdc++-1.so.6": ["GLIBCXX_3.4.99"]}},
        "lib/libstdc++-1.so.6": {},
    }
    laid_out(tmp_path, layout)

    assert judged(tmp_path) == []


def test_the_libraries_of_one_processor_are_not_those_of_the_other(tmp_path: Path) -> None:
    laid_out(tmp_path, {"m.so": {"needs": ["ld-linux-x86-64.so.2", "libmvec.so.1"]}}, "aarch64")

    assert judged(tmp_path, ARM64) == [
        ("m.so", f"needs ld-linux-x86-64.so.2, {LACKS}"),
        ("m.so", f"needs libmvec.so.1, {LACKS}"),
    ]
