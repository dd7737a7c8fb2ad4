"""The operator's commands."""

import re
import sys
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import click
from rich.console import Console

from chalicelib.tokens import Scope
from ops import finishing, listening, package_report, provision, redrive, reindexing, removal, tokens
from ops.account import Account
from ops.lambda_runtime import ARCHITECTURES
from ops.overview import Overview
from ops.problems import Commands, Problem
from ops.stage import PROJECT, Stage

# What AWS says may hold square brackets, which are no markup; and in a file, no line is too long.
console = Console(
    highlight=False,
    markup=False,
    emoji=False,
    soft_wrap=True,
    width=None if sys.stdout.isatty() else 200,
)


@click.group(cls=Commands)
def commands() -> None:
    """What `chalice deploy` does not do for a stage of the image labeller."""


def _stage(context: click.Context, _: click.Parameter, name: str) -> Stage:
    project: Path | None = context.obj
    return Stage(name, project or PROJECT)


for_stage: Callable[[Callable[..., Any]], Callable[..., Any]] = click.option(
    "--stage", required=True, metavar="NAME", callback=_stage, help="One deployment of the app, such as dev."
)


def _tokens(context: click.Context, _: click.Parameter, name: str) -> tokens.StageTokens:
    project: Path | None = context.obj
    return tokens.of_stage(name, project or PROJECT)


of_stage: Callable[[Callable[..., Any]], Callable[..., Any]] = click.option(
    "--stage", "known", required=True, metavar="NAME", callback=_tokens, help="One deployment, or local."
)


class _Matching(click.ParamType[str]):
    def __init__(self, name: str, pattern: str) -> None:
        self.name = name
        self._pattern = pattern

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        if not re.fullmatch(self._pattern, value):
            self.fail(f"{value!r} is none.", param, ctx)
        return value


class _Dollars(_Matching):
    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """In the one form that the number has: the template tells none by the text "0"."""
        return f"{Decimal(super().convert(value, param, ctx)).normalize():f}"


def _confirm(stage: Stage) -> None:
    if not sys.stdin.isatty():
        raise Problem("This asks before it begins: run it on a terminal, or with --yes.")
    if click.prompt(f"Type {stage.name} to go on", default="", show_default=False) != stage.name:
        raise Problem("Nothing was removed.")


ADDRESS = _Matching("ADDRESS", r"|\S+@\S+")
ORIGIN = _Matching("ORIGIN", r"\*|https?://[^/,\s]+")
DOLLARS = _Dollars("USD", r"[0-9]{1,9}([.][0-9]{1,2})?")
HOLDER = _Matching("TEXT", r"[\w .,:;'@/+()&-]{1,60}")
SCOPE = click.Choice([scope.value for scope in Scope])
AT_LEAST_ONE = click.IntRange(min=1)


@commands.command()
@for_stage
@click.option("--alarm-email", "AlarmEmail", type=ADDRESS, help="Who gets the alarms; '' for nobody.")
@click.option(
    "--daily-budget", "DailyBudget", type=DOLLARS, help="Of detector calls, for an alarm; 0 for none."
)
@click.option(
    "--upload-origin", "UploadOrigins", type=ORIGIN, multiple=True, help="Of a page that uploads; repeatable."
)
@click.option("--api-rate-limit", "ApiRateLimit", type=AT_LEAST_ONE, metavar="N", help="Requests a second.")
@click.option("--api-burst-limit", "ApiBurstLimit", type=AT_LEAST_ONE, metavar="N", help="Requests at once.")
@click.option("--xray/--no-xray", default=None, help="Trace requests.")
@click.option("--any-region", is_flag=True, help="Also one that is not known to have Rekognition.")
def resources(stage: Stage, xray: bool | None, any_region: bool, **parameters: Any) -> None:
    """Make what Chalice does not make, and write the stage into .chalice; what is not given stays."""
    provision.run(stage, parameters, xray, console, any_region=any_region)


@commands.command()
@click.option("--stage", metavar="NAME", help="The deployment to pack for; its processor is in config.json.")
@click.option(
    "--architecture", type=click.Choice(ARCHITECTURES), help="The processor, where there is no stage."
)
@click.option("--check", is_flag=True, help="Say what would fail on Lambda, and fail.")
@click.pass_obj
def package(project: Path | None, stage: str | None, architecture: str | None, check: bool) -> None:
    """Build what ships to Lambda: how large it is, how fast it is imported, and whether it will do there."""
    project = project or PROJECT
    package_report.run(console, project, Stage(stage, project) if stage else None, architecture, check)


@commands.command()
@for_stage
def finish(stage: Stage) -> None:
    """Set what Chalice cannot; run it after each `chalice deploy`."""
    finishing.finish(stage, console)


@commands.command()
@for_stage
@click.option("--delete-data", is_flag=True, help="Also the pictures, the tables and the signing secret.")
@click.option("--yes", is_flag=True, help="Do not ask.")
def destroy(stage: Stage, delete_data: bool, yes: bool) -> None:
    """Remove a deployment; its data stays unless told."""
    removal.run(stage, console, delete_data=delete_data, confirm=(lambda _: None) if yes else _confirm)


@commands.command()
@for_stage
def status(stage: Stage) -> None:
    """What is deployed, how much waits, and what is half-made."""
    account = Account()
    stage.check_home(account)
    Overview(stage, account).show(console)


@commands.command("redrive")
@for_stage
@click.option("--queue", required=True, type=click.Choice(redrive.QUEUES), help="Which queue's dead letters.")
def try_again(stage: Stage, queue: str) -> None:
    """Try once more what ended in a dead-letter queue."""
    redrive.run(stage, queue, console)


@commands.command()
@for_stage
def reindex(stage: Stage) -> None:
    """Bring what search finds in line with all pictures."""
    reindexing.run(stage, console)


@commands.command()
@click.option("--port", type=click.IntRange(1, 65535), default=9000, show_default=True)
@click.option("--secret", required=True, metavar="BASE64", help="That signs the callbacks.")
def listen(port: int, secret: str) -> None:
    """Receive callbacks on this machine, verify them, and show them."""
    listening.listen(console, port, secret)


@commands.group()
def token() -> None:
    """Who may use the API, and for what."""


@token.command()
@of_stage
@click.option("--name", required=True, type=HOLDER, help="Who or what holds it.")
@click.option("--scope", "scopes", required=True, type=SCOPE, multiple=True, help="What for; repeatable.")
@click.option("--expires-in-days", "days", type=click.IntRange(1, 3650), default=90, show_default=True)
def create(known: tokens.StageTokens, name: str, scopes: tuple[str, ...], days: int) -> None:
    """Make a token, and show it this once."""
    known.create(console, name, dict.fromkeys(map(Scope, scopes)), days)


@token.command("list")
@of_stage
def show(known: tokens.StageTokens) -> None:
    """The tokens that there are."""
    known.show(console)


@token.command()
@of_stage
@click.argument("token_id", metavar="ID")
def revoke(known: tokens.StageTokens, token_id: str) -> None:
    """Make a token worthless."""
    known.revoke(console, token_id)


if __name__ == "__main__":
    commands(prog_name="python -m ops")
