from pathlib import Path

import pytest

from autopeft.errors import DataError
from autopeft.tasks.rows import find_split, read_rows


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
        ("a.json", '[{"text": "a"}]', r"a\.json, line 1: expected an object .* one a line"),
        ("a.json", '[\n{"text": "a"}]', r"a\.json, line 1: .* every line must hold an object"),
        ("a.csv", "text,label,text\na,b,c\n", r"a\.csv: two columns are named 'text'"),
        ("a.jsonl", '{"text": "a", "text": "b"}', r"a\.jsonl: two columns are named 'text'"),
        ("a.jsonl", '{"text": ' + "1" * 5000 + "}", r"a\.jsonl, line 1: a number is too long"),
        ("a.jsonl", "{}\n" + "[" * 100_000, r"a\.jsonl, line 2: .* lists lie too deep"),
        ("a.jsonl", "\n", r"a\.jsonl holds no rows"),
        ("a.jsonl", b"\xff\xfe", r"a\.jsonl is not UTF-8"),
        ("a.csv", "text,label\na,b,c\n", r"a\.csv, line 2: expected 2 fields"),
        ("a.csv", "text,label\na\n", r"a\.csv, line 2: expected 2 fields"),
        ("a.csv", "text,label\n", r"a\.csv holds no rows"),
        ("a.parquet", "no parquet", r"a\.parquet is not a readable Parquet file"),
        ("a.txt", "x", r"Cannot read 'a\.txt'"),
        ("a.csv.gz", "x", r"Cannot read 'a\.csv\.gz'"),
    ],
)
def test_mistakes_name_file_and_line(
    tmp_path: Path, name: str, content: str | bytes, message: str
) -> None:
    with pytest.raises(DataError, match=message):
        read_rows(write(tmp_path / name, content))


ODD: dict[str, tuple[str, str]] = {
    "byte order mark": ("a.jsonl", '\ufeff{"text": "a", "label": "x"}\n'),
    "byte order mark of a table": ("a.csv", "\ufefftext,label\na,x\n"),
    "lines that end as on Windows": ("a.csv", "text,label\r\na,x\r\n"),
    "objects on such lines": ("a.jsonl", '{"text": "a", "label": "x"}\r\n\r\n'),
    "lines that end as on an old Mac": ("a.csv", "text,label\ra,x\r"),
    "capitals in the ending": ("a.CSV", "text,label\na,x\n"),
    "capitals in another ending": ("a.TSV", "text\tlabel\na\tx\n"),
    "quotes": ("a.csv", '"text","label"\n"a","x"\n'),
}


@pytest.mark.parametrize("name", ODD)
def test_odd_files_are_read(tmp_path: Path, name: str) -> None:
    file, content = ODD[name]
    assert read_rows(write(tmp_path / file, content)) == [{"text": "a", "label": "x"}]


def test_columns_without_a_name_and_long_fields_are_read(tmp_path: Path) -> None:
    long = "word " * 40_000
    [row] = read_rows(write(tmp_path / "a.csv", f"text,,\n{long},1,2\n"))
    assert row["text"] == long


def test_parquet_files_without_rows_or_with_a_name_twice(tmp_path: Path) -> None:
    import pyarrow as pa
    from pyarrow import parquet

    empty, twice = tmp_path / "empty.parquet", tmp_path / "twice.parquet"
    parquet.write_table(pa.table({"text": pa.array([], pa.string())}), empty)
    parquet.write_table(pa.Table.from_arrays([pa.array(["a"])] * 2, names=["a", "a"]), twice)
    with pytest.raises(DataError, match=r"empty\.parquet holds no rows"):
        read_rows(empty)
    with pytest.raises(DataError, match="two columns are named 'a'"):
        read_rows(twice)


def test_two_files_of_one_split(tmp_path: Path) -> None:
    write(tmp_path / "train.csv", "text\n")
    write(tmp_path / "validation.TSV", "text\n")
    assert find_split(tmp_path, ("train",)) == tmp_path / "train.csv"
    assert find_split(tmp_path, ("valid", "validation")) == tmp_path / "validation.TSV"
    write(tmp_path / "train.jsonl", "{}")
    with pytest.raises(DataError, match=r"holds train\.csv and train\.jsonl: keep one"):
        find_split(tmp_path, ("train",))


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="There is no data file"):
        read_rows(tmp_path / "missing.jsonl")
