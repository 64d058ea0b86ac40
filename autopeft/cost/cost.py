"""`Cost` and `CostModel`: the numbers of a configuration that need no training."""

from collections.abc import Callable
from dataclasses import dataclass

from transformers import PreTrainedModel

from autopeft.cost.memory import MemoryEstimate, estimate_memory
from autopeft.methods.compose import count_mask_bytes, count_parameters, count_trained
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
    """

    adapter_params: int
    head_params: int
    base_params: int
    peak_memory_bytes: int


class CostModel:
    """Computes costs of configurations of one model at one batch shape, each once.

    Attributes:
        spec: Structure of the model.
        seq_length: Longest input in tokens.
    """

    def __init__(
        self, spec: ModelSpec, meta_model: Callable[[], PreTrainedModel], seq_length: int
    ) -> None:
        """Take the structure of a model.

        Args:
            spec: Structure of the model.
            meta_model: Builds a fresh model with its task head on the `meta` device.
            seq_length: Longest input in tokens, which the memory is predicted for.
        """
        self.spec = spec
        self._meta_model = meta_model
        self.seq_length = seq_length
        self._memory: dict[str, MemoryEstimate] = {}

    def cost(self, configuration: Configuration) -> Cost:
        """Return all costs of a configuration."""
        return Cost(
            adapter_params=count_parameters(configuration, self.spec),
            head_params=self.spec.head_params,
            base_params=self.spec.base_params,
            peak_memory_bytes=self.memory(configuration).total,
        )

    def memory(self, configuration: Configuration) -> MemoryEstimate:
        """Return the predicted training memory of a configuration."""
        key = f"{configuration.components} {configuration.training.rows_at_once}"
        if key not in self._memory:
            self._memory[key] = estimate_memory(
                configuration,
                self.spec,
                self._meta_model,
                n_adapter_params=count_trained(configuration, self.spec),
                mask_bytes=count_mask_bytes(configuration, self.spec),
                seq_length=self.seq_length,
            )
        return self._memory[key]
