"""Printing: tables for people, JSON and CSV for machines."""

import json
import sys
from collections.abc import Iterable, Sequence
from typing import Any

from rich.console import Console

from autopeft.cli.table import layout
from autopeft.report.summary import to_csv

#: A file or a pipe is as wide as what is written to it.
_NO_LIMIT = 2**20


def console(*, stderr: bool = False) -> Console:
    """Return a console that is plain and folds nothing when nobody looks at it."""
    stream = sys.stderr if stderr else sys.stdout
    return Console(stderr=stderr, width=None if stream.isatty() else _NO_LIMIT, soft_wrap=True)


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
        print_table(rows, title)


def print_table(
    rows: Sequence[dict[str, Any]], title: str, everything: str = "--format json"
) -> None:
    """Print rows as a table, and under it which columns the terminal has no room for.

    Args:
        rows: The rows, alike in keys.
        title: Title of the table.
        everything: What shows these columns.
    """
    out = console()
    table, left_out = layout(rows, out.width)
    if title:
        out.print(title, style="italic", highlight=False, markup=False)
    out.print(table)
    if left_out:
        words = f"Left out at this width: {', '.join(left_out)}; {everything} has all."
        out.print(words, highlight=False, markup=False)


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
