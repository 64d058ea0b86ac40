"""What tables keep at any width: numbers whole, words whole, and a name for what is left out."""

import io
import itertools
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.console import Console

from autopeft.api.result import SearchResult
from autopeft.cli import output
from autopeft.cli.study import of_the_front
from autopeft.cli.table import layout
from autopeft.report.comparison import Compared, pick_rows, share_rows
from autopeft.report.summary import Summary, column_title
from tests.command import as_options, run
from tests.records import record, repeat, summary

WIDTHS = (60, 80, 100, 120)
PIPE = 2**20
#: Words up to this length are never folded within.
WORD = 32

Rows = list[dict[str, Any]]


def shown(rows: Rows, width: int) -> tuple[list[str], list[str]]:
    """Return the lines of rows as a table, and the titles that are left out."""
    table, left_out = layout(rows, width)
    text = io.StringIO()
    Console(file=text, width=width, soft_wrap=True).print(table)
    return text.getvalue().splitlines(), left_out


def blocks(lines: list[str], n_rows: int) -> Iterator[list[tuple[str, ...]]]:
    """Yield the lines of each cell of the header, then those of each row."""
    yield cells([line for line in lines if line.startswith("┃")], "┃")
    body = [line for line in lines if line[0] in "│├"]
    if n_rows == 1 or any(line.startswith("├") for line in body):
        for ruled, group in itertools.groupby(body, lambda line: line.startswith("├")):
            if not ruled:
                yield cells(list(group), "│")
    else:
        yield from (cells([line], "│") for line in body)


def cells(lines: list[str], edge: str) -> list[tuple[str, ...]]:
    parts = ([part.strip() for part in line.split(edge)[1:-1]] for line in lines)
    return [tuple(part for part in column if part) for column in zip(*parts, strict=True)]


def whole(value: Any) -> str:
    """Return a value as the table is to show it."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "" if value is None else f"{value:,}" if isinstance(value, int) else str(value)


def check(rows: Rows, width: int) -> None:
    """Check that a table fits, and that nothing of its rows is lost or broken."""
    lines, left_out = shown(rows, width)
    assert max(map(cell_len, lines)) <= width
    names = [n for n in rows[0] if any(whole(row[n]) for row in rows)]
    kept = names[: len(names) - len(left_out)]
    assert left_out == [column_title(name) for name in names[len(kept) :]]
    header, *body = blocks(lines, len(rows))
    assert ["".join(part).replace(" ", "") for part in header] == [
        column_title(name).replace(" ", "") for name in kept
    ]
    assert len(body) == len(rows)
    for row, found in zip(rows, body, strict=True):
        for name, pieces in zip(kept, found, strict=True):
            check_cell(row[name], pieces)
    if width == PIPE:
        assert not left_out
        assert len(lines) == len(rows) + 4  # one line a row, header and border


def check_cell(value: Any, pieces: tuple[str, ...]) -> None:
    if isinstance(value, float):
        [piece] = pieces
        assert float(piece.replace(",", "")) == value
        return
    text = whole(value)
    if isinstance(value, int):
        assert pieces == (text,)
    assert "".join("".join(pieces).split()) == "".join(text.split())
    words = {word for piece in pieces for word in piece.split()}
    assert {word for word in text.split() if cell_len(word) <= WORD} <= words


def of_a_study() -> Summary:
    trials = [
        record(0, [0.5, 0.6], 200, method="ia3"),
        record(1, [0.5, 0.7125], 2_000),
        record(2, [0.5, 0.695], 123_456),
        record(3, [0.5, 0.72], 9_000, method="parallel_adapter"),
    ]
    return summary([*trials, repeat(trials[1], 4, 0.69)])


def compared(*labels: str) -> list[Compared]:
    return [Compared(label=name, summary=of_a_study(), fingerprint="") for name in labels]


TWO = compared("sst2-minilm-20260101-120000", "rte-minilm-20260101-120000")
RECORDED: dict[str, Rows] = {
    "the front": of_the_front(of_a_study().rows(of_a_study().front)),
    "all trials": of_a_study().rows(of_a_study().records),
    "picks": pick_rows(TWO),
    "shares": share_rows(TWO),
    "brackets": share_rows(compared("[bold]", "a[/]")),
    "shares of many": share_rows(compared(*(f"studies/sst2-minilm-{i}" for i in range(9)))),
}


@pytest.mark.parametrize("width", [*WIDTHS, PIPE])
@pytest.mark.parametrize("name", RECORDED)
def test_of_recorded_trials(name: str, width: int) -> None:
    check(RECORDED[name], width)


COMMANDS = ("search", "pareto", "compare", "plan", "recommend", "analyze", "estimate", "space")
COMMANDS += ("methods", "methods of a model", "costs of a space", "doctor")


def arguments(name: str, study: Path, settings: dict[str, Any], folder: Path) -> list[object]:
    """Return a command that prints a table."""
    options, model = as_options(settings), settings["model"]
    configuration = folder / "c.yaml"
    configuration.write_text(yaml.safe_dump({"method": "lora", "rank": 4}))
    asked = ["--model", model, "--task", "sst2", "--budget", "8%"]
    named: dict[str, list[object]] = {
        "search": ["search", "--resume", "--study", study],
        "pareto": ["pareto", study, "--all"],
        "compare": ["compare", study, folder / "studies" / "other"],
        "plan": ["plan", *options],
        "recommend": ["recommend", *asked],
        "analyze": ["analyze", study],
        "estimate": ["estimate", "--model", model, "--config", configuration],
        "space": ["space", "show", "lora", "--model", model],
        "methods": ["methods"],
        "methods of a model": ["methods", "--model", model],
        "costs of a space": ["estimate", "--space", "lora", "--model", model, "--points", 2],
        "doctor": ["doctor"],
    }
    return named[name]


@pytest.mark.parametrize("name", COMMANDS)
def test_of_every_command(
    name: str,
    tmp_path: Path,
    tiny_settings: dict[str, Any],
    study_copies: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The rows that a command prints lose nothing at any width, whatever the test's own is."""
    printed: list[Rows] = []

    def seen(rows: Rows, width: int) -> Any:
        printed.append(rows)
        return layout(rows, width)

    monkeypatch.setattr(output, "layout", seen)
    outcome = run(capsys, *arguments(name, study_copies, tiny_settings, tmp_path))
    assert outcome.code == 0, outcome.err
    assert printed
    for rows, width in itertools.product(printed, [*WIDTHS, PIPE]):
        check(rows, width)
    assert "…" not in outcome.out


