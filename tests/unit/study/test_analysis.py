"""What a study tells, on trials whose truth is planted."""

import csv
import io
import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from autopeft.api.result import SearchResult
from autopeft.errors import StudyError
from autopeft.report.analysis_figure import analysis_figure
from autopeft.study.analysis import importance
from autopeft.study.analysis.analysis import Analysis, analyze
from autopeft.study.analysis.budgets import winners
from autopeft.study.analysis.facts import Facts, facts_of
from autopeft.study.analysis.importance import LEAST_TRIALS
from autopeft.study.uncertainty import measured_configurations
from autopeft.trials.trial import TrialRecord, TrialStatus
from tests.command import run
from tests.records import record

LIMIT = 100_000


def error(_: float) -> float:
    return 0.01


def planted(n: int, truth: Callable[[float, float], float]) -> list[TrialRecord]:
    """Return trials of quality `truth(log10 of the multiple, log10 of the parameters)`."""
    rng = np.random.default_rng(0)
    trials = []
    for number in range(n):
        multiple, params = rng.uniform(-0.6, 0.9), rng.uniform(2, 5)
        quality = truth(multiple, params) + 0.005 * rng.normal()
        method = ("lora", "shira")[number % 2]
        made = record(number, [0.5, quality], int(10**params), method=method)
        default = {"lora": 1e-3, "shira": 5e-3}[method]
        training = replace(
            made.spec.configuration.training, learning_rate=float(default * 10**multiple)
        )
        configuration = replace(made.spec.configuration, training=training)
        trials.append(replace(made, spec=replace(made.spec, configuration=configuration)))
    return trials


def analyzed(trials: list[TrialRecord], *picks: int) -> Analysis:
    return analyze(trials, {str(p): trials[p] for p in picks}, 2, LIMIT, error)


@pytest.fixture(scope="module")
def of_rate() -> Analysis:
    """A study in which the learning rate alone matters."""
    return analyzed(planted(LEAST_TRIALS, lambda multiple, _: 0.6 + 0.2 * multiple))


def test_what_matters_comes_first(of_rate: Analysis) -> None:
    first, *others = of_rate.importances
    assert first.name == "learning_rate_multiple"
    assert first.share > 0.7 > 10 * max(i.share for i in others) - 1
    assert first.spread < 0.2
    # Two layers, attention alone: what does not vary explains nothing and is not named.
    assert {i.name for i in of_rate.importances} == {
        *("learning_rate_multiple", "adapter_params", "method"),
    }


