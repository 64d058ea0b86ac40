"""Averaged weights: the mean of the latest steps, for the evaluation at a rung alone."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from autopeft.trials.averaging import MAX_STEPS, AveragedWeights
from autopeft.trials.training import TrialRun
from tests.workload import tiny_engine, trial


def mean_of_steps(done: int, until: int) -> float:
    """Return the mean of weights that equal their step."""
    parameter = torch.nn.Parameter(torch.zeros(2))
    averaged = AveragedWeights([parameter], done, until)
    for step in range(done + 1, until + 1):
        parameter.data.fill_(step)
        averaged.add(step)
    with averaged.in_place():
        found = parameter[0].item()
    assert parameter.tolist() == [until, until]
    return found


@pytest.mark.parametrize(
    ("done", "until", "expected"),
    [
        (0, 16, 12.5),
        (0, 17, 13.0),
        (3, 20, 15.5),
        (12, 20, 16.5),
        (0, 1, 1),
        (0, 14, 14),
        (0, 15, 11.5),
    ],
)
def test_it_is_the_mean_over_the_last_half(done: int, until: int, expected: float) -> None:
    assert mean_of_steps(done, until) == pytest.approx(expected)


def test_of_many_steps_some_are_taken() -> None:
    """They are spread evenly, and the last is one of them."""
    steps = [1000 - 32 * i for i in range(MAX_STEPS)]
    assert mean_of_steps(0, 1000) == pytest.approx(sum(steps) / len(steps))


def test_what_is_pruned_stays_pruned() -> None:
    parameter = torch.nn.Parameter(torch.ones(2))
    averaged = AveragedWeights([parameter], 0, 16)
    for step in range(1, 16):
        averaged.add(step)
    parameter.data[0] = 0.0
    averaged.add(16)
    with averaged.in_place():
        assert parameter.tolist() == [0.0, 1.0]


def test_a_rung_evaluates_the_mean_and_the_end_the_weights(
    tiny_model: Path, tiny_data: Path
) -> None:
    engine = tiny_engine(tiny_model, tiny_data)
    spec = replace(trial(engine, method="lora"), epochs=12.0)
    run = TrialRun(engine, spec)
    assert spec.rungs[0] < 1
    at_rung, plain = run.advance(), run.evaluate()
    at_end, still = run.advance(), run.evaluate()
    run.close()
    assert at_rung.eval_loss != plain[1]
    assert (dict(at_end.metrics), at_end.eval_loss) == still
    whole = TrialRun(engine, replace(spec, rungs=(1.0,)))
    report = whole.advance()
    whole.close()
    assert (report.metrics, report.eval_loss) == (at_end.metrics, at_end.eval_loss)
