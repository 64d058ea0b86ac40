"""`autopeft estimate --space`: the plot, the tables, the figure."""

import csv
import io
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autopeft.api import space_costs
from autopeft.cli.histogram import log_histogram
from autopeft.cli.space_costs import short
from tests.command import run
from tests.tiny import save_tiny

NUMBERS = st.lists(st.integers(0, 10**13), min_size=1, max_size=30)


@pytest.fixture(autouse=True)
def _fewer_points(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(space_costs, "SAMPLE", 16)


def test_plot_and_tables_or_plain_data(
    tiny_model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["estimate", "--model", tiny_model, "--space", "default", "--points", 1]
    table = run(capsys, *command, "--gpu-memory", "1TiB")
    assert table.code == 0, table.err
    assert "Within 1,048,576 MiB: 1 of 1 point.\n" in table.out
    for text in ("of 16 points", "lora", "all", "|100", "Peak memory (MiB) of 1 point,"):
        assert text in table.out
    data = json.loads(run(capsys, *command, "--format", "json").out)
    assert len(data["points"]) == 16
    rows = list(csv.DictReader(io.StringIO(run(capsys, *command, "--format", "csv").out)))
    assert [row["median"] for row in rows] == [str(costs["median"]) for costs in data["costs"]]


def test_of_a_model_that_writes_text(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = save_tiny("t5", tmp_path / "t5", "language_modeling")
    command = ["estimate", "--model", model, "--space", "lora", "--points", 1, "--format", "json"]
    outcome = run(capsys, *command, "--language-modeling")
    assert outcome.code == 0, outcome.err
    written, classified = json.loads(outcome.out), json.loads(run(capsys, *command).out)
    assert (written["head_params"], classified["head_params"] > 0) == (0, True)
    # Here the decoder's head is of the base, there it is left out: both read and write as much.
    assert written["points"][0]["flops_per_step"] > classified["points"][0]["flops_per_step"]


@pytest.mark.parametrize(("name", "start"), [("f.html", b"<!doctype html>"), ("f.png", b"\x89PNG")])
def test_the_figure_is_written(
    name: str, start: bytes, tiny_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["estimate", "--model", tiny_model, "--space", "lora", "--points", 0, "--to", name]
    outcome = run(capsys, *command)
    assert outcome.code == 0, outcome.err
    content = (tmp_path / name).read_bytes()
    assert content.startswith(start)
    assert name in outcome.err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "either a configuration with --config or a space"),
        (["--space", "lora", "--config", "c.yaml"], "either a configuration with --config"),
        (["--config", "c.yaml", "--budget", "1%"], "--budget is for --space"),
        (["--config", "c.yaml", "--to", "f.png"], "--to is for --space"),
        (["--space", "lora", "--to", "f.pdf"], "name a .html or a .png file"),
        (["--space", "lora", "--to", "nowhere/f.png"], "there is no such folder"),
    ],
)
def test_bad_requests(
    arguments: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    outcome = run(capsys, "estimate", *arguments)
    assert outcome.code == 2
    assert message in outcome.err
    assert (outcome.out, list(tmp_path.iterdir())) == ("", [])


@given(st.dictionaries(st.text("abc+", min_size=1, max_size=40), NUMBERS, min_size=1, max_size=5))
def test_a_histogram_keeps_to_its_width_and_hides_no_point(groups: dict[str, list[int]]) -> None:
    *lines, axis = log_histogram(groups, 80)
    assert len(lines) == len(groups)
    assert all(line.startswith(name) for line, name in zip(lines, groups, strict=True))
    assert all(len(line) <= 80 for line in (*lines, axis))
    for line, values in zip(lines, groups.values(), strict=True):
        bars = line.split(" ", 1)[1].strip()
        assert bars.count("█") >= 1
        assert sum(c != " " for c in bars) <= len(set(values))


@given(st.integers(1, 10**12), st.integers(1, 10**12))
def test_a_larger_number_never_stands_further_left(one: int, other: int) -> None:
    small, large = sorted((one, other))
    first, second, _ = log_histogram({"a": [small], "b": [large]}, 80)
    assert first.index("█") <= second.index("█")


def test_a_power_of_ten_stands_at_its_tick() -> None:
    line, other, axis = log_histogram({"a": [1000], "b": [1, 10**6]}, 80)
    assert axis[line.index("█")] == "|"
    assert axis[line.index("█") :].startswith("|1k")
    assert axis[other.index("█")] == "|"


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (0, "0"),
        (999, "999"),
        (1000, "1.00k"),
        (9_996, "10.0k"),
        (99_960, "100k"),
        (999_600, "1.00M"),
        (22_713_216, "22.7M"),
        (3_000_000_000, "3.00G"),
    ],
)
def test_short_numbers(number: int, text: str) -> None:
    assert short(number) == text
