"""The secret that signs the callbacks: its receivers know it, so only its owner may change it."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from rich.console import Console

from ops.inventory import Inventory, unless_absent

_CURRENT = "AWSCURRENT"


@contextmanager
def unchanged(inventory: Inventory, console: Console) -> Iterator[None]:
    """Undoes it if CloudFormation generates a new value for a secret that it takes up and cannot read."""
    client, name = inventory.account.client("secretsmanager"), inventory.stage.secret
    before = _current_version(client, name)
    try:
        yield
    finally:
        after = _current_version(client, name)
        if before and after and after != before:
            client.update_secret_version_stage(
                SecretId=name, VersionStage=_CURRENT, MoveToVersionId=before, RemoveFromVersionId=after
            )
            console.print(f"CloudFormation gave the secret {name} a new value: the one from before is back.")


def _current_version(client: Any, name: str) -> str | None:
    """None where there is no such secret, or it has no value."""
    found = unless_absent(client.describe_secret, SecretId=name) or {}
    versions = found.get("VersionIdsToStages", {})
    return next((version for version, stages in versions.items() if _CURRENT in stages), None)
