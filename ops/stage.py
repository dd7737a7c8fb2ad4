"""One deployment of the app: its names, its part of config.json, and what Chalice noted of it."""

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ops.problems import Problem

APP = "image-labeller"
LOCAL = "local"
PROJECT = Path(__file__).parent.parent
# No dashes: the API function of a stage `dev-notify` would be the function `notify` of the stage `dev`.
_NAME = re.compile(r"[a-z][a-z0-9]{0,14}")


@dataclass(frozen=True)
class Stage:
    name: str
    project: Path = PROJECT

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise Problem(
                f"{self.name!r} is no name for a stage: "
                "take up to 15 small letters and digits, a letter first."
            )
        if self.name == LOCAL:
            raise Problem("The stage `local` is this machine's own: `make run` runs it. Take another name.")

    @property
    def stack_name(self) -> str:
        return f"{APP}-{self.name}-resources"

    @property
    def config_file(self) -> Path:
        return self.project / ".chalice/config.json"

    @property
    def deployed_file(self) -> Path:
        return self.project / f".chalice/deployed/{self.name}.json"

    def function_name(self, handler: str) -> str:
        """A function's name on AWS; Chalice gives the API's function that of the stage itself."""
        return f"{APP}-{self.name}" + ("" if handler == "api_handler" else f"-{handler}")

    def config(self) -> dict[str, Any]:
        """The stage's part of config.json; empty where it has none."""
        stages: dict[str, dict[str, Any]] = json.loads(self.config_file.read_text())["stages"]
        return stages.get(self.name, {})

    def deployed(self) -> dict[str, dict[str, Any]]:
        """What Chalice noted of its last deployment, by resource name; empty where it noted nothing."""
        if not self.deployed_file.is_file():
            return {}
        noted = json.loads(self.deployed_file.read_text())
        return {resource["name"]: resource for resource in noted["resources"]}