def test_forests_of_a_long_study_grow_on_trials_of_their_own(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    trials, grown = planted(LEAST_TRIALS, lambda multiple, _: 0.6 + 0.2 * multiple), []
    fanova = importance._fanova

    def seen(rows: Sequence[Facts], qualities: Sequence[float], seed: int) -> dict[str, float]:
        grown.append(set(qualities))
        return fanova(rows, qualities, seed)

    monkeypatch.setattr(importance, "_fanova", seen)
    monkeypatch.setattr(importance, "MOST_TRIALS", 12)
    assert analyzed(trials).importances[0].name == "learning_rate_multiple"
    assert {len(qualities) for qualities in grown} == {12}
    assert len(set.union(*grown)) == LEAST_TRIALS


def test_curves_follow_the_truth(of_rate: Analysis) -> None:
    curves = {curve.name: curve for curve in of_rate.curves}
    assert set(curves) == {"learning_rate_multiple", "adapter_params"}
    rate = curves["learning_rate_multiple"]
    expected = 0.6 + 0.2 * np.log10(rate.values)
    assert np.abs(np.array(rate.qualities) - expected).max() < 0.02
    assert np.ptp(curves["adapter_params"].qualities) < 0.03
    assert min(rate.errors) > 0
    assert of_rate.predictability is not None
    assert of_rate.predictability > 0.9
    assert of_rate.notes == ()


def test_noise_is_called_noise() -> None:
    rng = np.random.default_rng(1)
    found = analyzed(planted(LEAST_TRIALS - 1, lambda *_: 0.6 + 0.05 * rng.normal()))
    assert found.predictability is not None
    assert found.predictability < 0.3
    assert "may be chance" in found.notes[-1]


def test_too_few_trials_are_not_shown_as_knowledge() -> None:
    trials = planted(12, lambda multiple, params: 0.6 + 0.1 * multiple + 0.01 * params)
    some, few = analyzed(trials), analyzed(trials[:5], 0)
    assert (some.importances, few.importances, few.curves) == ((), (), ())
    assert some.curves
    assert "12 complete trials are too few to say what matters: 20" in some.notes[0]
    assert "1 complete trial is too few" in analyzed(trials[:1], 0).notes[0]
    assert few.predictability is None
    assert "too few for curves" in few.notes[1]
    with pytest.raises(StudyError, match="nothing to analyze"):
        analyzed([record(0, [0.5], 10, TrialStatus.STOPPED)])


def test_ten_times_the_parameters_buy_what_was_planted() -> None:
    trials = planted(LEAST_TRIALS - 1, lambda _, params: 0.5 + 0.05 * params)
    trials[0] = record(0, [0.5, 0.65], 1_000)
    trials[1] = record(1, [0.5, 0.7], 20_000)
    known, beyond = analyzed(trials, 0, 1).ten_times
    assert (known.start, known.target, known.reason) == (1_000, 10_000, "")
    assert known.trial is not None
    assert 3_000 < trials[known.trial].cost.adapter_params < 32_000
    # At most half a decade above the target.
    assert known.gain == pytest.approx(0.0625, abs=0.03)
    assert known.error is not None
    assert 0 < known.error < 0.05
    assert beyond.gain is None
    assert "beyond the 100,000 parameters" in beyond.reason


def test_ten_times_nothing_is_not_beyond_the_budget() -> None:
    trials = [record(0, [0.5, 0.6], 0), record(1, [0.5, 0.7], 20_000)]
    [found] = analyze(trials, {"best": trials[0]}, 2, LIMIT, error).ten_times
    assert "no parameters" in found.reason
    assert found.gain is None


def test_ten_times_is_not_guessed_where_no_trial_is() -> None:
    trials = [r for r in planted(24, lambda _, p: 0.1 * p) if r.cost.adapter_params < 2_000]
    trials += [record(99, [0.5, 0.9], 1_100)]
    [found] = analyze(trials, {"best": trials[-1]}, 2, LIMIT, error).ten_times
    assert found.reason in {
        "not known: no trial has about so many",
        "not known: too few trials",
    }
    assert found.gain is None


def test_winners_by_hand() -> None:
    trials = [
        record(0, [0.5, 0.60], 200, method="ia3"),
        record(1, [0.5, 0.70], 2_500),
        record(2, [0.5, 0.705], 50_000, method="shira"),
        record(3, [0.5, 0.695], 700, method="ia3"),
        record(4, [0.5, 0.55], 100, method="bitfit"),
    ]
    found = winners(measured_configurations(trials), LIMIT, error)
    assert [(w.budget, w.method, w.clear) for w in found] == [
        (100, "bitfit", None),  # there is nothing that it could be ahead of
        (300, "ia3", True),
        (1_000, "ia3", True),
        (3_000, "lora", False),
        (10_000, "lora", False),
        (30_000, "lora", False),
        (100_000, "shira", False),
    ]
    assert found[-1].by_method == {"shira": 0.705, "lora": 0.70, "ia3": 0.695, "bitfit": 0.55}
    assert [w.mean for w in found] == sorted(w.mean for w in found)


def test_facts_are_the_same_for_all_methods() -> None:
    lora, ia3 = (record(0, [0.5, 0.6], 100, method=m) for m in ("lora", "ia3"))
    of_lora, of_ia3 = facts_of(lora, 4), facts_of(ia3, 4)
    assert list(of_lora) == list(of_ia3)
    assert (of_lora["layers"], of_lora["mean_depth"]) == (0.5, 0.25)
    assert (of_lora["attention"], of_lora["feed_forward"]) == (True, False)
    # The rate of both is 0.001: the default of LoRA, a fifth of that of (IA)3.
    assert of_lora["learning_rate_multiple"] == pytest.approx(0.0)
    assert of_ia3["learning_rate_multiple"] == pytest.approx(np.log10(0.2))


def test_every_method_and_curve_is_in_the_figure(of_rate: Analysis) -> None:
    figure = analysis_figure(of_rate, "title")
    lines = [trace.name for trace in figure.data if trace.name]
    assert lines == ["lora", "shira"]
    [bars] = [trace for trace in figure.data if trace.type == "bar"]
    assert list(bars.x) == [i.share for i in reversed(of_rate.importances)]
    assert len(figure.layout.annotations) == 2 + len(of_rate.curves)


def test_the_command(
    capsys: pytest.CaptureFixture[str], tiny_study: SearchResult, tmp_path: Path
) -> None:
    folder = tmp_path / "study"
    shutil.copytree(tiny_study.folder.path, folder)
    table = run(capsys, "analyze", folder)
    assert table.code == 0
    assert "Which method wins at which budget" in table.out
    assert "too few to say what matters" in table.err
    assert (folder / "report" / "analysis.html").is_file()
    data = json.loads(run(capsys, "analyze", folder, "--format", "json").out)
    rows = list(csv.DictReader(io.StringIO(run(capsys, "analyze", folder, "--format", "csv").out)))
    assert len(rows) == len(data["winners"])
    best = max(r.quality or 0.0 for r in tiny_study.front)
    assert data["winners"][-1]["mean"] == best
    assert [row["evaluation_error"] for row in rows] == [
        str(round(winner["evaluation_error"], 4)) for winner in data["winners"]
    ]
    assert run(capsys, "analyze", tmp_path / "none").code == 2


def test_a_budget_of_nothing_is_won_by_the_head_alone() -> None:
    [winner] = winners(measured_configurations([record(0, [0.5, 0.7], 0)]), 0, error)
    assert (winner.budget, winner.trial) == (0, 0)
