"""Every way for a package to be wrong, in packages that no one built."""

import os
import platform
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from zipfile import ZIP_DEFLATED, ZipFile, ZipInfo

import pytest

from ops.lambda_runtime import ARCHITECTURES, Runtime
from ops.package import MAX_UNPACKED, MAX_ZIPPED, Package
from ops.package_check import (
    AGREE,
    GET_A_WHEEL,
    MOVE_OUT,
    OPEN_UP,
    REQUIRE,
    SLIM,
    TAKE_OUT,
    Finding,
    findings,
    named,
)
from ops.problems import Problem
from tests.ops.elf import compiled
from tests.ops.wheels import wheel_files

X86_64 = Runtime("x86_64", (3, 11))
ARM64 = Runtime("arm64", (3, 11))
HERE, THERE = sorted(map(Runtime, ARCHITECTURES), key=lambda runtime: runtime.machine != platform.machine())
only_on_linux = pytest.mark.skipif(sys.platform != "linux", reason="what is made for Lambda runs on Linux")
APP = {
    "app.py": b"import chalicelib\n",
    "chalicelib/__init__.py": b"",
    "chalice/__init__.py": b"",
    "chalice/app.py": b"",
}
FIRST = wheel_files("first", "1.2", requires=["second<3"], files={"first/__init__.py": b""})
SECOND = wheel_files("second", "2.0", files={"second.py": b"", "second_data/a.json": b""})

Check = Callable[..., list[Finding]]


@pytest.fixture
def check(tmp_path: Path) -> Check:
    """What is found in a package of these files."""

    def of(
        *parts: Mapping[str, bytes],
        requirements: str = "",
        runtime: Runtime = X86_64,
        mode: int = 0o644,
        hole: int = 0,
    ) -> list[Finding]:
        archive = tmp_path / "package.zip"
        archive.touch()
        os.truncate(archive, hole)  # a zip may begin anywhere in its file
        with ZipFile(archive, "a", ZIP_DEFLATED, compresslevel=1) as packed:
            for part in (APP, *parts):
                for path, text in part.items():
                    entry = ZipInfo(path)
                    entry.external_attr = mode << 16
                    packed.writestr(entry, text, ZIP_DEFLATED)
        (tmp_path / "requirements.txt").write_text(requirements)
        with Package.opened(archive, runtime) as package:
            return findings(package, tmp_path / "requirements.txt", {"WORD": "from the stage"})

    return of


def test_a_package_of_the_app_and_what_it_requires_is_fit(check: Check) -> None:
    assert check(FIRST, SECOND, requirements="first>=1\n") == []


def test_bytecode_belongs_to_its_source(check: Check) -> None:
    bytecode = (
        "__pycache__/app",
        "chalicelib/__pycache__/__init__",
        "first/__pycache__/__init__",
        "__pycache__/second",
    )

    assert (
        check(FIRST, SECOND, {f"{path}.cpython-311.pyc": b"" for path in bytecode}, requirements="first")
        == []
    )


def test_a_requirement_that_is_missing_is_found(check: Check) -> None:
    assert check(requirements="Decoder>=12,<13\n") == [
        Finding(
            "Decoder<13,>=12, which requirements.txt requires, is missing: "
            "Chalice leaves out what it cannot get for Lambda.",
            GET_A_WHEEL.format(runtime=X86_64),
        )
    ]


def test_a_requirement_of_a_requirement_that_is_missing_is_found(check: Check) -> None:
    assert [finding.sentence for finding in check(FIRST, requirements="first")] == [
        "second<3, which first requires, is missing: Chalice leaves out what it cannot get for Lambda."
    ]


def test_a_requirement_of_an_extra_that_is_missing_is_found(check: Check) -> None:
    first = wheel_files(
        "first", "1", requires=['second; extra == "more"', 'third; extra == "most"'], extras=["more", "most"]
    )

    assert check(first, requirements="first") == []
    assert [finding.sentence for finding in check(first, requirements="first[more]")] == [
        "second, which first requires, is missing: Chalice leaves out what it cannot get for Lambda."
    ]


