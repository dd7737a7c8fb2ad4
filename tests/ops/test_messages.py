"""What the operator is told to type can be typed."""

import ast
import re
import subprocess
from collections.abc import Iterator

import pytest

from tests.conftest import ROOT
from tests.operator_commands import refusal


def strings(node: ast.AST) -> Iterator[str]:
    """All but docstrings, with a word where something is filled in."""
    for each in ast.iter_child_nodes(node):
        if isinstance(each, ast.JoinedStr):
            yield "".join(
                str(part.value) if isinstance(part, ast.Constant) else "dev" for part in each.values
            )
        elif isinstance(each, ast.Constant) and isinstance(each.value, str):
            yield each.value
        elif not isinstance(each, ast.Expr) or not isinstance(each.value, ast.Constant):
            yield from strings(each)


MESSAGES = "\n".join(
    text for path in (ROOT / "ops").glob("*.py") for text in strings(ast.parse(path.read_text()))
)


def named(program: str) -> list[str]:
    """What stands in backticks behind the program's name."""
    return sorted(set(re.findall(rf"`{program} ([^`\n]+)`", MESSAGES)))


@pytest.mark.parametrize("line", named("python -m ops"))
def test_a_command_that_a_message_names_is_whole(line: str) -> None:
    assert refusal(line) is None


@pytest.mark.parametrize("line", named("make"))
def test_a_target_that_a_message_names_has_what_it_needs(line: str) -> None:
    subprocess.run(["make", "--dry-run", *line.split()], cwd=ROOT, check=True, capture_output=True)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("token list", "Missing option '--stage'."),
        ("token lists --stage dev", "No such command 'lists'."),
        ("forget --stage dev", "No such command 'forget'."),
        ("finish --stage dev --all", "No such option '--all'."),
        ("token revoke --stage dev", "Missing argument 'ID'."),
        ("status --stage dev today", "Got unexpected extra argument (today)"),
    ],
)
def test_what_cannot_be_typed_is_noticed(line: str, said: str) -> None:
    assert str(refusal(line)).startswith(said)
