"""Figures as they are printed, and why there may be no pictures; nothing is drawn here."""

import sys
from pathlib import Path

import pytest

from autopeft.errors import RequestError
from autopeft.methods.registry import method_names
from autopeft.report.figures import pareto_figure
from autopeft.report.page import Findings, study_figures
from autopeft.report.pictures import HEIGHT, WIDTH, for_paper, write_pictures
from autopeft.report.progress_figures import learning_figure
from autopeft.report.theme import mark
from autopeft.trials.trial import TrialStatus
from tests.records import record, summary

METHODS = ("lora", "ia3", "shira")
STUDY = summary(
    [
        *(record(i, [0.5, 0.6 + i / 100], 100 * (i + 1), method=METHODS[i % 3]) for i in range(9)),
        record(9, [0.55], 950, TrialStatus.STOPPED, method="ia3"),
    ]
)


@pytest.mark.parametrize("draw", [pareto_figure, learning_figure])
def test_a_printed_legend_has_each_method_once_in_full_colour(draw: object) -> None:
    figure = draw(STUDY)  # type: ignore[operator]
    before = figure.to_json()
    printed = for_paper(figure)
    assert figure.to_json() == before
    entries = [t for t in printed.data if t.showlegend is not False]
    named = {t.name: t for t in entries}
    assert len(named) == len(entries)
    assert set(METHODS) == set(named) - {"Pareto front"}
    for method in METHODS:
        assert named[method].marker.color == mark(method).color
        assert named[method].marker.symbol == mark(method).symbol
        assert named[method].opacity is None


def test_what_is_drawn_stays_as_it_is() -> None:
    figure = pareto_figure(STUDY)
    printed = for_paper(figure)
    for before, after in zip(figure.data, printed.data, strict=False):
        assert (before.x, before.y, before.marker) == (after.x, after.y, after.marker)


def test_a_long_legend_makes_a_picture_higher_not_its_field_smaller() -> None:
    trials = [record(i, [0.5, 0.6], 100 + i, method=m) for i, m in enumerate(method_names())]
    few, many = (for_paper(pareto_figure(summary(part))) for part in (trials[:3], trials))
    assert few.layout.width == many.layout.width == WIDTH
    assert many.layout.height > few.layout.height > HEIGHT
    fields = {f.layout.height - f.layout.margin.t - f.layout.margin.b for f in (few, many)}
    assert len(fields) == 1


def test_there_are_no_figures_without_a_measured_trial() -> None:
    assert study_figures(summary([record(0, [], 10, TrialStatus.NAN)]), Findings()) == {}
    assert {"front-params", "learning", "parallel"} <= set(study_figures(STUDY, Findings()))


def test_without_a_browser_there_is_one_sentence_and_no_folder(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    pytest.importorskip("kaleido", reason="kaleido is not installed")
    figures = {"front": pareto_figure(STUDY)}
    monkeypatch.setenv("BROWSER_PATH", str(tmp_path / "no-browser"))
    with pytest.raises(RequestError, match="needs Chrome or Chromium, and none was found"):
        write_pictures(figures, tmp_path / "pictures", "png")
    monkeypatch.setenv("BROWSER_PATH", sys.executable)
    with pytest.raises(RequestError, match=r"^No pictures could be drawn: "):
        write_pictures(figures, tmp_path / "pictures", "png")
    assert list(tmp_path.iterdir()) == []
