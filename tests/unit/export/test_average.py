"""A mean of checkpoints: its weights, and what may be averaged."""

import math
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from autopeft.api.problem import resolve
from autopeft.api.request import SearchRequest
from autopeft.errors import RequestError
from autopeft.export.average import check_averageable, metric_weights, weighted_mean
from autopeft.methods.registry import method_names
from autopeft.trials.kept_checkpoints import LATE, WITH_A_MEAN, kept_at, late_shares
from tests.records import record

LOSSES = st.lists(st.floats(1e-6, 1e6), min_size=1, max_size=8)


@given(losses=LOSSES, penalty=st.floats(0, 50))
def test_weights_sum_to_one_and_fall_with_the_loss(losses: list[float], penalty: float) -> None:
    weights = metric_weights(losses, penalty)
    assert weights.sum() == pytest.approx(1.0)
    assert weights.max() == weights[int(np.argmin(losses))]
    order = np.argsort(losses)
    assert (np.diff(weights[order]) <= 1e-12).all()


@given(losses=LOSSES)
def test_the_penalty_goes_from_the_plain_mean_to_the_best_alone(losses: list[float]) -> None:
    assert metric_weights(losses, 0.0) == pytest.approx([1 / len(losses)] * len(losses))
    apart = [loss * 2.0**i for i, loss in enumerate([min(losses)] * len(losses))]
    assert metric_weights(apart, 200.0)[0] == pytest.approx(1.0)


def test_the_formula_is_the_one_that_is_documented() -> None:
    weights = metric_weights([2.0, 1.0, 4.0], 2.0)
    assert weights == pytest.approx(np.array([0.25, 1.0, 0.0625]) / 1.3125)


@given(st.lists(st.floats(-10, 10), min_size=3, max_size=3), LOSSES, st.floats(0, 8))
def test_equal_checkpoints_return_themselves(
    values: list[float], losses: list[float], penalty: float
) -> None:
    state = {"a": torch.tensor(values), "i": torch.tensor([1, 2])}
    mean = weighted_mean([state] * len(losses), metric_weights(losses, penalty))
    assert all(torch.equal(mean[name], state[name]) for name in state)
    assert mean["a"].dtype == torch.float32


def test_a_mean_is_the_weighted_sum_of_adapter_and_head() -> None:
    states = [{"lora_A": torch.full((2,), float(n)), "head": torch.tensor([-n])} for n in (1.0, 3)]
    mean = weighted_mean(states, [0.25, 0.75])
    assert mean["lora_A"].tolist() == [2.5, 2.5]
    assert mean["head"].tolist() == [-2.5]


def test_late_shares_end_a_training() -> None:
    assert late_shares(2) == (LATE, 1.0)
    assert late_shares(5) == (0.5, 0.625, 0.75, 0.875, 1.0)
    assert all(len(late_shares(n)) == n for n in range(2, 33))


def test_methods_with_a_mean_are_there() -> None:
    assert set(method_names()) >= WITH_A_MEAN


@pytest.mark.parametrize("method", ["adalora", "oft", "hra", "shira", "prefix", "full", "lora+ia3"])
def test_what_has_no_mean_is_refused_by_name(method: str, tmp_path: Path) -> None:
    trial = record(3, [0.5, 0.6], 1, method=method)
    with pytest.raises(RequestError, match=re.escape(f"linear space. Trial 3 is {method}")):
        check_averageable(trial, tmp_path)


def test_a_density_is_refused(tmp_path: Path) -> None:
    trial = record(3, [0.5, 0.6], 1)
    [component] = trial.spec.configuration.components
    masked = replace(component, params=(("density", 0.5), ("rank", 2)))
    configuration = replace(trial.spec.configuration, components=(masked,))
    trial = replace(trial, spec=replace(trial.spec, configuration=configuration))
    with pytest.raises(RequestError, match="without a density"):
        check_averageable(trial, tmp_path)


def test_checkpoints_come_with_the_loss_that_was_measured_of_them(tmp_path: Path) -> None:
    trial = record(3, [0.5, 0.6], 1)
    with pytest.raises(RequestError, match=r"kept no checkpoints .* --checkpoints 5"):
        check_averageable(trial, tmp_path)
    folder = kept_at(tmp_path, trial.reports[0].step)
    folder.mkdir(parents=True)
    (folder / "adapter_model.safetensors").touch()
    assert check_averageable(trial, tmp_path) == [(folder, trial.reports[0].eval_loss)]


def test_checkpoints_are_of_trainings_to_the_end() -> None:
    assert SearchRequest.build(checkpoints=3, fidelity="none").checkpoints == 3
    with pytest.raises(RequestError, match="use --fidelity none"):
        SearchRequest.build(checkpoints=3)
    with pytest.raises(RequestError, match="--checkpoints"):
        SearchRequest.build(checkpoints=math.inf, fidelity="none")


def test_a_training_is_not_asked_for_checkpoints_without_a_mean(
    tiny_model: Path, tiny_data: Path, tmp_path: Path
) -> None:
    config = tmp_path / "c.yaml"
    config.write_text("{method: oft, training: {learning_rate: 0.01}}")
    about = {"model": str(tiny_model), "data": tiny_data, "task": "sst2", "fidelity": "none"}
    request = SearchRequest.build(**about, configuration=str(config), checkpoints=3)
    with pytest.raises(RequestError, match="is oft: leave --average and --checkpoints out"):
        resolve(request)
    config.write_text("{method: lora, training: {learning_rate: 0.01}}")
    assert resolve(request).rungs == late_shares(3)
