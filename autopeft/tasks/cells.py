"""What a cell of a table holds: a text, a label, or nothing."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from autopeft.errors import DataError
from autopeft.tasks.rows import Row
from autopeft.tasks.task import TaskSpec


def check_columns(task: TaskSpec, rows: Sequence[Row], origin: str) -> None:
    """Check that the columns of a task are there, with a value in each row.

    Args:
        task: The task.
        rows: At least one row.
        origin: Where they come from, for messages.

    Raises:
        DataError: If a column is missing, or a cell holds nothing, several values or a text that
            is no Unicode.
    """
    for column in (*task.text_columns, task.label_column):
        if all(column not in row for row in rows):
            names = ", ".join(f"'{name}'" for name in rows[0])
            raise DataError(
                f"{origin}: the column '{column}' is missing; the columns are {names}: name yours "
                "with --text-column and --label-column or --completion-column."
            )
        is_label = column == task.label_column
        for number, row in enumerate(rows, start=1):
            value = row.get(column)
            if _is_nothing(value, task, is_label=is_label):
                raise DataError(f"{origin}: the column '{column}' has no value in row {number}.")
            if isinstance(value, list | dict | bytes):
                what = "a class, a number or a text" if is_label else "a text"
                held = type(value).__name__
                raise DataError(
                    f"{origin}: the column '{column}' holds a {held} in row {number}, and must "
                    f"hold {what}."
                )
            if isinstance(value, str) and _is_broken(value):
                raise DataError(
                    f"{origin}: the column '{column}' holds half of a character, a lone surrogate, "
                    f"in row {number}."
                )


def label_number(task: TaskSpec, value: Any, numbers: dict[str, int], place: str) -> float:
    """Return a label as what a model learns: the number of its class, or the number itself.

    Args:
        task: A classification or a regression.
        value: The cell.
        numbers: Numbers of the classes by name.
        place: File and row, for messages.

    Raises:
        DataError: If it is no class of the task, or no finite number.
    """
    if task.kind == "regression":
        try:
            number = float(value)
        except (TypeError, ValueError) as error:
            raise DataError(f"{place}: the label {value!r} is not a number.") from error
        if not np.isfinite(number):
            raise DataError(f"{place}: the label {value!r} is not a finite number.")
        return number
    text = label_text(value)
    if text in numbers:
        return float(numbers[text])
    # A file may hold class numbers where the task has names (GLUE's Hub data does).
    if text.isdecimal() and int(text) < len(numbers):
        return float(int(text))
    raise DataError(f"{place}: unknown label {value!r}; the labels are {', '.join(numbers)}.")


def label_text(value: Any) -> str:
    """Return the name of a class; 1, 1.0 and "1" are the same one."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return str(value).strip()


def _is_broken(text: str) -> bool:
    """Tell whether a text holds what UTF-8 cannot, as escapes in JSON may."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return True
    return False


def _is_nothing(value: Any, task: TaskSpec, *, is_label: bool) -> bool:
    """Tell whether a cell is what tables hold where there is nothing."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return True
    if not is_label or not isinstance(value, str):
        return False  # a text may be empty, a label may not
    # Tables of numbers are written with `nan` in their gaps; a text to write may say so.
    gaps = {"", "nan"} if task.kind == "classification" else {""}
    return value.strip().lower() in gaps
