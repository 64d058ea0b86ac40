"""Rows from files: JSON lines, CSV, TSV and Parquet, with the mistakes named by file and line."""

import csv
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from autopeft.errors import DataError

Row = dict[str, Any]
SUFFIXES = (".jsonl", ".json", ".csv", ".tsv", ".parquet")


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
    if path.suffix == ".parquet":
        rows = _parquet(path)
    elif path.suffix in readers:
        try:
            rows = readers[path.suffix](path)
        except UnicodeDecodeError as error:
            raise DataError(f"{path.name} is not UTF-8 text.") from error
    else:
        raise DataError(f"Cannot read '{path.name}': use {', '.join(SUFFIXES)}.")
    if not rows:
        raise DataError(f"{path.name} holds no rows.")
    return rows


def find_split(folder: Path, names: Sequence[str]) -> Path | None:
    """Return the file of a split in a folder: the first of `names` with a known suffix."""
    for name in names:
        for suffix in SUFFIXES:
            path = folder / f"{name}{suffix}"
            if path.is_file():
                return path
    return None


def _json_lines(path: Path) -> list[Row]:
    rows: list[Row] = []
    with path.open(encoding="utf-8") as file:
        for number, line in enumerate(file, start=1):
            if not line.strip():
                continue
            try:
                row = json.loads(line)
            except json.JSONDecodeError as error:
                raise DataError(
                    f"{path.name}, line {number}: not valid JSON: {error.msg}."
                ) from error
            if not isinstance(row, dict):
                raise DataError(f"{path.name}, line {number}: expected an object with columns.")
            rows.append(row)
    return rows


def _csv(path: Path) -> list[Row]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.DictReader(file, delimiter="\t" if path.suffix == ".tsv" else ",")
        rows: list[Row] = []
        for row in reader:
            if None in row or None in row.values():
                raise DataError(
                    f"{path.name}, line {reader.line_num}: expected "
                    f"{len(reader.fieldnames or [])} fields."
                )
            rows.append(row)
    return rows


def _parquet(path: Path) -> list[Row]:
    from datasets import Dataset

    try:
        return list(Dataset.from_parquet(str(path), keep_in_memory=True))
    except Exception as error:
        raise DataError(f"{path.name} is not a readable Parquet file.") from error
