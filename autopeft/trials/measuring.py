"""The quality of a model on a worker's validation rows."""

from typing import Any

import torch
from torch import nn

from autopeft.trials.batches import sorted_batches
from autopeft.trials.engine import Engine
from autopeft.trials.outcomes import outcomes_of
from autopeft.trials.precision import Arithmetic
from autopeft.trials.prefix import FrozenPrefix


class DivergedError(Exception):
    """The loss or a metric is no number any more."""


def measured(
    model: nn.Module, engine: Engine, arithmetic: Arithmetic, prefix: FrozenPrefix
) -> tuple[dict[str, float], float]:
    """Return the task's metrics and the mean loss on the validation rows.

    Args:
        model: The engine's base with what is attached to it.
        engine: The worker's engine.
        arithmetic: What is computed in.
        prefix: The layers that are as the base has them.

    Raises:
        DivergedError: If an output is not finite.
    """
    split, parallel = engine.workload.validation, engine.parallel
    called: Any = model.eval()
    outcomes, finite = outcomes_of(split, engine.workload.task), True
    with torch.inference_mode(), arithmetic.autocast_to_evaluate():
        for rows in parallel.share(sorted_batches(split, len(split), engine.eval_tokens)):
            inputs = split.inputs(rows, engine.device)
            with prefix.skipped(split, rows):
                logits = called(**inputs).logits.float()
            finite = bool(torch.isfinite(logits).all())
            if not finite:
                break
            outcomes.add(rows, logits)
    if not all(parallel.gathered(finite)):
        raise DivergedError("the model's outputs are not finite")
    outcomes.gather(parallel)
    return outcomes.scores()