def test_requirements_that_require_each_other_come_to_an_end(check: Check) -> None:
    second = wheel_files("second", "2.0", requires=["first"])

    assert check(FIRST, second, requirements="first") == []


def test_a_requirement_is_judged_by_its_marker_for_lambda_and_not_this_machine(check: Check) -> None:
    requirements = "first; platform_machine == 'aarch64'\n"

    assert check(requirements=requirements) == []
    assert [finding.sentence for finding in check(requirements=requirements, runtime=ARM64)] == [
        "first, which requirements.txt requires, is missing: "
        "Chalice leaves out what it cannot get for Lambda."
    ]


def test_a_version_that_does_not_fit_is_found(check: Check) -> None:
    second = wheel_files("second", "3.0")

    assert check(FIRST, second, requirements="first>=2") == [
        Finding("first 1.2 is in the package, and requirements.txt requires first>=2.", AGREE),
        Finding("second 3.0 is in the package, and first requires second<3.", AGREE),
    ]


def test_names_are_compared_as_pip_does(check: Check) -> None:
    assert check(wheel_files("Under_Score.d", "1"), requirements="under-score-D") == []


def test_what_nothing_requires_is_found(check: Check) -> None:
    assert check(SECOND) == [
        Finding("second 2.0 is in the package, and nothing in requirements.txt requires it.", TAKE_OUT)
    ]


@pytest.mark.parametrize(
    ("files", "what"),
    [
        (["tests/test_app.py", "tests/conftest.py"], "tests/ (such as tests/conftest.py, 2 in all)"),
        (["samples/cup.png"], "samples/ (such as samples/cup.png, 1 in all)"),
        (["local_cloud/__init__.py"], "local_cloud/ (such as local_cloud/__init__.py, 1 in all)"),
        (["test_app.py"], "test_app.py"),
        (["test_app.py", "__pycache__/test_app.cpython-311.pyc"], "test_app.py"),
        (
            ["__pycache__/gone.cpython-311.pyc"],
            "__pycache__/ (such as __pycache__/gone.cpython-311.pyc, 1 in all)",
        ),
        (["chalice/local.py"], "chalice/ (such as chalice/local.py, 1 in all)"),
        (["first/stray.py"], "first/ (such as first/stray.py, 1 in all)"),
    ],
)
def test_a_stray_file_is_found(check: Check, files: list[str], what: str) -> None:
    assert check(FIRST, SECOND, dict.fromkeys(files, b""), requirements="first") == [
        Finding(f"{what} is in the package, and is neither the app's nor a requirement's.", TAKE_OUT)
    ]


@pytest.mark.parametrize("path", ["test_api.py", "conftest.py", "tests/pictures.py", "api_test.py"])
def test_a_test_in_chalicelib_is_found(check: Check, path: str) -> None:
    assert Finding(f"chalicelib/{path} is a test.", MOVE_OUT) in check({f"chalicelib/{path}": b""})


@pytest.mark.parametrize("path", ["cup.png", "model.onnx", "notes", "api.py.orig", ".DS_Store"])
def test_what_is_neither_code_nor_page_in_chalicelib_is_found(check: Check, path: str) -> None:
    assert check({f"chalicelib/{path}": b""}) == [
        Finding(f"chalicelib/{path} is neither code nor a file of the page.", MOVE_OUT)
    ]


def test_the_code_and_the_page_belong_into_chalicelib(check: Check) -> None:
    assert (
        check(
            dict.fromkeys(("chalicelib/latest.py", "chalicelib/web/index.html", "chalicelib/web/app.js"), b"")
        )
        == []
    )


@pytest.mark.parametrize(
    ("tag", "sentence"),
    [
        (
            "cp311-cp311-linux_x86_64",
            "second 2.0 was compiled on this machine, for its libraries and not Lambda's.",
        ),
        (
            "cp311-cp311-manylinux_2_35_x86_64",
            f"second 2.0 is for another system than {X86_64}: cp311-cp311-manylinux_2_35_x86_64.",
        ),
        ("py3-none-win_amd64", f"second 2.0 is for another system than {X86_64}: py3-none-win_amd64."),
    ],
)
def test_a_wheel_that_is_not_for_lambda_is_found(check: Check, tag: str, sentence: str) -> None:
    assert check(wheel_files("second", "2.0", tags=[tag]), requirements="second") == [
        Finding(sentence, GET_A_WHEEL.format(runtime=X86_64))
    ]


