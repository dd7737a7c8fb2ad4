"""Commands of the operator's, as texts spell them for somebody to type."""

import shlex
from copy import copy

import click

from ops.__main__ import commands


def refusal(line: str) -> str | None:
    """What is said to these words behind `python -m ops`, if they are no whole command; none is run."""
    try:
        command, words = _found(line)
        command.make_context(command.name, words)
    except click.UsageError as error:
        return error.format_message()
    return None


def _found(line: str) -> tuple[click.Command, list[str]]:
    """The command, one that looks for no stage, and the words that are for it."""
    command, words = _of(commands, shlex.split(line))
    if isinstance(command, click.Group):
        command, words = _of(command, words)
    blind = copy(command)
    blind.params = [_without_callback(each) for each in command.params]
    return blind, words


def _of(group: click.Group, words: list[str]) -> tuple[click.Command, list[str]]:
    _, command, rest = group.resolve_command(click.Context(group), words)
    assert command is not None
    return command, rest


def _without_callback(parameter: click.Parameter) -> click.Parameter:
    same = copy(parameter)
    same.callback = None
    return same
