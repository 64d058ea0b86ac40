"""`Scorer`: the quality of tensors in the place of an adapter's, on a study's validation rows."""

from collections.abc import Mapping

import torch
from peft import PeftModel, set_peft_model_state_dict

from autopeft.trials.engine import Engine
from autopeft.trials.measuring import measured
from autopeft.trials.precision import Arithmetic


class Scorer:
    """Measures tensors in the place of an adapter's, as the end of a trial is measured."""

    def __init__(self, engine: Engine, model: PeftModel, metric: str) -> None:
        """Take what is measured with.

        Args:
            engine: Base model and data.
            model: The base with an adapter like those to come.
            metric: Name of the quality.
        """
        self._engine, self._model, self._metric = engine, model, metric
        self._arithmetic = Arithmetic(engine.dtype, engine.device)

    def __call__(self, tensors: Mapping[str, torch.Tensor]) -> tuple[float, float]:
        """Return quality and mean loss."""
        set_peft_model_state_dict(self._model, dict(tensors))
        metrics, loss = measured(
            self._model, self._engine, self._arithmetic, self._engine.prefix(0)
        )
        return metrics[self._metric], loss
