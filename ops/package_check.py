"""What is wrong with a package, before Lambda finds it out."""

import re
from collections import defaultdict, deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import Distribution
from pathlib import Path, PurePosixPath

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from ops import binaries
from ops.cold_start import ColdStart, ImportFailed
from ops.lambda_runtime import Runtime
from ops.package import APP, MAX_UNPACKED, MAX_ZIPPED, Package, source
from ops.problems import Problem

SERVED = (".py", ".html", ".css", ".js", ".svg")  # the code, and the page
_TEST = re.compile(r"(^|/)(tests?/|conftest\.py$|test_[^/]*$|[^/]*_test\.py$)")
_COMMENT = re.compile(r"(^|\s)#.*$")

GET_A_WHEEL = (
    "Give it a range in requirements.txt whose newest version has a wheel for {runtime}; "
    "a marker can limit the range to one Python."
)
AGREE = "Give requirements.txt ranges that agree with one another."
TAKE_OUT = "Take it out of vendor/, or name in requirements.txt what it belongs to."
MOVE_OUT = "Keep out of chalicelib what is neither the app's code nor a file of its page."
OPEN_UP = "Let others read the sources: chmod -R go+rX app.py chalicelib vendor."
SLIM = "Take out of requirements.txt what is large: `python -m ops package` lists it."
REQUIRE = "Name in requirements.txt all that the app imports, and let it import nothing else."


@dataclass(frozen=True)
class Finding:
    sentence: str
    remedy: str


def findings(package: Package, requirements: Path, environment: Mapping[str, str]) -> list[Finding]:
    """All that would fail on Lambda, or has no business there."""
    required, unmet = _requirements(package, named(requirements))
    return [
        *unmet,
        *_superfluous(package, required),
        *_strays(package),
        *_misplaced(package),
        *_wheels(package),
        *_compiled(package),
        *_unreadable(package),
        *_oversize(package),
        *_imports(package, environment),
    ]


def named(requirements: Path) -> list[Requirement]:
    """What requirements.txt names; Problem where a line is an option or a path."""
    lines = (_COMMENT.sub("", line).strip() for line in requirements.read_text(encoding="utf-8").splitlines())
    try:
        return [Requirement(line) for line in lines if line]
    except InvalidRequirement as error:
        raise Problem(f"{requirements.name} may only name requirements, one a line. {error}") from error


def _requirements(package: Package, roots: list[Requirement]) -> tuple[set[str], list[Finding]]:
    """The distributions that something requires, and what is wrong with those that are or are not there."""
    required: set[str] = set()
    unmet: list[Finding] = []
    seen: set[tuple[Requirement, str]] = set()
    waiting = deque((requirement, "requirements.txt", "") for requirement in roots)
    while waiting:
        requirement, by, extra = waiting.popleft()
        if (requirement, by) in seen or not _applies(requirement, extra, package.runtime):
            continue
        seen.add((requirement, by))
        name = canonicalize_name(requirement.name)
        required.add(name)
        distribution = package.distributions.get(name)
        unmet += _unmet(requirement, by, distribution, package.runtime)
        for text in (distribution.requires if distribution else None) or ():
            waiting += ((Requirement(text), requirement.name, extra) for extra in ("", *requirement.extras))
    return required, unmet


def _applies(requirement: Requirement, extra: str, runtime: Runtime) -> bool:
    return requirement.marker is None or requirement.marker.evaluate({**runtime.markers, "extra": extra})


def _unmet(
    requirement: Requirement, by: str, distribution: Distribution | None, runtime: Runtime
) -> Iterator[Finding]:
    wanted = f"{requirement.name}{requirement.specifier}"
    if distribution is None:
        lacking = f"{wanted}, which {by} requires, is missing"
        yield Finding(
            f"{lacking}: Chalice leaves out what it cannot get for Lambda.",
            GET_A_WHEEL.format(runtime=runtime),
        )
    elif not requirement.specifier.contains(distribution.version, prereleases=True):
        there = f"{requirement.name} {distribution.version}"
        yield Finding(f"{there} is in the package, and {by} requires {wanted}.", AGREE)


