"""`python -m ops package`: builds, weighs and checks what ships to Lambda."""

import json
from collections import defaultdict
from collections.abc import Mapping
from itertools import groupby
from pathlib import Path
from statistics import median

from rich.console import Console
from rich.table import Table

from chalicelib.settings import LOCAL
from ops import binaries
from ops.cold_start import ColdStart, ImportFailed
from ops.lambda_runtime import ARCHITECTURES, Runtime, default_architecture
from ops.package import MAX_UNPACKED, MAX_ZIPPED, Package, build
from ops.package_check import Finding, findings
from ops.problems import Problem
from ops.stage import Stage

RUNS = 7
LARGEST = 8
NEAR = 0.8  # of a limit
IMPORTS = {
    "import app": ("app", True),
    "import app, without its bytecode": ("app", False),
    "import boto3": ("boto3", True),
}


def run(console: Console, project: Path, stage: Stage | None, architecture: str | None, check: bool) -> None:
    """Builds the package of a stage, or of an architecture, and says what it is made of or what is wrong."""
    runtime = _runtime(stage, architecture)
    with console.status(f"Chalice packs the app for {runtime}"):
        archive = build(project, runtime)
    with Package.opened(archive, runtime) as package:
        environment = _environment(project, stage)
        if not check:
            _weigh(console, package)
            _time(console, package, environment)
        elif found := findings(package, project / "requirements.txt", environment):
            archive.unlink()  # or `chalice deploy` would take it as it is
            raise Problem(_told(found))
        else:
            console.print(f"The package is fit for {runtime}: {_sizes(package)}.")


def _runtime(stage: Stage | None, architecture: str | None) -> Runtime:
    if stage and architecture:
        raise Problem("Give --stage or --architecture: a stage has the architecture that config.json says.")
    if stage and (stage.config() | stage.document()).get("automatic_layer"):
        raise Problem("With automatic_layer in config.json there is no one package: take it out.")
    chosen = architecture or (stage.architecture() if stage else default_architecture())
    if chosen not in ARCHITECTURES:
        raise Problem(
            f"lambda_architecture in config.json is {chosen!r}: Lambda has {' and '.join(ARCHITECTURES)}."
        )
    return Runtime(chosen)


def _environment(project: Path, stage: Stage | None) -> Mapping[str, str]:
    """The stage's; before it has one, or where that lacks something, what `local` has in every checkout."""
    stages = json.loads((project / ".chalice/config.json").read_text(encoding="utf-8"))["stages"]
    local: dict[str, str] = stages[LOCAL]["environment_variables"]
    return local | (stage.config().get("environment_variables", {}) if stage else {})


def _told(found: list[Finding]) -> str:
    lines = [f"The package would not do on Lambda ({len(found)}), and is deleted:"]
    for remedy, group in groupby(found, key=lambda finding: finding.remedy):
        lines += [f"  - {finding.sentence}" for finding in group]
        lines.append(f"    {remedy}")
    return "\n".join(lines)


def _sizes(package: Package) -> str:
    compiled = sum(binaries.is_compiled(package.folder / path) for path in package.entries)
    return f"{_mb(package.zipped)} zipped, {_mb(package.unpacked)} unpacked, {compiled} compiled files"


def _mb(size: int) -> str:
    return f"{size / 1e6:.1f} MB"


def _weigh(console: Console, package: Package) -> None:
    console.print(f"{package.archive.name} for {package.runtime}: {_sizes(package)}")
    for size, limit, state in (
        (package.zipped, MAX_ZIPPED, "zipped"),
        (package.unpacked, MAX_UNPACKED, "unpacked"),
    ):
        if size > NEAR * limit:
            console.print(f"That is near the {_mb(limit)} that Lambda takes {state}.")
    weights = package.weights
    table = Table("the largest", "unpacked", "zipped", box=None)
    for owner, size in weights["unpacked"].most_common(LARGEST):
        table.add_row(owner, _mb(size), _mb(weights["zipped"][owner]))
    console.print(table)


def _time(console: Console, package: Package, environment: Mapping[str, str]) -> None:
    if not package.runtime.is_here:
        console.print("It cannot be imported here: this is another processor, system or Python.")
        return
    start = ColdStart(package.folder, environment)
    taken = defaultdict(list)
    try:
        for _ in range(RUNS):
            for what, (module, bytecode) in IMPORTS.items():
                taken[what].append(start.seconds(module, bytecode=bytecode))
        slowest = start.slowest("app")
    except ImportFailed as error:
        raise Problem(f"The package is not enough to import the app: {error}; see --check.") from error
    table = Table(f"cold import, median of {RUNS}", "by the clock", "of the processor", box=None)
    for what, times in taken.items():
        table.add_row(what, *(_ms(median(column)) for column in zip(*times, strict=True)))
    console.print(table)
    table = Table("of which, while traced", "", box=None)
    for name, microseconds in slowest.most_common(LARGEST):
        table.add_row(name, _ms(microseconds / 1e6))
    console.print(table)


def _ms(seconds: float) -> str:
    return f"{seconds * 1000:.0f} ms"
