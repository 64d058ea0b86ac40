"""Printing: tables for people, JSON and CSV for machines."""

import json
import sys
from collections.abc import Iterable, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from autopeft.report.summary import column_title, to_csv

#: Columns without room wrap in a terminal; a file or a pipe gets one line a row.
_PLAIN_WIDTH = 220


def console(*, stderr: bool = False) -> Console:
    """Return a console that is plain and wide when nobody looks at it."""
    stream = sys.stderr if stderr else sys.stdout
    return Console(stderr=stderr, width=None if stream.isatty() else _PLAIN_WIDTH, soft_wrap=True)


def print_rows(
    rows: Sequence[dict[str, Any]], how: str, *, title: str = "", data: Any = None
) -> None:
    """Print rows.

    Args:
        rows: The rows, alike in keys.
        how: `table`, `json` or `csv`.
        title: Title of the table.
        data: What JSON shows instead of the rows, if it says more.
    """
    if how == "json":
        print_json(rows if data is None else data)
    elif how == "csv":
        print(to_csv(rows), end="")
    else:
        console().print(as_table(rows, title))


def print_json(data: Any) -> None:
    """Print data as JSON."""
    print(json.dumps(data, indent=2, ensure_ascii=False, default=str))


def print_notes(notes: Iterable[str]) -> None:
    """Print what the user should know beside the rows, apart from what a machine reads."""
    for note in notes:
        console(stderr=True).print(note, highlight=False, markup=False)


def head_text(head_params: int) -> str:
    """Return how many parameters a new task head has, if the task gives the model one."""
    return f"head {head_params:,}" if head_params else "the head that it has"


def as_table(rows: Sequence[dict[str, Any]], title: str = "") -> Table:
    """Return rows as a table; columns that are empty in all rows are left out."""
    table = Table(title=title or None, title_justify="left", header_style="bold")
    names = [
        n
        for n in (rows[0] if rows else ())
        if any(row[n] is not None and row[n] != "" for row in rows)
    ]
    for name in names:
        numeric = all(isinstance(row[name], int | float) for row in rows)
        table.add_column(column_title(name), justify="right" if numeric else "left")
    for row in rows:
        # Text, not markup: values may hold brackets.
        table.add_row(*(Text(_cell(row[name])) for name in names))
    return table


def _cell(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    return "" if value is None else str(value)
