"""`Subject`: something to train on a model, and what a step of it costs at any batch size."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from torch import nn
from transformers import PreTrainedModel

from autopeft.cost.cost import CostModel
from autopeft.cost.memory import StepCost, prepared, step_cost, with_base_bits
from autopeft.cost.options import StepOptions
from autopeft.errors import RequestError
from autopeft.methods.compose import count_parameters
from autopeft.methods.peft_config import attach_peft_config
from autopeft.methods.stored import stored_bytes
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
        adapter_bytes: Of the tensors in the adapter's file, the head's among them.
        step: Returns what a step costs by the examples in it, and by those in one forward; of
            operations, those of one forward and backward.
    """

    configuration: dict[str, Any]
    adapter_params: int
    adapter_bytes: int
    step: Callable[[int, int], StepCost]


def of_configuration(configuration: Configuration, costs: CostModel) -> Subject:
    """Return a configuration of ours.

    Args:
        configuration: The configuration, complete.
        costs: Predicts what it costs on a model.

    Raises:
        RequestError: If the options of a step do not go with it.
    """
    if costs.options.base_bits is not None and configuration.method == "full":
        raise RequestError("A quantised base cannot be trained itself: leave --base-bits out.")

    def step(rows: int, at_once: int) -> StepCost:
        training = replace(configuration.training, batch_size=rows, micro_batch_size=at_once)
        return costs.step(replace(configuration, training=training))

    return Subject(
        configuration=configuration.to_dict(),
        adapter_params=count_parameters(configuration, costs.spec),
        adapter_bytes=costs.adapter_bytes(configuration),
        step=step,
    )


def of_peft_config(
    file: Path,
    spec: ModelSpec,
    meta_model: Callable[[], PreTrainedModel],
    seq_length: int,
    options: StepOptions,
) -> Subject:
    """Return what an adapter config of peft describes.

    Args:
        file: The config, or a folder that holds one.
        spec: The model.
        meta_model: Builds a fresh model with its task head on `meta`.
        seq_length: Tokens of every row; a model of images has its own size.
        options: How the step is made.

    Raises:
        SpaceError: If peft cannot attach it to the model.
    """

    def attached() -> nn.Module:
        return attach_peft_config(prepared(meta_model(), options), file, spec).train()

    def step(rows: int, at_once: int) -> StepCost:
        in_parts = at_once < rows
        cost = step_cost(attached(), at_once, seq_length, options, accumulates=in_parts)
        return with_base_bits(cost, spec, options)

    head = set(spec.head_modules)
    model = attached()
    own = [
        parameter.numel()
        for name, parameter in model.named_parameters()
        if parameter.requires_grad and head.isdisjoint(name.split("."))
    ]
    return Subject(
        configuration={"peft_config": str(file)},
        adapter_params=sum(own),
        adapter_bytes=stored_bytes(model, ()),
        step=step,
    )


def largest_batch(memory: Callable[[int], int], limit: int) -> int:
    """Return the largest batch whose memory is within a limit, 0 if one example is too much.

    Args:
        memory: Bytes of a step by examples in it; never falls.
        limit: Bytes.
    """
    used = memory(1)
    if used > limit:
        return 0
    # The peak moves from one part of the step to another as batches grow, and between such points
    # it grows by the same for each example: the line from the last two looks says where to look.
    fits, too_many, slope = 1, MOST_ROWS + 1, memory(2) - used
    while too_many - fits > 1:
        rows = fits + (limit - used) // slope if slope > 0 else too_many
        rows = min(max(rows, fits + 1), too_many - 1)
        there = memory(rows)
        slope = (there - used) // (rows - fits)
        if there <= limit:
            fits, used = rows, there
        else:
            too_many = rows
    return fits
