import json
import os
import platform
import re
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from ops.__main__ import commands
from ops.lambda_runtime import MACHINES, default_architecture

HERE, THERE = sorted(MACHINES, key=lambda architecture: MACHINES[architecture] != platform.machine())
VERSION = f"Python {sys.version_info[0]}.{sys.version_info[1]}"
only_on_linux = pytest.mark.skipif(sys.platform != "linux", reason="what is made for Lambda runs on Linux")


@pytest.fixture
def labeller(project: Path) -> Path:
    """A project of one module, with a boto3 of its own."""
    (project / "app.py").write_text("import os\nimport boto3\nos.environ['IMAGES_BUCKET']\n")
    (project / "requirements.txt").write_text("")
    (project / "chalicelib").mkdir()
    (project / "vendor").mkdir()
    (project / "vendor/boto3.py").write_text("")
    return project


def package(project: Path, *arguments: str) -> Result:
    return CliRunner().invoke(commands, ["package", *arguments], obj=project, catch_exceptions=False)


def configure(project: Path, **stage: Any) -> None:
    file = project / ".chalice/config.json"
    document = json.loads(file.read_text())
    document["stages"]["dev"] = stage
    file.write_text(json.dumps(document))


def shown(output: str) -> list[str]:
    """The lines without what differs from run to run: the numbers, and how wide the columns are for them."""
    return [re.sub(r"\b\d+(\.\d+)?\b", "#", " ".join(line.split())) for line in output.splitlines()]


def archives(project: Path) -> list[Path]:
    return sorted((project / ".chalice/deployments").glob("*"))


@only_on_linux
def test_a_package_is_weighed_and_timed(labeller: Path) -> None:
    result = package(labeller, "--architecture", HERE)

    first, *lines = shown(result.output)
    [archive] = archives(labeller)
    assert result.exit_code == 0
    assert result.output.startswith(f"{archive.name} for {VERSION} on {HERE} (glibc ")
    assert first.endswith(": # MB zipped, # MB unpacked, # compiled files")
    assert lines[:4] == [
        "the largest unpacked zipped",
        "Chalice's runtime # MB # MB",
        "the app # MB # MB",
        "strays # MB # MB",
    ]
    assert lines[4:9] == [
        "cold import, median of # by the clock of the processor",
        "import app # ms # ms",
        "import app, without its bytecode # ms # ms",
        "import boto3 # ms # ms",
        "of which, while traced",
    ]
    assert {"app # ms", "boto3 # ms", "the standard library # ms"} == set(lines[9:])


def test_what_is_for_another_processor_is_weighed_alone(labeller: Path) -> None:
    result = package(labeller, "--architecture", THERE)

    assert result.exit_code == 0
    assert shown(result.output)[-1] == (
        "It cannot be imported here: this is another processor, system or Python."
    )


@only_on_linux
def test_a_package_that_cannot_be_imported_is_not_timed(labeller: Path) -> None:
    (labeller / "app.py").write_text("import nowhere\n")

    result = package(labeller, "--architecture", HERE)

    assert result.exit_code == 1
    assert result.output.splitlines()[-1] == (
        "Error: The package is not enough to import the app: "
        "ModuleNotFoundError: No module named 'nowhere'; see --check."
    )


def test_a_package_near_a_limit_is_warned_of(labeller: Path) -> None:
    with (labeller / "vendor/noise").open("wb") as file:
        file.write(os.urandom(43_000_000))

    result = package(labeller, "--architecture", THERE)

    assert "That is near the 52.4 MB that Lambda takes zipped." in result.output.splitlines()


def test_a_fit_package_is_left_for_chalice(labeller: Path) -> None:
    (labeller / "app.py").write_text("")
    shutil.rmtree(labeller / "vendor")

    result = package(labeller, "--architecture", HERE, "--check")

    assert result.exit_code == 0
    assert shown(result.output) == [
        f"The package is fit for {re.sub(r'[0-9.]+', '#', VERSION)} on {HERE} (glibc #): "
        "# MB zipped, # MB unpacked, # compiled files."
    ]
    assert len(archives(labeller)) == 1


def test_an_unfit_package_is_deleted_and_each_reason_told_with_what_to_do(labeller: Path) -> None:
    (labeller / "vendor/boto3.py").rename(labeller / "vendor/tests.py")
    (labeller / "chalicelib/notes.txt").write_text("")
    (labeller / "chalicelib/test_api.py").write_text("")

    result = package(labeller, "--architecture", THERE, "--check")

    assert result.exit_code == 1
    assert result.output.splitlines() == [
        "Error: The package would not do on Lambda (3), and is deleted:",
        "  - tests.py is in the package, and is neither the app's nor a requirement's.",
        "    Take it out of vendor/, or name in requirements.txt what it belongs to.",
        "  - chalicelib/notes.txt is neither code nor a file of the page.",
        "  - chalicelib/test_api.py is a test.",
        "    Keep out of chalicelib what is neither the app's code nor a file of its page.",
    ]
    assert archives(labeller) == []


@pytest.mark.parametrize("architecture", MACHINES)
def test_the_processor_is_the_one_of_the_stage(labeller: Path, architecture: str) -> None:
    configure(labeller, lambda_architecture=architecture)

    assert f" on {architecture} (glibc " in package(labeller, "--stage", "dev").output.splitlines()[0]


@pytest.mark.parametrize("arguments", [(), ("--stage", "dev")], ids=["no stage", "a stage to come"])
def test_else_the_processor_is_the_one_that_this_python_has_wheels_for(
    labeller: Path, arguments: tuple[str, ...]
) -> None:
    assert f" on {default_architecture()} (glibc " in package(labeller, *arguments).output.splitlines()[0]


@only_on_linux
def test_the_app_is_imported_with_the_stages_environment_over_the_local_one(labeller: Path) -> None:
    (labeller / "app.py").write_text(
        "import os\nassert os.environ['IMAGES_TABLE'] == 'of dev'\nassert os.environ['IMAGES_BUCKET']\n"
    )
    shutil.rmtree(labeller / "vendor")
    configure(labeller, lambda_architecture=HERE, environment_variables={"IMAGES_TABLE": "of dev"})

    assert package(labeller, "--stage", "dev", "--check").exit_code == 0
    assert package(labeller, "--architecture", HERE, "--check").exit_code == 1


@pytest.mark.parametrize(
    ("stage", "arguments", "sentence"),
    [
        (
            {},
            ("--architecture", "arm64"),
            "Give --stage or --architecture: a stage has the architecture that ",
        ),
        (
            {"lambda_architecture": "arm"},
            (),
            "lambda_architecture in config.json is 'arm': Lambda has x86_64 and ",
        ),
        (
            {"automatic_layer": True},
            (),
            "With automatic_layer in config.json there is no one package: take it out.",
        ),
    ],
    ids=["both", "no such processor", "a layer"],
)
def test_what_cannot_be_packed_is_refused(
    labeller: Path, stage: dict[str, Any], arguments: tuple[str, ...], sentence: str
) -> None:
    configure(labeller, **stage)

    result = package(labeller, "--stage", "dev", *arguments)

    assert result.exit_code == 1
    assert result.output.startswith(f"Error: {sentence}")
    assert archives(labeller) == []
