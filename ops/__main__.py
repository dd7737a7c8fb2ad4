"""The operator's commands."""

import click


@click.group()
def commands() -> None:
    """What `chalice deploy` does not do for a stage of the image labeller."""


if __name__ == "__main__":
    commands(prog_name="python -m ops")