def _superfluous(package: Package, required: set[str]) -> Iterator[Finding]:
    for name in sorted(package.distributions.keys() - required):
        version = package.distributions[name].version
        yield Finding(
            f"{name} {version} is in the package, and nothing in requirements.txt requires it.", TAKE_OUT
        )


def _strays(package: Package) -> Iterator[Finding]:
    strays = defaultdict(list)
    for path in sorted(package.entries.keys() - package.owners.keys()):
        if source(path) == path or source(path) not in package.entries:
            strays[PurePosixPath(path).parts[0]].append(path)
    for top, paths in strays.items():
        what = top if paths == [top] else f"{top}/ (such as {paths[0]}, {len(paths)} in all)"
        yield Finding(f"{what} is in the package, and is neither the app's nor a requirement's.", TAKE_OUT)


def _misplaced(package: Package) -> Iterator[Finding]:
    for path, owner in sorted(package.owners.items()):
        if owner != APP or path.endswith(".pyc"):
            continue
        if _TEST.search(path):
            yield Finding(f"{path} is a test.", MOVE_OUT)
        elif not path.endswith(SERVED):
            yield Finding(f"{path} is neither code nor a file of the page.", MOVE_OUT)


def _wheels(package: Package) -> Iterator[Finding]:
    remedy = GET_A_WHEEL.format(runtime=package.runtime)
    for name, distribution in sorted(package.distributions.items()):
        tags = re.findall(r"^Tag: *(\S+)", distribution.read_text("WHEEL") or "", re.MULTILINE)
        if not tags or package.runtime.takes(tags):
            continue
        what = f"{name} {distribution.version}"
        if any("-linux_" in tag for tag in tags):
            yield Finding(f"{what} was compiled on this machine, for its libraries and not Lambda's.", remedy)
        else:
            yield Finding(f"{what} is for another system than {package.runtime}: {', '.join(tags)}.", remedy)


def _compiled(package: Package) -> Iterator[Finding]:
    remedy = GET_A_WHEEL.format(runtime=package.runtime)
    for path, reason in binaries.faults(package.folder, package.entries.keys(), package.runtime):
        owner = package.owners.get(path)
        yield Finding(f"{path}{f' of {owner}' if owner else ''} {reason}.", remedy)


def _unreadable(package: Package) -> Iterator[Finding]:
    """https://repost.aws/knowledge-center/lambda-deployment-package-errors"""
    modes = {path: entry.external_attr >> 16 for path, entry in package.entries.items()}
    closed = sorted(path for path, mode in modes.items() if not mode & 0o004)
    if closed:
        files = closed[0] if len(closed) == 1 else f"{len(closed)} files, such as {closed[0]},"
        yield Finding(
            f"{files} can be read by the owner alone, and Lambda reads it as another user.", OPEN_UP
        )


def _oversize(package: Package) -> Iterator[Finding]:
    for size, limit, state in (
        (package.zipped, MAX_ZIPPED, "zipped"),
        (package.unpacked, MAX_UNPACKED, "unpacked"),
    ):
        if size > limit:
            yield Finding(
                f"The package is {size / 1e6:.1f} MB {state}, and Lambda takes {limit / 1e6:.1f}.", SLIM
            )


def _imports(package: Package, environment: Mapping[str, str]) -> Iterator[Finding]:
    if not package.runtime.is_here:
        return
    paths = (PurePosixPath(path) for path in sorted(package.owners) if package.owners[path] == APP)
    modules = [".".join(path.with_suffix("").parts) for path in paths if path.suffix == ".py"]
    try:
        ColdStart(package.folder, environment).seconds(*modules)
    except ImportFailed as error:
        yield Finding(f"What is in the package is not enough to import the app: {error}.", REQUIRE)
