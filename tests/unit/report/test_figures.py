from pathlib import Path

import pytest

from autopeft.methods.registry import method_names
from autopeft.report.figures import pareto_figure, pareto_picture
from autopeft.report.theme import mark
from autopeft.trials.trial import TrialStatus
from tests.records import record, summary
from tests.spaces import space_of

TRIALS = [
    record(0, [0.5, 0.60], 100),
    record(1, [0.5, 0.70], 1_000, method="ia3"),
    record(2, [0.5, 0.65], 2_000, method="ia3"),
    record(3, [0.55], 50, TrialStatus.STOPPED, method="ia3"),
    record(4, [], 10, TrialStatus.NAN),
]
#: A range of sizes without width; what failed has another size, and no place in the picture.
AS_LARGE_AS_THE_BUDGET = [record(0, [0.5, 0.6], 10_000), record(1, [], 10, TrialStatus.NAN)]


def test_every_measured_trial_is_a_point_and_says_what_it_is() -> None:
    figure = pareto_figure(summary(TRIALS))
    points = {
        (x, y): text
        for trace in figure.data
        if trace.mode == "markers"
        for x, y, text in zip(trace.x, trace.y, trace.text, strict=True)
    }
    assert set(points) == {(100, 0.6), (1_000, 0.7), (2_000, 0.65), (50, 0.55)}
    assert "trial 1: ia3" in points[1_000, 0.7]
    assert "rank=2" in points[1_000, 0.7]


def test_the_front_is_a_line_through_the_best() -> None:
    [line] = [t for t in pareto_figure(summary(TRIALS)).data if t.mode == "lines"]
    assert list(line.x) == [100, 1_000]
    assert list(line.y) == [0.6, 0.7]


def test_stopped_trials_look_different() -> None:
    named = {t.name: t for t in pareto_figure(summary(TRIALS)).data}
    assert named["ia3 (stopped)"].marker.symbol == "triangle-up-open"
    assert named["ia3"].marker.symbol == "triangle-up"


@pytest.mark.parametrize("trials", [TRIALS, TRIALS[:1], AS_LARGE_AS_THE_BUDGET, []])
def test_the_picture_holds_front_and_budget(trials: list, tmp_path: Path) -> None:
    figure = pareto_picture(summary(trials))
    [axes] = figure.axes
    figure.savefig(tmp_path / "drawn.png")
    assert axes.get_xscale() == "log"
    assert axes.get_ylabel() == "validation accuracy"
    assert any(list(line.get_xdata()) == [10_000, 10_000] for line in axes.lines)


def test_the_methods_of_the_default_space_have_looks_of_their_own() -> None:
    space = space_of("default")
    looks = [mark(name) for name in space.methods]
    assert len({look.color for look in looks}) == len(looks)
    assert len({look.marker for look in looks}) == len(looks)


def test_every_other_method_has_a_look_that_both_figures_know() -> None:
    trials = [record(i, [0.5, 0.6], 100 + i, method=m) for i, m in enumerate(method_names())]
    assert pareto_picture(summary(trials)).axes
    assert len(pareto_figure(summary(trials)).data) == len(trials) + 1
    assert mark("of tomorrow") == mark("of tomorrow")