def test_a_compiled_file_that_lambda_cannot_load_is_found_with_what_brought_it(check: Check) -> None:
    files = {"decoder/tool": compiled("aarch64"), "decoder/d.so": compiled(needs=["libjpeg.so.62"])}
    decoder = wheel_files("decoder", "13.0", files=files)
    remedy = GET_A_WHEEL.format(runtime=X86_64)

    assert check(decoder, requirements="decoder") == [
        Finding("decoder/tool of decoder is compiled for aarch64, and the functions run on x86_64.", remedy),
        Finding(
            "decoder/d.so of decoder needs libjpeg.so.62, "
            "which is neither in the package nor in Lambda's runtime.",
            remedy,
        ),
    ]


def test_a_compiled_stray_is_found_twice(check: Check) -> None:
    assert [finding.sentence for finding in check({"m.so": compiled("aarch64")})] == [
        "m.so is in the package, and is neither the app's nor a requirement's.",
        "m.so is compiled for aarch64, and the functions run on x86_64.",
    ]


def test_files_that_only_their_owner_may_read_are_found(check: Check) -> None:
    assert check(mode=0o600) == [
        Finding(
            "4 files, such as app.py, can be read by the owner alone, and Lambda reads it as another user.",
            OPEN_UP,
        )
    ]


def test_what_is_too_large_to_upload_is_found(check: Check) -> None:
    [finding] = check(hole=MAX_ZIPPED)

    assert finding == Finding("The package is 52.4 MB zipped, and Lambda takes 52.4.", SLIM)


def test_what_is_too_large_to_unpack_is_found(check: Check) -> None:
    second = wheel_files("second", "2.0", files={"second.bin": bytes(MAX_UNPACKED)})

    assert check(second, requirements="second") == [
        Finding("The package is 262.1 MB unpacked, and Lambda takes 262.1.", SLIM)
    ]


@only_on_linux
@pytest.mark.parametrize("module", ["rich", "boto3", "elftools"])
def test_an_import_of_what_does_not_ship_is_found(check: Check, module: str) -> None:
    """Though the machine that packs has it."""
    assert check({"chalicelib/page.py": f"import {module}\n".encode()}, runtime=HERE) == [
        Finding(
            "What is in the package is not enough to import the app: "
            f"ModuleNotFoundError: No module named '{module}'.",
            REQUIRE,
        )
    ]


@only_on_linux
def test_the_app_is_imported_with_the_settings_of_the_stage(check: Check) -> None:
    lines = (
        b"import os\nassert dict(os.environ)['WORD'] == 'from the stage'\nassert 'HOME' not in os.environ\n"
    )

    assert check({"chalicelib/settings.py": lines}, runtime=HERE) == []


def test_what_cannot_run_here_is_not_imported(check: Check) -> None:
    assert check({"chalicelib/page.py": b"import nowhere\n"}, runtime=THERE) == []


def test_requirements_are_read_without_comments(tmp_path: Path) -> None:
    file = tmp_path / "requirements.txt"
    file.write_text("# what ships\n\nfirst>=1,<2   # for its #1\n  second; python_version < '3.12'\n")

    assert [str(requirement) for requirement in named(file)] == [
        "first<2,>=1",
        'second; python_version < "3.12"',
    ]


@pytest.mark.parametrize("line", ["-r more.txt", "--no-binary :all:", "./wheel.whl", "first >="])
def test_a_line_that_no_requirement_can_be_read_from_is_refused(tmp_path: Path, line: str) -> None:
    file = tmp_path / "requirements.txt"
    file.write_text(f"first\n{line}\n")

    with pytest.raises(Problem, match=r"^requirements\.txt may only name requirements, one a line\."):
        named(file)
