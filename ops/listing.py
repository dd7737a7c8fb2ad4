"""Rows in columns, of which a narrow terminal folds what is long, and cuts nothing off."""

from collections.abc import Iterable, Sequence

from rich.table import Table


def listing(*columns: str, rows: Iterable[Sequence[str]]) -> Table:
    table = Table(box=None, pad_edge=False, show_header=any(columns))
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*row)
    return table
