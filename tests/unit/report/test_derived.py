"""Derived points are shown everywhere, and change nothing that is said of the search."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from autopeft.errors import StudyError
from autopeft.report.axes import MEMORY, PARAMS
from autopeft.report.derived import WORDS, derived_rows
from autopeft.report.derived_figure import bytes_figure
from autopeft.report.figures import pareto_figure, pareto_picture
from autopeft.report.points import quality_range
from autopeft.report.theme import theme
from autopeft.trials.derived import DerivedPoint, read_derived, record_derived
from tests.records import record, summary
from tests.unit.report.test_page import data_of, page_of

TRIALS = [record(0, [0.5, 0.60], 100), record(1, [0.5, 0.70], 1_000)]
#: Better and smaller than all trials: on the front, if it could be there.
TERNARY = DerivedPoint(
    trial=1,
    way="ternary",
    settings={"keep": 0.05, "alpha": 3.0},
    metric="accuracy",
    quality=0.9,
    quality_before=0.7,
    eval_loss=0.3,
    adapter_params=50,
    params_before=1_000,
    bytes=700,
    bytes_before=4_100,
)
INT8 = replace(
    TERNARY, way="int8", settings={}, quality=0.4, adapter_params=1_000, bytes=1_200, eval_loss=0.8
)
PLAIN = summary(TRIALS)
STUDY = replace(PLAIN, derived=(TERNARY, INT8))


def test_the_answer_of_the_search_stays_as_it_was() -> None:
    assert STUDY.hypervolume == PLAIN.hypervolume
    assert STUDY.front == PLAIN.front
    assert STUDY.picks == PLAIN.picks
    assert STUDY.front_csv() == PLAIN.front_csv()


def test_the_figure_joins_each_to_what_it_was_made_of() -> None:
    traces = {trace.name: trace for trace in pareto_figure(STUDY).data}
    points = traces["derived"]
    assert list(zip(points.x, points.y, strict=True)) == [(50, 0.9), (1_000, 0.4)]
    assert points.marker.symbol not in {look["symbol"] for look in theme()["methods"].values()}
    assert points.marker.symbol not in {look["symbol"] for look in theme()["others"]}
    assert "derived from trial 1: ternary, 5 % kept" in points.text[0]
    joins = traces["from trained to derived"]
    assert list(joins.x) == [1_000, 50, None, 1_000, 1_000, None]
    assert list(joins.y) == [0.7, 0.9, None, 0.7, 0.4, None]
    line = traces["Pareto front"]
    assert list(line.x) == [100, 1_000]
    low, high = quality_range(STUDY) or (1.0, 0.0)
    assert low < 0.4
    assert high > 0.9


def test_a_cost_of_training_has_no_derived_points() -> None:
    with_points, without = (len(pareto_figure(s, MEMORY).data) for s in (STUDY, PLAIN))
    assert with_points == without
    assert len(pareto_figure(STUDY, PARAMS).data) == len(pareto_figure(PLAIN, PARAMS).data) + 2


def test_bytes_are_those_of_the_files() -> None:
    traces = {trace.name: trace for trace in bytes_figure(STUDY).data}
    assert list(traces["derived"].x) == [700, 1_200]
    # Both were made of one adapter, which is there once.
    assert (list(traces["as trained"].x), list(traces["as trained"].y)) == ([4_100], [0.7])


def test_the_picture_has_them_in_its_legend() -> None:
    [axes] = pareto_picture(STUDY).axes
    label = "derived (after the search)"
    assert label in axes.get_legend_handles_labels()[1]
    [points] = [c for c in axes.collections if c.get_label() == label]
    assert points.get_offsets().tolist() == [[50, 0.9], [1_000, 0.4]]
    pareto_picture(STUDY).canvas.draw()  # the marker is one that Matplotlib knows
    [plain] = pareto_picture(PLAIN).axes
    assert label not in plain.get_legend_handles_labels()[1]


def test_the_page_says_what_they_are() -> None:
    page, plain = page_of(STUDY), page_of(PLAIN)
    assert WORDS in page
    assert "Derived after the search" in page
    assert "derived" not in plain.partition("<main")[2].partition("</main>")[0]
    assert {"front-params", "derived-bytes"} <= set(data_of(page)["figures"])
    assert set(data_of(page)["hovers"]) == {"0", "1"}
    [first, second] = derived_rows(STUDY)
    assert (first["accuracy"], first["accuracy_before"], first["bytes"]) == (0.9, 0.7, 700)
    assert second["made"] == "8-bit integers"


def test_what_was_made_again_is_there_once_as_measured_last(tmp_path: Path) -> None:
    file = tmp_path / "derived.jsonl"
    assert read_derived(file) == ()
    other = replace(TERNARY, settings={"keep": 0.2, "alpha": 3.0})
    again = replace(TERNARY, quality=0.8)
    for point in (TERNARY, other, INT8, again):
        record_derived(file, point)
    assert read_derived(file) == (other, INT8, again)


@pytest.mark.parametrize("line", ["{", "[]", json.dumps({"trial": 1})])
def test_a_line_that_is_no_point_is_named(line: str, tmp_path: Path) -> None:
    file = tmp_path / "derived.jsonl"
    record_derived(file, INT8)
    with file.open("a") as lines:
        lines.write(line + "\n")
    with pytest.raises(StudyError, match=r"Line 2 of .*remove the line"):
        read_derived(file)


def test_a_mean_is_told_beside_the_end_alone() -> None:
    mean = replace(INT8, way="mwa", settings={"penalty": 2.0, "checkpoints": 5})
    assert mean.sentence() == (
        "The mean of 5 checkpoints, penalty 2 has accuracy 0.4000; the last one alone has 0.7000."
    )
