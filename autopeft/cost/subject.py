"""`Subject`: something to train on a model, and what a step of it costs at any batch size."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from torch import nn
from transformers import PreTrainedModel

from autopeft.cost.cost import CostModel
from autopeft.cost.flops import count_flops
from autopeft.cost.memory import MemoryEstimate, memory_of
from autopeft.methods.compose import count_parameters
from autopeft.methods.composite import on_meta
from autopeft.methods.method import AttachContext
from autopeft.methods.peft_config import attach_peft_config
from autopeft.models.spec import ModelSpec
from autopeft.space.configuration import Configuration

#: Largest batch that is looked for.
MOST_ROWS = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """A configuration on a model.

    Attributes:
        configuration: As plain data.
        adapter_params: As a budget counts them.
        memory: Returns the memory of a step by the examples in one forward.
        flops: Returns the floating-point operations of a step by the examples in it.
    """

    configuration: dict[str, Any]
    adapter_params: int
    memory: Callable[[int], MemoryEstimate]
    flops: Callable[[int], int]


def of_configuration(
    configuration: Configuration,
    spec: ModelSpec,
    meta_model: Callable[[], PreTrainedModel],
    seq_length: int,
) -> Subject:
    """Return a configuration of ours.

    Args:
        configuration: The configuration, complete.
        spec: The model.
        meta_model: Builds a fresh model with its task head on `meta`.
        seq_length: Tokens of every row; a model of images has its own size.
    """
    costs = CostModel(spec, meta_model, seq_length)

    def memory(rows: int) -> MemoryEstimate:
        training = replace(configuration.training, batch_size=rows, micro_batch_size=None)
        return costs.memory(replace(configuration, training=training))

    def flops(rows: int) -> int:
        context = AttachContext(spec=spec, total_steps=100, seed=0)
        base = meta_model().requires_grad_(requires_grad=False)
        model = on_meta(base, configuration.components, context)
        return count_flops(model.train(), rows, seq_length)

    return Subject(
        configuration=configuration.to_dict(),
        adapter_params=count_parameters(configuration, spec),
        memory=memory,
        flops=flops,
    )


def of_peft_config(
    file: Path, spec: ModelSpec, meta_model: Callable[[], PreTrainedModel], seq_length: int
) -> Subject:
    """Return what an adapter config of peft describes; the arguments are as for ours.

    Raises:
        SpaceError: If peft cannot attach it to the model.
    """

    def attached() -> nn.Module:
        base = meta_model().requires_grad_(requires_grad=False)
        return attach_peft_config(base, file, spec).train()

    head = set(spec.head_modules)
    own = [
        parameter.numel()
        for name, parameter in attached().named_parameters()
        if parameter.requires_grad and head.isdisjoint(name.split("."))
    ]
    return Subject(
        configuration={"peft_config": str(file)},
        adapter_params=sum(own),
        memory=lambda rows: memory_of(attached(), rows, seq_length),
        flops=lambda rows: count_flops(attached(), rows, seq_length),
    )


def largest_batch(memory: Callable[[int], int], limit: int) -> int:
    """Return the largest batch whose memory is within a limit, 0 if one example is too much.

    Args:
        memory: Bytes of a step by examples in it; never falls.
        limit: Bytes.
    """
    one, two = memory(1), memory(2)
    if one > limit:
        return 0
    if two == one:
        return MOST_ROWS
    # What is kept grows by the same for each example: a line from two points, then a look.
    rows = min(max(1, 1 + (limit - one) // (two - one)), MOST_ROWS)
    while rows > 1 and memory(rows) > limit:
        rows -= 1
    while rows < MOST_ROWS and memory(rows + 1) <= limit:
        rows += 1
    return rows
