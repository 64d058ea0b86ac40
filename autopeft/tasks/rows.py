"""Rows from files: JSON lines, CSV, TSV and Parquet, with the mistakes named by file and line."""

import csv
import json
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from autopeft.errors import DataError

Row = dict[str, Any]
SUFFIXES = (".jsonl", ".json", ".csv", ".tsv", ".parquet")
#: Most characters of a CSV field. Python's own limit, 131,072, is less than some documents have.
_LONGEST_FIELD = 2**31 - 1


def read_rows(path: Path) -> list[Row]:
    """Read all rows of a file.

    Args:
        path: `.jsonl` (or `.json` with one object a line), `.csv`, `.tsv` or `.parquet`.

    Raises:
        DataError: If the file is missing, empty or malformed.
    """
    if not path.is_file():
        raise DataError(f"There is no data file '{path}'.")
    readers = {".jsonl": _json_lines, ".json": _json_lines, ".csv": _csv, ".tsv": _csv}
    suffix = path.suffix.lower()
    if suffix == ".parquet":
        rows = _parquet(path)
    elif suffix in readers:
        try:
            rows = readers[suffix](path)
        except UnicodeDecodeError as error:
            raise DataError(f"{path.name} is not UTF-8 text.") from error
    else:
        raise DataError(f"Cannot read '{path.name}': use {', '.join(SUFFIXES)}.")
    if not rows:
        raise DataError(f"{path.name} holds no rows.")
    return rows


def find_split(folder: Path, names: Sequence[str]) -> Path | None:
    """Return the file of a split in a folder: the first of `names` with a known suffix.

    Raises:
        DataError: If there are several files of that name.
    """
    for name in names:
        files = (path for path in folder.iterdir() if path.stem == name and path.is_file())
        found = sorted(path for path in files if path.suffix.lower() in SUFFIXES)
        if len(found) > 1:
            several = " and ".join(path.name for path in found)
            raise DataError(f"The folder '{folder}' holds {several}: keep one of them.")
        if found:
            return found[0]
    return None


def _json_lines(path: Path) -> list[Row]:
    rows: list[Row] = []
    as_row = partial(_object, path=path)
    with path.open(encoding="utf-8-sig") as file:  # with or without a byte order mark
        for number, line in enumerate(file, start=1):
            if not line.strip():
                continue
            try:
                row = json.loads(line, object_pairs_hook=as_row)
            except json.JSONDecodeError as error:
                raise DataError(
                    f"{path.name}, line {number}: not valid JSON: {error.msg}; every line must "
                    "hold an object of its own."
                ) from error
            except (ValueError, RecursionError) as error:
                raise DataError(
                    f"{path.name}, line {number}: a number is too long, or lists lie too deep in "
                    "each other."
                ) from error
            if not isinstance(row, dict):
                raise DataError(
                    f"{path.name}, line {number}: expected an object with columns, one a line."
                )
            rows.append(row)
    return rows


def _object(pairs: Sequence[tuple[str, Any]], path: Path) -> Row:
    """Return an object of JSON, of whose keys `json` would take the last without a word."""
    row = dict(pairs)
    if len(row) < len(pairs):
        _distinct([name for name, _ in pairs], path)
    return row


def _csv(path: Path) -> list[Row]:
    csv.field_size_limit(_LONGEST_FIELD)
    rows: list[Row] = []
    with path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.DictReader(file, delimiter="\t" if path.suffix.lower() == ".tsv" else ",")
        try:
            columns = _distinct(reader.fieldnames or (), path)
            for row in reader:
                if None in row or None in row.values():
                    raise DataError(
                        f"{path.name}, line {reader.line_num}: expected {len(columns)} fields."
                    )
                rows.append(row)
        except csv.Error as error:
            raise DataError(f"{path.name}, line {reader.line_num}: {error}.") from error
    return rows


def _parquet(path: Path) -> list[Row]:
    # Not by `datasets`, which takes a file without rows for a broken one.
    import pyarrow as pa
    from pyarrow import parquet

    try:
        with parquet.ParquetFile(path) as file:
            table = file.read()
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"{path.name} is not a readable Parquet file.") from error
    _distinct(table.column_names, path)
    rows: list[Row] = table.to_pylist()
    return rows


def _distinct(columns: Sequence[str], path: Path) -> Sequence[str]:
    """Return the columns, each of which has a name of its own, unless it has none."""
    named = [column for column in columns if column]
    twice = next((column for column in named if named.count(column) > 1), None)
    if twice is not None:
        raise DataError(f"{path.name}: two columns are named '{twice}': rename one of them.")
    return columns
