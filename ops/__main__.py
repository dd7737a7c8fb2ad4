"""The operator's commands."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
from rich.console import Console

from ops import finishing
from ops.problems import Commands
from ops.stage import PROJECT, Stage

# What AWS says may hold square brackets, which are no markup.
console = Console(highlight=False, markup=False, emoji=False, soft_wrap=True)


@click.group(cls=Commands)
def commands() -> None:
    """What `chalice deploy` does not do for a stage of the image labeller."""


def _stage(context: click.Context, _: click.Parameter, name: str) -> Stage:
    project: Path | None = context.obj
    return Stage(name, project or PROJECT)


for_stage: Callable[[Callable[..., Any]], Callable[..., Any]] = click.option(
    "--stage", required=True, metavar="NAME", callback=_stage, help="One deployment of the app, such as dev."
)


@commands.command()
@for_stage
def finish(stage: Stage) -> None:
    """Set what Chalice cannot; run it after each `chalice deploy`."""
    finishing.finish(stage, console)


if __name__ == "__main__":
    commands(prog_name="python -m ops")
