import json
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.config import Config

from chalicelib.tokens import Scope, Token, Tokens
from local_cloud import resources
from ops import tokens
from ops.problems import Problem
from ops.stage import Stage
from ops.tokens import StageTokens
from tests import faults
from tests.conftest import ROOT
from tests.ops.conftest import Operator, Screen

FORM = r"ilt_[0-9a-f]{12}_[0-9a-f]{64}"


def good(stage: Stage, session: boto3.Session, text: str) -> Token | None:
    """The token of this text, as the API finds it."""
    return Tokens(session.client("dynamodb"), stage.state_table, lambda: datetime.now(UTC)).find(text)


def rows(printed: str) -> list[list[str]]:
    return [re.split(r"  +", line.strip()) for line in printed.splitlines()]


@pytest.mark.usefixtures("resources")
def test_a_token_is_made_listed_and_revoked(operate: Operator, stage: Stage, session: boto3.Session) -> None:
    where = ("--stage", stage.name)
    made = operate("token", "create", *where, "--name", "the build", "--scope", "upload", "--scope", "read")
    text = made.stdout.strip()
    token = good(stage, session, text)
    listed = operate("token", "list", *where)
    assert token is not None
    revoked = operate("token", "revoke", *where, token.id)
    after = operate("token", "list", *where)

    assert re.fullmatch(FORM, text)
    assert (token.name, token.scopes) == ("the build", (Scope.READ, Scope.UPLOAD))
    assert token.expires_at - token.created_at == timedelta(days=90)
    until = f"{token.expires_at:%Y-%m-%d}"
    assert (
        made.stderr == f"Keep it: it cannot be shown again. It is good for upload and read until {until}.\n"
    )
    heading = ["id", "name", "scopes", "made", "expires", "last used"]
    row = [token.id, "the build", "read, upload", f"{token.created_at:%Y-%m-%d}", until, "never"]
    assert rows(listed.stdout) == [heading, row]
    assert revoked.stdout == f"Revoked {token.id}, the build: within 60 seconds nothing lets it in.\n"
    assert rows(after.stdout) == [heading]
    assert good(stage, session, text) is None


@pytest.mark.usefixtures("resources")
def test_a_token_lives_as_long_as_it_is_told(operate: Operator, stage: Stage, session: boto3.Session) -> None:
    asked = ("--name", "José's phone (2)", "--scope", "read", "--expires-in-days", "1")

    text = operate("token", "create", "--stage", stage.name, *asked).stdout.strip()

    token = good(stage, session, text)
    assert token is not None
    assert (token.name, token.expires_at - token.created_at) == ("José's phone (2)", timedelta(days=1))


@pytest.mark.parametrize(
    ("asked", "why"),
    [
        pytest.param(["--scope", "read"], "Missing option '--name'", id="no name"),
        pytest.param(["--name", "a"], "Missing option '--scope'", id="no scope"),
        pytest.param(["--name", "a", "--scope", "write"], "'write' is not one of", id="unknown scope"),
        pytest.param(["--name", "", "--scope", "read"], "'' is none", id="empty name"),
        pytest.param(["--name", "a\nb", "--scope", "read"], "is none", id="name of two lines"),
        pytest.param(["--name", 61 * "a", "--scope", "read"], "is none", id="long name"),
        pytest.param(
            ["--name", "a", "--scope", "read", "--expires-in-days", "0"], "0 is not in", id="no life"
        ),
        pytest.param(
            ["--name", "a", "--scope", "read", "--expires-in-days", "4000"], "4000 is not in", id="long life"
        ),
    ],
)
@pytest.mark.usefixtures("resources")
def test_what_is_no_token_is_refused(asked: list[str], why: str, operate: Operator, stage: Stage) -> None:
    done = operate("token", "create", "--stage", stage.name, *asked)

    assert (done.exit_code, done.stdout) == (2, "")
    assert why in done.stderr


@pytest.mark.usefixtures("resources")
def test_a_token_that_there_is_not_cannot_be_revoked(operate: Operator, stage: Stage) -> None:
    done = operate("token", "revoke", "--stage", stage.name, "0123456789ab")

    assert done.exit_code == 1
    assert done.stderr == (
        "Error: There is no token 0123456789ab: "
        f"`python -m ops token list --stage {stage.name}` shows those that there are.\n"
    )


@pytest.mark.parametrize("command", [["create", "--name", "a", "--scope", "read"], ["list"], ["revoke", "a"]])
def test_a_stage_that_is_not_there_has_no_tokens(command: list[str], operate: Operator, stage: Stage) -> None:
    done = operate("token", command[0], "--stage", stage.name, *command[1:])

    assert done.exit_code == 1
    assert done.stderr == (
        f"Error: There is no table {stage.state_table} in account 123456789012, region us-east-1: "
        f"it takes `make deploy STAGE={stage.name}`.\n"
    )


def test_the_stage_of_the_laptop_has_tokens_too(operate: Operator, session: boto3.Session) -> None:
    before = operate("token", "list", "--stage", "local")
    resources.create(session, "local", ROOT / ".chalice/resources.yaml")
    text = operate("token", "create", "--stage", "local", "--name", "me", "--scope", "read").stdout.strip()
    listed = rows(operate("token", "list", "--stage", "local").stdout)

    assert "`make run` and its `export`" in before.stderr
    assert [row[:2] for row in listed[1:]] == [[text.split("_")[1], "me"]]


@pytest.mark.usefixtures("resources")
def test_tokens_are_listed_by_age_with_what_is_over_and_when_they_were_used(
    stage: Stage, session: boto3.Session, screen: Screen
) -> None:
    made = datetime(2026, 1, 2, 12, tzinfo=UTC)
    known = Tokens(session.client("dynamodb"), stage.state_table, lambda: made)
    far, over = timedelta(days=36_500), timedelta(days=1)
    later = Tokens(session.client("dynamodb"), stage.state_table, lambda: made + timedelta(hours=1))
    later.create("b", [Scope.READ], far)
    token = known.find(known.create("a", [Scope.ADMIN], over))
    assert token is not None
    known.note_use(token)

    StageTokens(stage.name, known).show(screen)

    assert [re.split(r"  +", line)[1:] for line in screen.lines[1:]] == [
        ["a", "admin", "2026-01-02", "2026-01-03 (over)", "2026-01-02 12:00"],
        ["b", "read", "2026-01-02", "2125-12-09", "never"],
    ]


@pytest.mark.usefixtures("resources")
def test_a_right_that_is_missing_is_told_as_of_any_command(
    operate: Operator, stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    client: Any = boto3.client("dynamodb", config=Config(retries={"total_max_attempts": 1}))
    denied = faults.json_error(400, "AccessDeniedException")
    faults.plan(client.meta.events, "dynamodb.PutItem", denied)
    known = StageTokens(stage.name, Tokens(client, stage.state_table, lambda: datetime.now(UTC)))
    monkeypatch.setattr(tokens, "of_stage", lambda *_: known)

    done = operate("token", "create", "--stage", stage.name, "--name", "a", "--scope", "read")

    assert done.exit_code == 1
    assert done.stderr.startswith("Error: These AWS credentials may not do PutItem: ask for that right")


def test_a_stage_in_another_account_is_refused(stage: Stage, project: Path) -> None:
    document = stage.document()
    variables = {"IMAGES_BUCKET": f"image-labeller-{stage.name}-210987654321-eu-west-1"}
    document["stages"][stage.name] = {"environment_variables": variables}
    stage.config_file.write_text(json.dumps(document))

    with pytest.raises(Problem, match="is in account 210987654321"):
        tokens.of_stage(stage.name, project)
