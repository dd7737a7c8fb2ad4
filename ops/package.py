"""The zip that `chalice deploy` uploads: built by Chalice itself, opened, weighed."""

import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import Distribution, distributions
from importlib.util import cache_from_source, source_from_cache
from io import StringIO
from pathlib import Path, PurePosixPath
from shutil import copyfile
from tempfile import TemporaryDirectory
from zipfile import ZIP_DEFLATED, ZipFile, ZipInfo, is_zipfile

from chalice.deploy import packager
from chalice.utils import UI, OSUtils
from packaging.utils import canonicalize_name

from ops.lambda_runtime import TASK_ROOT, Runtime
from ops.problems import Problem

APP = "the app"
CHALICE = "Chalice's runtime"
# https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html
MAX_ZIPPED = 50 * 1024**2  # of what is uploaded directly, as Chalice does
MAX_UNPACKED = 250 * 1024**2


def build(project: Path, runtime: Runtime) -> Path:
    """Makes the zip as `chalice deploy` would, or finds it made; `chalice deploy` then takes it as it is."""
    _compile_app(project)
    archive = _zipped(project, runtime)
    if not is_zipfile(archive):  # an interrupted build; Chalice would upload it
        archive.unlink()
        archive = _zipped(project, runtime)
    add_bytecode(archive)
    return archive


def _zipped(project: Path, runtime: Runtime) -> Path:
    files, said = OSUtils(), StringIO()
    dependencies = packager.DependencyBuilder(files, architecture=runtime.architecture)
    chalice = packager.LambdaDeploymentPackager(
        files, dependencies, UI(out=said, err=said), architecture=runtime.architecture
    )
    try:
        return Path(chalice.create_deployment_package(str(project), runtime.name))
    except (
        packager.InvalidSourceDistributionNameError,
        packager.NoSuchPackageError,
        packager.PackageDownloadError,
        packager.UnsupportedPackageError,
    ) as error:
        *_, last = ["", *str(error).strip().splitlines()]
        raise Problem(f"pip cannot get what requirements.txt names. {last}") from error


def _compile_app(project: Path) -> None:
    """Chalice packs chalicelib with its bytecode, and names the zip after both: let them be settled."""
    code = project / "chalicelib"
    current = {cache_from_source(str(source), optimization="") for source in code.rglob("*.py")}
    for cached in code.rglob("*.pyc"):
        if str(cached) not in current:
            cached.unlink(missing_ok=True)
    _compile(code, project)


def _compile(folder: Path, root: Path) -> None:
    compileall = [sys.executable, "-I", "-W", "ignore", "-m", "compileall", "-f", "-qq", "-j", "0"]
    # By the hash of the source: the times that are compared otherwise do not survive the way to Lambda.
    options = ["--invalidation-mode", "checked-hash", "-s", str(root), "-p", TASK_ROOT]
    # Not every file is for this Python; what fails is left to fail where it is imported.
    subprocess.run([*compileall, *options, str(folder)], check=False, stdout=subprocess.DEVNULL)  # noqa: S603


def add_bytecode(archive: Path) -> None:
    """Chalice packs wheels, and they carry none: each cold start would compile all that it imports."""
    with TemporaryDirectory() as name:
        folder = Path(name)
        with ZipFile(archive) as packed:
            known = set(packed.namelist())
            if cache_from_source("app.py") in known:
                return
            packed.extractall(folder)
        _compile(folder, folder)
        draft = archive.with_suffix(".draft")
        copyfile(archive, draft)
        with ZipFile(draft, "a") as packed:
            for file in sorted(folder.rglob("*.pyc")):
                if (path := file.relative_to(folder).as_posix()) not in known:
                    packed.writestr(_readable(path), file.read_bytes())
        draft.replace(archive)


def _readable(path: str) -> ZipInfo:
    entry = ZipInfo(path)
    entry.external_attr = 0o644 << 16
    entry.compress_type = ZIP_DEFLATED
    return entry


@dataclass(frozen=True)
class Package:
    archive: Path
    folder: Path  # where it is unpacked
    runtime: Runtime

    @classmethod
    @contextmanager
    def opened(cls, archive: Path, runtime: Runtime) -> "Iterator[Package]":
        with TemporaryDirectory() as folder:
            with ZipFile(archive) as packed:
                packed.extractall(folder)
            yield cls(archive, Path(folder), runtime)

    @cached_property
    def entries(self) -> dict[str, ZipInfo]:
        with ZipFile(self.archive) as packed:
            return {entry.filename: entry for entry in packed.infolist() if not entry.is_dir()}

    @cached_property
    def distributions(self) -> dict[str, Distribution]:
        """By their canonical names."""
        found = distributions(path=[str(self.folder)])
        return {canonicalize_name(distribution.name): distribution for distribution in found}

    @cached_property
    def owners(self) -> dict[str, str]:
        """Which distribution brought a file, or the app, or Chalice; strays have none."""
        return {path: owner for path in self.entries if (owner := self._owner(path))}

    def _owner(self, path: str) -> str | None:
        path = source(path)
        if path == "app.py" or path.startswith("chalicelib/"):
            return APP
        return CHALICE if path in ("chalice/__init__.py", "chalice/app.py") else self._recorded.get(path)

    @cached_property
    def _recorded(self) -> dict[str, str]:
        return {
            _installed(str(file)): name
            for name, distribution in self.distributions.items()
            for file in distribution.files or ()
        }

    @property
    def zipped(self) -> int:
        return self.archive.stat().st_size

    @property
    def unpacked(self) -> int:
        return sum(entry.file_size for entry in self.entries.values())

    @property
    def weights(self) -> dict[str, Counter[str]]:
        """The bytes of each owner's files, zipped and unpacked."""
        weights = {"zipped": Counter[str](), "unpacked": Counter[str]()}
        for path, entry in self.entries.items():
            owner = self.owners.get(path, "strays")
            weights["zipped"][owner] += entry.compress_size
            weights["unpacked"][owner] += entry.file_size
        return weights


def source(path: str) -> str:
    """Of bytecode; all else is its own."""
    return source_from_cache(path) if "__pycache__/" in path and path.endswith(".pyc") else path


def _installed(path: str) -> str:
    """Where Chalice puts a file of a wheel: what is meant for site-packages goes up to the rest of it."""
    top, *rest = PurePosixPath(path).parts
    if top.endswith(".data") and rest and rest[0] in ("purelib", "platlib"):
        return str(PurePosixPath(*rest[1:]))
    return path
