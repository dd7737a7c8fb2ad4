"""One deployment of the app: its names, its part of config.json, and what Chalice noted of it."""

import json
import os
import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from chalicelib.settings import LOCAL, STAGE_NAME
from ops.account import Account
from ops.lambda_runtime import default_architecture
from ops.problems import Problem

APP = "image-labeller"
API_HANDLER = "api_handler"
PROJECT = Path(__file__).parent.parent


@dataclass(frozen=True)
class Stage:
    name: str
    project: Path = PROJECT

    def __post_init__(self) -> None:
        # No dashes: the API function of a stage `dev-notify` would be the function `notify` of `dev`.
        if not STAGE_NAME.fullmatch(self.name):
            raise Problem(
                f"{self.name!r} is no name for a stage: "
                "take up to 15 small letters and digits, a letter first."
            )
        if self.name == LOCAL:
            raise Problem("The stage `local` is this machine's own: `make run` runs it. Take another name.")

    @property
    def prefix(self) -> str:
        """What begins the names of all that is the stage's, before a dash; the API's function has no more."""
        return f"{APP}-{self.name}"

    @property
    def stack_name(self) -> str:
        return f"{self.prefix}-resources"

    @property
    def config_file(self) -> Path:
        return self.project / ".chalice/config.json"

    @property
    def deployed_file(self) -> Path:
        return self.project / f".chalice/deployed/{self.name}.json"

    @property
    def policies_folder(self) -> Path:
        return self.project / f".chalice/policies/{self.name}"

    def owns(self, name: str) -> bool:
        """Whether something on AWS is the stage's, by its name."""
        return name == self.prefix or name.startswith(f"{self.prefix}-")

    def function_name(self, handler: str) -> str:
        """A function's name on AWS; Chalice gives the API's function that of the stage itself."""
        return self.prefix + ("" if handler == API_HANDLER else f"-{handler}")

    def handler(self, function_name: str) -> str:
        return function_name.removeprefix(self.prefix).removeprefix("-") or API_HANDLER

    def role_name(self, handler: str) -> str:
        return f"{self.prefix}-{handler}"

    def images_bucket(self, account: str, region: str) -> str:
        return f"{self.prefix}-{account}-{region}"

    def buckets(self, account: str, region: str) -> list[str]:
        """Of the pictures, of those in quarantine, and of what is derived from them."""
        others = ("labeller-quarantine", "labeller-derived")
        return [
            self.images_bucket(account, region),
            *(f"{kind}-{self.name}-{account}-{region}" for kind in others),
        ]

    @property
    def images_table(self) -> str:
        return f"{self.prefix}-images"

    @property
    def terms_table(self) -> str:
        return f"{self.prefix}-terms"

    @property
    def state_table(self) -> str:
        return state_table(self.name)

    @property
    def tables(self) -> list[str]:
        return [self.images_table, self.terms_table, self.state_table]

    @property
    def secret(self) -> str:
        return f"{self.prefix}-signing"

    def document(self) -> dict[str, Any]:
        """The whole of config.json, which has stages."""
        document = read_json(self.config_file)
        if document is None:
            raise Problem(f"There is no {self.config_file}: run this in the project's folder, and see git.")
        if not isinstance(document, dict) or not isinstance(document.setdefault("stages", {}), dict):
            raise Problem(
                f"{self.config_file} has no `stages` as Chalice wants them: see git for an older one."
            )
        return document

    def config(self) -> dict[str, Any]:
        """The stage's part of config.json; empty where it has none."""
        config = self.document()["stages"].get(self.name, {})
        if not isinstance(config, dict):
            raise Problem(f"The stage {self.name} in {self.config_file} must be an object in braces.")
        return config

    @property
    def handlers(self) -> list[str]:
        """Of the functions that config.json names."""
        functions = self.config().get("lambda_functions")
        return list(functions) if isinstance(functions, dict) else []

    def architecture(self) -> str:
        """The functions' processor."""
        return architecture(self.config(), self.document())

    def check_home(self, account: Account) -> None:
        """Raises Problem if config.json has the stage in another account or region."""
        variables = self.config().get("environment_variables")
        bucket = variables.get("IMAGES_BUCKET") if isinstance(variables, dict) else None
        home = re.fullmatch(rf"{self.prefix}-(\d{{12}})-([a-z0-9-]+)", str(bucket))
        if home and home.groups() != (account.id, account.region):
            raise Problem(
                f"By {self.config_file} the stage {self.name} is in account {home[1]}, region {home[2]}; "
                f"these credentials are for {account}. "
                "Set AWS_PROFILE and AWS_DEFAULT_REGION for it, or take another stage."
            )

    def deployed(self) -> dict[str, dict[str, Any]]:
        """What Chalice noted of its last deployment, by resource name; empty where it noted nothing."""
        noted = read_json(self.deployed_file)
        if noted is None:
            return {}
        try:
            return {resource["name"]: resource for resource in noted["resources"]}
        except (KeyError, TypeError) as error:
            raise Problem(
                f"{self.deployed_file} is not what Chalice writes: take it from git, or delete it, "
                "and what it should say is looked up on AWS."
            ) from error


def state_table(stage: str) -> str:
    """Also of this machine's own stage, which is no Stage."""
    return f"{APP}-{stage}-state"


def architecture(part: Mapping[str, Any], document: Mapping[str, Any]) -> str:
    """As config.json says of the stage, or of all of them; else what the running Python has wheels for."""
    return str(
        part.get("lambda_architecture") or document.get("lambda_architecture") or default_architecture()
    )


def read_json(path: Path) -> Any:
    """None where there is no such file."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise Problem(f"{path} is not JSON: {error}") from error
    except OSError as error:
        raise Problem(f"{path} cannot be read: {error.strerror}") from error


def write_text(path: Path, text: str) -> bool:
    """Replaces the file as a whole, and only if it says something else; whether it did."""
    path = path.resolve()
    if path.is_file() and path.read_bytes() == text.encode():
        return False
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        draft.write_bytes(text.encode())
        if path.exists():
            draft.chmod(path.stat().st_mode)
        draft.replace(path)
    except OSError as error:
        with suppress(OSError):
            draft.unlink()
        raise Problem(f"{path} cannot be written: {error.strerror}") from error
    return True