@pytest.fixture
def study_copies(tiny_study: SearchResult, tmp_path: Path) -> Path:
    """A study that may be written to, with another one beside it."""
    for name in ("one", "other"):
        shutil.copytree(tiny_study.folder.path, tmp_path / "studies" / name)
    return tmp_path / "studies" / "one"


WORDS = st.text("abcxyz=,.-_0123456789", min_size=1, max_size=60)
TEXTS = st.lists(WORDS, max_size=8).map(" ".join)
NUMBERS = st.integers(0, 10**40) | st.floats(0, 1e6).map(lambda x: round(x, 4)) | st.none()


@given(st.data(), st.integers(60, 200))
def test_of_anything(data: st.DataObject, width: int) -> None:
    kinds = data.draw(st.lists(st.sampled_from([TEXTS, NUMBERS, st.booleans()]), max_size=9))
    columns = {"trial": st.integers(0, 99)} | {f"column_{i}": kind for i, kind in enumerate(kinds)}
    rows = data.draw(st.lists(st.fixed_dictionaries(columns), min_size=1, max_size=4))
    check(rows, width)
    check(rows, PIPE)


def test_fractions_stand_beneath_each_other() -> None:
    rows = [{"x": 0.5, "y": 0.001}, {"x": 0.4375, "y": 3e-05}, {"x": None, "y": 12.0}]
    assert [line.split("│")[1:3] for line in shown(rows, 80)[0][3:-1]] == [
        [" 0.5000 ", " 0.001 "],
        [" 0.4375 ", " 3e-05 "],
        ["        ", "  12.0 "],
    ]


def test_a_terminal_is_told_what_it_has_no_room_for(
    tiny_study: SearchResult, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tiny_study.folder.path
    pipe = run(capsys, "pareto", folder)
    assert "Left out" not in pipe.out
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("LINES", "25")
    monkeypatch.setenv("TERM", "dumb")  # no colours
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    terminal = run(capsys, "pareto", folder)
    table = [line for line in terminal.out.splitlines() if line[0] in "┏┃┡│├└"]
    assert max(map(len, table)) <= 80 < max(map(len, pipe.out.splitlines()))
    [words] = [line for line in terminal.out.splitlines() if line.startswith("Left out")]
    assert "peak memory MiB" in words
    assert words.endswith("; --format json has all.")
