"""Metric-weighted averaging: a mean of the checkpoints of one training, and its quality.

The idea is that of MWA (arXiv 2504.18580), which weights checkpoints by a metric of theirs, with
one penalty factor. The paper's exact formula was not at hand; ours is w_i proportional to
(l_min / l_i)^p, with the validation loss l_i of checkpoint i and the penalty p.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from peft import PeftModel
from safetensors.torch import load_file, save_file

from autopeft.errors import RequestError
from autopeft.export.scorer import Scorer
from autopeft.models.loading import quiet
from autopeft.trials.derived import DerivedPoint
from autopeft.trials.engine import Engine
from autopeft.trials.kept_checkpoints import check_mean, kept_at
from autopeft.trials.trial import TrialRecord

_WEIGHTS = "adapter_model.safetensors"


@dataclass(frozen=True, slots=True, kw_only=True)
class Averaged:
    """A mean of checkpoints, ready to be written.

    Attributes:
        point: What was measured.
        tensors: Adapter and head, by peft's names.
    """

    point: DerivedPoint
    tensors: Mapping[str, torch.Tensor]

    def write(self, folder: Path) -> None:
        """Put the mean into an export, in the place of the adapter as it was trained."""
        save_file(dict(self.tensors), folder / _WEIGHTS, {"format": "pt"})


def metric_weights(losses: Sequence[float], penalty: float) -> np.ndarray:
    """Return the weights of checkpoints, shape (checkpoints,); they sum to 1.

    Args:
        losses: Validation loss of each, above 0.
        penalty: 0 weights all alike; the larger, the nearer to the best one alone.
    """
    logs = penalty * (np.log(min(losses)) - np.log(np.asarray(losses, dtype=np.float64)))
    weights = np.exp(logs)
    found: np.ndarray = weights / weights.sum()
    return found


def weighted_mean(
    states: Sequence[Mapping[str, torch.Tensor]], weights: Sequence[float] | np.ndarray
) -> dict[str, torch.Tensor]:
    """Return the mean of states that are alike in names and shapes; what is no float must agree.

    The sum is taken in float64: the mean of equal states is that state.
    """
    first = states[0]
    mean: dict[str, torch.Tensor] = {}
    for name, tensor in first.items():
        if not tensor.is_floating_point():
            assert all(torch.equal(tensor, state[name]) for state in states), name
            mean[name] = tensor
            continue
        total = sum(
            (float(w) * state[name].double() for w, state in zip(weights, states, strict=True)),
            torch.zeros_like(tensor, dtype=torch.float64),
        )
        mean[name] = total.to(tensor.dtype)
    return mean


def check_averageable(record: TrialRecord, trial: Path) -> list[tuple[Path, float]]:
    """Return the checkpoints before the end that a trial kept, with their validation losses.

    Args:
        record: The trial, which is complete.
        trial: Its folder.

    Raises:
        RequestError: If it kept none, or a mean of its weights means nothing.
    """
    check_mean(record.spec.configuration, f"Trial {record.number}")
    kept = [(kept_at(trial, report.step), report.eval_loss) for report in record.reports[:-1]]
    found = [(folder, loss) for folder, loss in kept if (folder / _WEIGHTS).is_file()]
    if not found:
        raise RequestError(
            f"Trial {record.number} kept no checkpoints to average: train it again with "
            "`autopeft train --config STUDY:TRIAL --checkpoints 5`."
        )
    return found


def average(
    record: TrialRecord,
    adapter: Path,
    checkpoints: Sequence[tuple[Path, float]],
    engine: Engine,
    penalty: float,
) -> Averaged:
    """Average a trial's checkpoints and measure what that does.

    Args:
        record: The trial.
        adapter: Folder of its trained weights, the last checkpoint.
        checkpoints: What `check_averageable` returned.
        engine: Base model and data of the study.
        penalty: As for `metric_weights`.
    """
    trained = load_file(adapter / _WEIGHTS)
    with quiet():
        model = PeftModel.from_pretrained(engine.base, str(adapter))
    score = Scorer(engine, model, record.quality_metric)
    before, _ = score(trained)
    losses = [*(loss for _, loss in checkpoints), record.reports[-1].eval_loss]
    states = [*(load_file(folder / _WEIGHTS) for folder, _ in checkpoints), trained]
    tensors = weighted_mean(states, metric_weights(losses, penalty))
    quality, loss = score(tensors)
    size = (adapter / _WEIGHTS).stat().st_size
    point = DerivedPoint(
        trial=record.number,
        way="mwa",
        settings={"penalty": penalty, "checkpoints": len(states)},
        metric=record.quality_metric,
        quality=quality,
        quality_before=before,
        eval_loss=loss,
        adapter_params=record.cost.adapter_params,
        params_before=record.cost.adapter_params,
        bytes=size,
        bytes_before=size,
    )
    return Averaged(point=point, tensors=tensors)
