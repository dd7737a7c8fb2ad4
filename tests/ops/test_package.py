"""Real packages, made by Chalice itself: small ones for each rule, and the app's own for both processors."""

import fcntl
import json
import os
import shutil
import subprocess
import sys
import sysconfig
from dataclasses import dataclass
from pathlib import Path
from zipfile import ZipFile

import pytest

from ops.lambda_runtime import ARCHITECTURES, Runtime
from ops.package import Package, build
from ops.package_check import Finding, findings
from ops.problems import Problem
from tests.conftest import LOCAL, ROOT
from tests.ops.elf import compiled
from tests.ops.wheels import wheel

X86_64 = Runtime("x86_64")
CACHED = f"{sys.implementation.cache_tag}.pyc"


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """A project of two modules that requires nothing."""
    project = tmp_path / "small"
    (project / "chalicelib").mkdir(parents=True)
    (project / "app.py").write_text("from chalicelib import model\n")
    (project / "chalicelib/__init__.py").write_text("")
    (project / "chalicelib/model.py").write_text("WORD = 'first'\n")
    (project / "requirements.txt").write_text("")
    return project


@pytest.fixture
def shelf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where pip finds wheels, and nowhere else."""
    shelf = tmp_path / "shelf"
    shelf.mkdir()
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(shelf))
    return shelf


def checked(project: Path, runtime: Runtime = X86_64) -> list[Finding]:
    with Package.opened(build(project, runtime), runtime) as package:
        return findings(package, project / "requirements.txt", LOCAL)


def sentences(found: list[Finding]) -> list[str]:
    return [finding.sentence for finding in found]


def contents(archive: Path) -> set[str]:
    with ZipFile(archive) as packed:
        return set(packed.namelist())


def test_a_package_holds_the_app_and_chalices_runtime_with_their_bytecode(small: Path) -> None:
    archive = build(small, X86_64)

    assert archive.parent == small / ".chalice/deployments"
    assert contents(archive) == {
        "app.py",
        f"__pycache__/app.{CACHED}",
        "chalice/__init__.py",
        f"chalice/__pycache__/__init__.{CACHED}",
        "chalice/app.py",
        f"chalice/__pycache__/app.{CACHED}",
        "chalicelib/__init__.py",
        f"chalicelib/__pycache__/__init__.{CACHED}",
        "chalicelib/model.py",
        f"chalicelib/__pycache__/model.{CACHED}",
    }


def test_the_same_sources_make_the_same_package_once(small: Path) -> None:
    first = build(small, X86_64)
    made = first.stat()

    again = build(small, X86_64)

    assert (again, again.stat().st_mtime_ns) == (first, made.st_mtime_ns)


def test_each_processor_has_a_package_of_its_own(small: Path) -> None:
    assert len({build(small, Runtime(architecture)) for architecture in ARCHITECTURES}) == 2


def test_an_import_before_the_deployment_leaves_the_package_as_it_is(small: Path) -> None:
    archive = build(small, X86_64)
    os.utime(small / "chalicelib/model.py", (1, 1))  # as another checkout would have it

    subprocess.run([sys.executable, "-E", "-c", "import app"], cwd=small, check=True)

    assert build(small, X86_64) == archive


def test_bytecode_of_what_is_gone_does_not_ship(small: Path) -> None:
    (small / "chalicelib/__pycache__").mkdir()
    (small / "chalicelib/__pycache__/gone.cpython-310.pyc").write_bytes(b"")

    assert not any("gone" in path for path in contents(build(small, X86_64)))


def test_an_interrupted_build_is_made_again(small: Path) -> None:
    archive = build(small, X86_64)
    whole = contents(archive)
    archive.write_bytes(archive.read_bytes()[:1000])

    assert contents(build(small, X86_64)) == whole


def test_bytecode_is_taken_wherever_and_whenever_it_is_unpacked_but_not_for_another_source(
    small: Path, tmp_path: Path
) -> None:
    os.utime(small / "chalicelib/model.py", (1, 1))
    subprocess.run([sys.executable, "-E", "-c", "import app"], cwd=small, check=True)  # leaves its own
    with ZipFile(build(small, X86_64)) as packed:
        packed.extractall(tmp_path / "task")
    show = [sys.executable, "-v", "-B", "-c", "from chalicelib.model import WORD; print(WORD)"]

    fresh = subprocess.run(show, cwd=tmp_path / "task", capture_output=True, text=True, check=True)
    (tmp_path / "task/chalicelib/model.py").write_text("WORD = 'other'\n")
    edited = subprocess.run(show, cwd=tmp_path / "task", capture_output=True, text=True, check=True)

    assert (fresh.stdout, edited.stdout) == ("first\n", "other\n")
    assert f"task/chalicelib/__pycache__/model.{CACHED} matches" in fresh.stderr
    assert f"# code object from {tmp_path}/task/chalicelib/model.py" not in fresh.stderr
    assert f"# code object from {tmp_path}/task/chalicelib/model.py" in edited.stderr


def test_no_path_of_this_machine_ships(small: Path) -> None:
    with ZipFile(build(small, X86_64)) as packed:
        told = [path for path in packed.namelist() if os.fsencode(small.parent) in packed.read(path)]

    assert told == []


def test_what_pip_does_not_find_is_said_in_a_sentence(small: Path, shelf: Path) -> None:
    (small / "requirements.txt").write_text("nowhere-to-be-had\n")

    with pytest.raises(Problem, match=r"^pip cannot get what requirements.txt names\. .*nowhere-to-be-had$"):
        build(small, X86_64)


def test_what_chalice_silently_leaves_out_is_found(small: Path, shelf: Path) -> None:
    tag = f"cp{sys.version_info[0]}{sys.version_info[1]}"
    wheel(shelf, "fresh", "1.0", tags=[f"{tag}-{tag}-linux_x86_64"], files={"fresh.py": b""})
    wheel(shelf, "needy", "1.0", requires=["fresh>=1"], files={"needy.py": b""})
    (small / "requirements.txt").write_text("needy==1.0\n")

    assert sentences(checked(small, Runtime("arm64"))) == [
        "fresh>=1, which needy requires, is missing: Chalice leaves out what it cannot get for Lambda."
    ]


def test_what_was_compiled_on_this_machine_is_found(small: Path, shelf: Path) -> None:
    python = f"cp{sys.version_info[0]}{sys.version_info[1]}"
    extension = f"decoder/_decoder{X86_64.extension}"
    library = compiled(needs=["libjpeg.so.62", "libc.so.6"], versions={"libc.so.6": ["GLIBC_2.36"]})
    files = {"decoder/__init__.py": b"", extension: library}
    wheel(shelf, "decoder", "13.0", tags=[f"{python}-{python}-linux_x86_64"], files=files)
    (small / "requirements.txt").write_text("decoder\n")

    assert sentences(checked(small)) == [
        "decoder 13.0 was compiled on this machine, for its libraries and not Lambda's.",
        f"{extension} of decoder needs GLIBC_2.36 of libc.so.6, and Lambda's {X86_64.name} has an older one.",
        f"{extension} of decoder needs libjpeg.so.62, "
        "which is neither in the package nor in Lambda's runtime.",
    ]


def test_a_wheel_that_is_unpacked_into_two_folders_is_known(small: Path, shelf: Path) -> None:
    files = {"split-1.0.data/purelib/split.py": b"", "split-1.0.data/scripts/split": b"#!python\n"}
    wheel(shelf, "split", "1.0", files=files)
    (small / "requirements.txt").write_text("split  # a comment\n\n")

    assert checked(small) == []


# --- the app's own package


@dataclass(frozen=True)
class Packed:
    project: Path
    runtime: Runtime

    @property
    def archive(self) -> Path:
        [archive] = (self.project / ".chalice/deployments").iterdir()
        return archive


@pytest.fixture(scope="session", params=ARCHITECTURES)
def packed(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Packed:
    """A copy of the project with its package, made once for all processes of a test run."""
    runtime = Runtime(request.param)
    shared = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        shared = shared.parent
    project = shared / f"packed-{runtime.architecture}"
    with (shared / f"{runtime.architecture}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not project.exists():
            draft = shared / f"draft-{runtime.architecture}"
            _copy(draft, runtime)
            build(draft, runtime)
            draft.rename(project)
    return Packed(project, runtime)


def _copy(project: Path, runtime: Runtime) -> None:
    shutil.copytree(ROOT / "chalicelib", project / "chalicelib")
    for name in ("app.py", "requirements.txt"):
        shutil.copy(ROOT / name, project)
    stage = {"lambda_architecture": runtime.architecture, "environment_variables": LOCAL}
    config = {"version": "2.0", "app_name": "image-labeller", "stages": {"dev": stage}}
    (project / ".chalice").mkdir()
    (project / ".chalice/config.json").write_text(json.dumps(config))


def found_in(packed: Packed, runtime: Runtime) -> list[Finding]:
    with Package.opened(packed.archive, runtime) as package:
        return findings(package, packed.project / "requirements.txt", LOCAL)


@pytest.mark.thorough
def test_the_app_is_fit_for_lambda(packed: Packed) -> None:
    assert found_in(packed, packed.runtime) == []


@pytest.mark.thorough
def test_the_check_has_compiled_files_to_look_at(packed: Packed) -> None:
    [other] = set(ARCHITECTURES) - {packed.runtime.architecture}

    told = [
        sentence
        for sentence in sentences(found_in(packed, Runtime(other)))
        if " is compiled for " in sentence
    ]

    assert {sentence.split(" of ")[1] for sentence in told} == {
        f"{owner} is compiled for {packed.runtime.machine}, and the functions run on {other}."
        for owner in ("msgspec", "pillow", "pillow-heif")
    }


@pytest.mark.thorough
def test_chalice_ships_the_package_that_was_checked(packed: Packed, tmp_path: Path) -> None:
    chalice = str(Path(sysconfig.get_path("scripts")) / "chalice")

    subprocess.run(
        [chalice, "package", "--pkg-format", "terraform", "--stage", "dev", str(tmp_path / "out")],
        cwd=packed.project,
        env={name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"},
        check=True,
        capture_output=True,
    )

    assert (tmp_path / "out/deployment.zip").read_bytes() == packed.archive.read_bytes()
