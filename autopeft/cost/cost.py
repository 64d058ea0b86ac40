"""`Cost` and `CostModel`: the numbers of a configuration that need no training."""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

from torch import nn
from transformers import PreTrainedModel

from autopeft.cost.memory import MemoryEstimate, StepCost, prepared, step_cost, with_base_bits
from autopeft.cost.options import StepOptions
from autopeft.methods.compose import count_mask_bytes, count_parameters
from autopeft.methods.composite import on_meta
from autopeft.methods.method import AttachContext
from autopeft.methods.stored import stored_bytes
from autopeft.models.spec import ModelSpec
from autopeft.space.configuration import Configuration


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """What a configuration costs.

    Attributes:
        adapter_params: Parameters that it adds (or, for full fine-tuning, unfreezes) and that may
            be non-zero when it is trained; what a density mask prunes is not among them.
        head_params: Parameters of the task head.
        base_params: Parameters of the base model.
        peak_memory_bytes: Predicted training memory.
        flops_per_example: Floating-point operations of forward and backward for one of the longest
            inputs; `None` in studies that were made before it was recorded.
    """

    adapter_params: int
    head_params: int
    base_params: int
    peak_memory_bytes: int
    flops_per_example: int | None = None

    @property
    def share_of_base_percent(self) -> float:
        """The adapter's parameters in percent of the base's."""
        return percent_of_base(self.adapter_params, self.base_params)


def percent_of_base(params: float, base_params: int) -> float:
    """Return parameters in percent of the base's, with the three digits that tell sizes apart."""
    return float(f"{100 * params / base_params:.3g}")


class CostModel:
    """Computes costs of configurations of one model at one batch shape, each once.

    Attributes:
        spec: Structure of the model.
        seq_length: Longest input in tokens.
        options: How steps are made.
    """

    def __init__(
        self,
        spec: ModelSpec,
        meta_model: Callable[[], PreTrainedModel],
        seq_length: int,
        options: StepOptions | None = None,
    ) -> None:
        """Take the structure of a model.

        Args:
            spec: Structure of the model.
            meta_model: Builds a fresh model with its task head on the `meta` device.
            seq_length: Longest input in tokens, which the memory is predicted for.
            options: How steps are made.
        """
        self.spec = spec
        self._meta_model = meta_model
        self.seq_length = seq_length
        self.options = options or StepOptions()
        self._steps: dict[str, StepCost] = {}

    def cost(self, configuration: Configuration) -> Cost:
        """Return all costs of a configuration."""
        step = self.step(configuration)
        return Cost(
            adapter_params=count_parameters(configuration, self.spec),
            head_params=self.spec.head_params,
            base_params=self.spec.base_params,
            peak_memory_bytes=step.memory.total,
            flops_per_example=step.flops // self._rows(configuration),
        )

    def memory(self, configuration: Configuration) -> MemoryEstimate:
        """Return the predicted training memory of a configuration."""
        return self.step(configuration).memory

    def step(self, configuration: Configuration) -> StepCost:
        """Return what one forward and backward of a configuration, and its optimiser step, cost.

        Where there are micro-batches, that is one of them, and of several devices it is one.
        """
        training, rows = configuration.training, self._rows(configuration)
        in_parts = training.rows_at_once < self._share(training.batch_size)
        key = f"{configuration.components} {rows} {in_parts}"
        if key not in self._steps:
            model = self._attached(configuration)
            step = step_cost(model, rows, self.seq_length, self.options, accumulates=in_parts)
            step = with_base_bits(step, self.spec, self.options)
            masks = step.memory.optimizer + count_mask_bytes(configuration, self.spec)
            self._steps[key] = replace(step, memory=replace(step.memory, optimizer=masks))
        return self._steps[key]

    def _rows(self, configuration: Configuration) -> int:
        """Return the examples in one forward."""
        training = configuration.training
        rows = training.batch_size
        if training.max_tokens is not None:
            # With shorter rows a batch may come nearer to the limit.
            rows = min(rows, math.ceil(training.max_tokens / self.seq_length))
        return min(training.rows_at_once, self._share(rows))

    def _share(self, rows: int) -> int:
        """Return how many examples of a batch one device takes at most."""
        return math.ceil(rows / self.options.devices)

    def adapter_bytes(self, configuration: Configuration) -> int:
        """Return the bytes of the tensors in the adapter's file, the head's among them."""
        return stored_bytes(self._attached(configuration), configuration.components)

    def _attached(self, configuration: Configuration) -> nn.Module:
        context = AttachContext(spec=self.spec, total_steps=100, seed=0)
        base = prepared(self._meta_model(), self.options)
        return on_meta(base, configuration.components, context).train()
