import io
import json
import secrets
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import boto3
import msgspec
import pytest
from click.testing import CliRunner, Result
from rich.console import Console

from local_cloud.endpoint import Endpoint
from ops.__main__ import commands
from ops.account import Account
from ops.inventory import Inventory
from ops.stack import Stack
from ops.stage import Stage
from tests.conftest import LOCAL, ROOT
from tests.ops.deployment import Deployment

HANDLERS = list(msgspec.yaml.decode((ROOT / ".chalice/policies.yaml").read_bytes())["functions"])

Operator = Callable[..., Result]
Chalice = Callable[[str], str]


class Screen(Console):
    """What a command prints into a file."""

    def __init__(self) -> None:
        super().__init__(file=io.StringIO(), width=200, markup=False, highlight=False, soft_wrap=True)

    @property
    def lines(self) -> list[str]:
        assert isinstance(self.file, io.StringIO)
        return [line.rstrip() for line in self.file.getvalue().splitlines()]


@pytest.fixture
def screen() -> Screen:
    return Screen()


@pytest.fixture
def project(tmp_path: Path, endpoint: Endpoint) -> Path:
    """A project of the test's own, with the templates of this one and no stage but `local`."""
    chalice = tmp_path / "project/.chalice"
    chalice.mkdir(parents=True)
    for name in ("resources.yaml", "policies.yaml"):
        shutil.copy(ROOT / ".chalice" / name, chalice)
    document = {
        "version": "2.0",
        "app_name": "image-labeller",
        "stages": {"local": {"environment_variables": LOCAL}},
    }
    (chalice / "config.json").write_text(json.dumps(document, indent=2) + "\n")
    return chalice.parent


@pytest.fixture
def stage(project: Path) -> Stage:
    """One that only this test has."""
    return Stage(f"t{secrets.token_hex(6)}", project)


@pytest.fixture
def account(session: boto3.Session) -> Account:
    return Account(session)


@pytest.fixture
def stack(stage: Stage, account: Account) -> Stack:
    return Stack(account.client("cloudformation"), stage.stack_name)


@pytest.fixture
def inventory(stage: Stage, account: Account) -> Inventory:
    return Inventory(stage, account)


@pytest.fixture
def deployment(stage: Stage, session: boto3.Session) -> Deployment:
    return Deployment(stage, session)


@pytest.fixture
def operate(project: Path) -> Operator:
    """`python -m ops ...` in this process, on the test's own project."""

    def run(*arguments: str) -> Result:
        return CliRunner().invoke(commands, arguments, obj=project, catch_exceptions=False)

    return run


@pytest.fixture
def resources(stack: Stack, stage: Stage) -> Stack:
    """The stage's stack, of the template as it is."""
    template = (stage.project / ".chalice/resources.yaml").read_text()
    stack.apply(template, {"Stage": stage.name}, Screen())
    return stack


@pytest.fixture
def chalice(stage: Stage) -> Chalice:
    """Chalice's command line, on the test's own project, whose functions have the app and no libraries."""
    shutil.copy(ROOT / "app.py", stage.project)
    shutil.copytree(ROOT / "chalicelib", stage.project / "chalicelib")
    (stage.project / "requirements.txt").touch()

    def run(command: str) -> str:
        done = subprocess.run(
            [Path(sys.executable).with_name("chalice"), command, "--stage", stage.name],
            cwd=stage.project,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run
