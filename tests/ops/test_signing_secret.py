import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import boto3
import pytest

from chalicelib.errors import AccessLost
from chalicelib.signing_secret import SigningSecret
from ops.inventory import Inventory
from ops.signing_secret import unchanged
from ops.stage import Stage
from tests.conftest import ROOT
from tests.ops.conftest import Screen


@pytest.fixture
def client(session: boto3.Session) -> Any:
    return session.client("secretsmanager")


@pytest.fixture
def regenerate(client: Any, stage: Stage) -> Callable[[], None]:
    """What CloudFormation does to a secret, once there is one."""
    client.create_secret(Name=stage.secret, SecretString="the receivers' own")
    return lambda: client.put_secret_value(SecretId=stage.secret, SecretString="generated")


def value(client: Any, stage: Stage) -> str:
    secret: str = client.get_secret_value(SecretId=stage.secret, VersionStage="AWSCURRENT")["SecretString"]
    return secret


def test_a_value_that_was_generated_anew_is_taken_back(
    client: Any, stage: Stage, inventory: Inventory, regenerate: Callable[[], None], screen: Screen
) -> None:
    with unchanged(inventory, screen):
        regenerate()

    assert value(client, stage) == "the receivers' own"
    assert screen.lines == [
        f"CloudFormation gave the secret {stage.secret} a new value: the one from before is back."
    ]


def test_it_is_taken_back_also_where_the_rest_fails(
    client: Any, stage: Stage, inventory: Inventory, regenerate: Callable[[], None], screen: Screen
) -> None:
    with pytest.raises(KeyboardInterrupt):
        interrupt_after(regenerate, inventory, screen)

    assert value(client, stage) == "the receivers' own"


def interrupt_after(step: Callable[[], None], inventory: Inventory, screen: Screen) -> None:
    with unchanged(inventory, screen):
        step()
        raise KeyboardInterrupt


@pytest.mark.usefixtures("regenerate")
def test_a_secret_that_nobody_touched_is_left_alone(inventory: Inventory, screen: Screen) -> None:
    with unchanged(inventory, screen):
        pass

    assert screen.lines == []


def test_a_secret_that_is_new_keeps_its_value(
    client: Any, stage: Stage, inventory: Inventory, screen: Screen
) -> None:
    with unchanged(inventory, screen):
        client.create_secret(Name=stage.secret, SecretString="generated")

    assert (value(client, stage), screen.lines) == ("generated", [])


def run(command: str, **variables: str) -> None:
    """As it stands in the README, by the `aws` that is installed beside this Python."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, **variables}
    subprocess.run(["/bin/sh", "-c", command], check=True, env=environment, stdout=subprocess.DEVNULL)


def test_a_rotation_by_the_readme_signs_by_both_and_a_value_that_is_none_can_be_taken_back(
    client: Any, stage: Stage
) -> None:
    readme = (ROOT / "README.md").read_text().replace("image-labeller-dev-signing", stage.secret)
    put, take_back = re.findall(r"^ {4}aws secretsmanager .*\\\n.*$", readme, re.MULTILINE)
    made = client.create_secret(Name=stage.secret, SecretString="A" * 64)

    def keys() -> tuple[bytes, ...]:
        return SigningSecret(client, made["ARN"]).keys()

    run(put)
    new, old = keys()
    assert (len(new), old) == (32, bytes(48))

    current = client.get_secret_value(SecretId=stage.secret)["VersionId"]
    bad = client.put_secret_value(SecretId=stage.secret, SecretString="a good password!")["VersionId"]
    with pytest.raises(AccessLost):
        keys()
    run(take_back, old=current, bad=bad)
    assert keys() == (new,)
