from pathlib import Path

import pytest

from autopeft.errors import DataError
from autopeft.tasks.rows import read_rows


def write(path: Path, text: str | bytes) -> Path:
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def test_formats_agree(tmp_path: Path) -> None:
    from datasets import Dataset

    rows = [{"text": "a, b", "label": "x"}, {"text": "ü", "label": "y"}]
    jsonl = write(
        tmp_path / "a.jsonl", '{"text": "a, b", "label": "x"}\n\n{"text": "ü", "label": "y"}'
    )
    table = write(tmp_path / "a.csv", 'text,label\n"a, b",x\nü,y\n')
    tabs = write(tmp_path / "a.tsv", "text\tlabel\na, b\tx\nü\ty\n")
    Dataset.from_list(rows).to_parquet(str(tmp_path / "a.parquet"))
    for path in (jsonl, table, tabs, tmp_path / "a.parquet"):
        assert read_rows(path) == rows, path


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.jsonl", '{"text": 1}\n{"text": \n', r"a\.jsonl, line 2: not valid JSON"),
        ("a.jsonl", "[1, 2]\n", r"a\.jsonl, line 1: expected an object"),
        ("a.jsonl", "\n", r"a\.jsonl holds no rows"),
        ("a.jsonl", b"\xff\xfe", r"a\.jsonl is not UTF-8"),
        ("a.csv", "text,label\na,b,c\n", r"a\.csv, line 2: expected 2 fields"),
        ("a.csv", "text,label\na\n", r"a\.csv, line 2: expected 2 fields"),
        ("a.csv", "text,label\n", r"a\.csv holds no rows"),
        ("a.parquet", "no parquet", r"a\.parquet is not a readable Parquet file"),
        ("a.txt", "x", r"Cannot read 'a\.txt'"),
    ],
)
def test_mistakes_name_file_and_line(
    tmp_path: Path, name: str, content: str | bytes, message: str
) -> None:
    with pytest.raises(DataError, match=message):
        read_rows(write(tmp_path / name, content))


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="There is no data file"):
        read_rows(tmp_path / "missing.jsonl")
