"""`python -m ops token`: who may use the API of a stage, and for what."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import click
from rich.console import Console

from chalicelib.auth import TTL_SECONDS
from chalicelib.settings import LOCAL
from chalicelib.tokens import Scope, Token, Tokens
from ops.account import Account
from ops.inventory import unless_absent
from ops.listing import listing
from ops.problems import Problem
from ops.stage import Stage, state_table

REMARK = "Keep it: it cannot be shown again. It is good for {scopes} until {until}."


@dataclass(frozen=True)
class StageTokens:
    stage: str  # its name: the laptop's has tokens too
    tokens: Tokens

    def create(self, console: Console, name: str, scopes: Iterable[Scope], days: int) -> None:
        """Prints the token, and nothing else to where a shell takes it from."""
        life = timedelta(days=days)
        console.print(self.tokens.create(name, scopes, life))
        until = _day(datetime.now(UTC) + life)
        click.echo(REMARK.format(scopes=" and ".join(scopes), until=until), err=True)

    def show(self, console: Console) -> None:
        found = sorted(self.tokens.all(), key=lambda token: token.created_at)
        headings = ("id", "name", "scopes", "made", "expires", "last used")
        console.print(listing(*headings, rows=map(_row, found)))

    def revoke(self, console: Console, token_id: str) -> None:
        token = self.tokens.revoke(token_id)
        if token is None:
            raise Problem(
                f"There is no token {token_id}: "
                f"`python -m ops token list --stage {self.stage}` shows those that there are."
            )
        console.print(f"Revoked {token.id}, {token.name}: within {TTL_SECONDS} seconds nothing lets it in.")


def of_stage(name: str, project: Path) -> StageTokens:
    """Also of the laptop's, whose table `make run` makes; raises Problem where there is none."""
    account = Account()
    client, table = account.client("dynamodb"), _table(name, project, account)
    if unless_absent(client.describe_table, TableName=table) is None:
        way = "`make run` and its `export`" if name == LOCAL else f"`make deploy STAGE={name}`"
        raise Problem(f"There is no table {table} in {account}: it takes {way}.")
    return StageTokens(name, Tokens(client, table, lambda: datetime.now(UTC)))


def _table(name: str, project: Path, account: Account) -> str:
    if name != LOCAL:
        Stage(name, project).check_home(account)
    return state_table(name)


def _row(token: Token) -> tuple[str, ...]:
    is_over = token.expires_at <= datetime.now(UTC)
    return (
        token.id,
        token.name,
        ", ".join(token.scopes),
        _day(token.created_at),
        _day(token.expires_at) + (" (over)" if is_over else ""),
        f"{token.used_at:%Y-%m-%d %H:%M}" if token.used_at else "never",
    )


def _day(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d}"
