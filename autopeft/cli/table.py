"""Tables that lose nothing without saying so, at any width.

In a pipe or a file every row is one line, however long. In a terminal numbers stay whole and texts
are folded between words. Where that does not suffice, columns are left out from the last on, and
named under the table: rows stay beneath each other to be compared, which they would not as a block
of lines each. Columns therefore stand in the order of their importance.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from rich.cells import cell_len
from rich.table import Table
from rich.text import Text

from autopeft.report.summary import column_title

#: Longer words of texts and titles, such as paths, may be folded within, so that one of them does
#: not push out all other columns.
_LONGEST_WORD, _LONGEST_TITLE_WORD = 32, 12
#: A long text is left as wide as a longest word, rather than folded into more lines than this.
_MOST_LINES = 6
#: Qualities are rounded to so many places.
_MOST_PLACES = 4
#: Lines and spaces between cells.
_BORDER, _BORDER_OF_COLUMN = 1, 3


@dataclass(frozen=True, slots=True, kw_only=True)
class _Column:
    """A column before it has a width.

    Attributes:
        name: Its key in the rows.
        cells: What is shown, by row.
        numeric: Whether it holds numbers.
        most: Width at which nothing is folded.
        least: Smallest width at which no number is folded, and no word that can be kept whole.
    """

    name: str
    cells: tuple[str, ...]
    numeric: bool
    most: int
    least: int


def layout(rows: Sequence[dict[str, Any]], width: int) -> tuple[Table, list[str]]:
    """Return rows as a table, and the titles of the columns that have no room in it.

    Columns that are empty in all rows are not part of it.

    Args:
        rows: The rows, alike in keys.
        width: How wide a line may be.
    """
    columns = [_column(name, [row[name] for row in rows]) for name in (rows[0] if rows else ())]
    columns = [column for column in columns if any(column.cells)]
    n_shown = len(columns)
    while n_shown > 1 and _total([c.least for c in columns[:n_shown]]) > width:
        n_shown -= 1
    shown = columns[:n_shown]
    return _table(shown, _widths(shown, width)), [column_title(c.name) for c in columns[n_shown:]]


def _column(name: str, values: Sequence[Any]) -> _Column:
    cells = tuple(_cells(values))
    present = [value for value in values if value is not None]
    numeric = all(isinstance(v, int | float) and not isinstance(v, bool) for v in present)
    title = column_title(name)
    longest = max(map(cell_len, cells), default=0)
    text = min(max(_longest_word(cells), longest // _MOST_LINES), _LONGEST_WORD)
    return _Column(
        name=name,
        cells=cells,
        numeric=numeric,
        most=max(longest, cell_len(title)),
        least=max(longest if numeric else text, min(_longest_word([title]), _LONGEST_TITLE_WORD)),
    )


def _cells(values: Sequence[Any]) -> Iterable[str]:
    """Return values as text; fractions that few places show in full have as many as each other."""
    places = [len(str(v).partition(".")[2]) for v in values if isinstance(v, float)]
    fractions = all(v is None or (isinstance(v, float) and "e" not in str(v)) for v in values)
    if not fractions or max(places, default=0) > _MOST_PLACES:
        return map(_cell, values)
    return ("" if v is None else f"{v:,.{max(places)}f}" for v in values)


def _cell(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    return "" if value is None else " ".join(str(value).split())  # a row is one line


def _longest_word(texts: Sequence[str]) -> int:
    return max((cell_len(word) for text in texts for word in text.split()), default=0)


def _widths(columns: Sequence[_Column], width: int) -> list[int]:
    """Return the widths of columns that fit: the widest that can are folded first."""
    widths = [column.most for column in columns]
    while _total(widths) > width:
        foldable = [i for i, column in enumerate(columns) if widths[i] > column.least]
        if not foldable:
            break
        widths[max(foldable, key=lambda i: widths[i])] -= 1
    return widths


def _total(widths: Sequence[int]) -> int:
    return sum(widths) + _BORDER_OF_COLUMN * len(widths) + _BORDER


def _table(columns: Sequence[_Column], widths: Sequence[int]) -> Table:
    sized = list(zip(columns, widths, strict=True))
    folded = any(cell_len(cell) > width for column, width in sized for cell in column.cells)
    table = Table(header_style="bold", show_lines=folded)  # or one row would run into the next
    for column, width in sized:
        table.add_column(
            Text(column_title(column.name)),  # not markup: names and values may hold brackets
            justify="right" if column.numeric else "left",
            width=width,
            overflow="fold",
        )
    for cells in zip(*(column.cells for column in columns), strict=True):
        table.add_row(*map(Text, cells))
    return table
