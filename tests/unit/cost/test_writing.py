"""Steps of models that write text: what `meta` says of them is what a real one costs."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
import transformers as hf
from torch import nn

from autopeft.cost.autocast import MetaAutocast
from autopeft.cost.memory import StepCost, prepared, step_cost
from autopeft.cost.options import Dtype, StepOptions
from autopeft.methods.compose import attach, read_configuration
from autopeft.methods.composite import on_meta
from autopeft.methods.method import AttachContext
from autopeft.models.completions import IGNORED
from autopeft.models.head import TaskKind
from autopeft.models.loading import meta_model, random_model
from autopeft.models.spec import Output, inspect_model
from autopeft.trials.batches import EncodedSplit
from tests.families import FFN, GROUPED, IDS, SHAPE, TEXT
from tests.tiny import ALL, build, data_of
from tests.unit.cost.test_memory import SCRATCH, allocated_at_peak, passing

WRITING: TaskKind = "language_modeling"
#: Heads of their own weights, heads with those of the embeddings, and two ways of reading first.
FAMILIES = ("llama", "gpt2", "gemma", "qwen3", "t5", "bart", "mbart", "gemma2")
OTHERS = (
    *(("ia3", "gpt2"), ("ia3", "t5"), ("bitfit", "llama"), ("bitfit", "bart")),
    *(("prefix", "llama"), ("prefix", "bart"), ("prompt_tuning", "gemma")),
    *(("prompt_tuning", "t5"), ("prompt_tuning", "bart"), ("adalora", "llama")),
    *(("serial_adapter", "qwen3"), ("serial_adapter", "t5"), ("full", "gpt2"), ("full", "t5")),
)
ROWS, TOKENS = 4, 10


def pair(method: str, family: str, options: StepOptions | None = None) -> list[nn.Module]:
    """Return a model on `meta` and a real one with the same attached."""
    options = options or StepOptions()
    models = []
    for device in ("meta", "cpu"):
        base = prepared(build(family, device, WRITING), options)
        spec = inspect_model(base)
        configuration = read_configuration(data_of(method), spec)
        context = AttachContext(spec=spec, total_steps=8, seed=0)
        if device == "meta":
            models.append(on_meta(base, configuration.components, context).train())
        else:
            models.append(attach(base, configuration, context).model.train())
    return models


def both(method: str, family: str, options: StepOptions | None = None) -> list[StepCost]:
    return [step_cost(model, ROWS, TOKENS, options) for model in pair(method, family, options)]


@pytest.mark.parametrize(("method", "family"), [*(("lora", f) for f in FAMILIES), *OTHERS])
def test_meta_counts_what_a_real_step_costs(method: str, family: str) -> None:
    predicted, made = both(method, family)
    assert predicted == made
    assert made.flops > 0


@pytest.mark.parametrize("config", [hf.MixtralConfig, hf.Qwen3MoeConfig])
def test_a_model_with_experts(config: Callable[..., Any]) -> None:
    experts = {"num_experts": 4, "num_local_experts": 4, "num_experts_per_tok": 2}
    shape = {**SHAPE, **FFN, **TEXT, **IDS, **GROUPED, **experts, "moe_intermediate_size": 64}
    costs = []
    for device in ("meta", "cpu"):
        with torch.device(device):
            base = random_model(config(**shape), WRITING).requires_grad_(False)
        spec = inspect_model(base)
        context = AttachContext(spec=spec, total_steps=8, seed=0)
        model = attach(base, read_configuration(data_of("lora"), spec), context).model
        costs.append(step_cost(model.train(), ROWS, TOKENS))
    predicted, made = costs
    where_experts_begin = 2 * 4 * 4  # layers, experts, bytes
    kept = replace(predicted.memory, activations=predicted.memory.activations + where_experts_begin)
    assert abs(kept.total - made.memory.total) <= SCRATCH
    assert replace(kept, transient=0) == replace(made.memory, transient=0)
    # torch counts no products with experts on a CPU: two layers, each token's two experts, gate, up
    # and down, forward and to what came before.
    missing = 2 * (2 * ROWS * TOKENS) * 3 * (2 * 32 * 64) * 2
    assert predicted.flops - made.flops == missing


@pytest.mark.parametrize(
    ("method", "family"), [("lora", "llama"), ("prompt_tuning", "t5"), ("lora", "bart")]
)
def test_layers_that_are_computed_again(method: str, family: str) -> None:
    again, made = both(method, family, StepOptions(gradient_checkpointing=True))
    assert again == made
    at_once, _ = both(method, family)
    assert again.memory.activations < at_once.memory.activations


@pytest.mark.parametrize(
    ("method", "family"), [("full", "llama"), ("lora", "gpt2"), ("prefix", "t5")]
)
def test_autocast_keeps_what_a_real_one_keeps(method: str, family: str) -> None:
    meta, real = pair(method, family)
    predicted = step_cost(meta, ROWS, TOKENS, cast=MetaAutocast("cpu"))
    cast = torch.autocast("cpu", dtype=torch.bfloat16)
    assert predicted == step_cost(real, ROWS, TOKENS, cast=cast)


@pytest.mark.parametrize("family", ["llama", "bart"])
def test_the_allocator_sees_no_more_for_a_batch_of_a_trial(family: str) -> None:
    meta, real = pair("lora", family)
    batch = batch_of(family)

    def step() -> None:
        real(**batch).loss.backward()

    peak = allocated_at_peak(step)
    predicted = passing(step_cost(meta, ROWS, TOKENS).memory)
    inputs = sum(tensor.untyped_storage().nbytes() for tensor in batch.values())
    # The batch is there before a step of a trial and is made within one that is predicted.
    assert predicted - inputs <= peak <= predicted + SCRATCH


def batch_of(family: str) -> dict[str, torch.Tensor]:
    """Return rows as a trial trains on them: of two lengths, with prompts, the longest as long."""
    lengths = [TOKENS] * (ROWS - 1) + [TOKENS - 1]
    starts = np.cumsum([0, *lengths])
    ids = np.full(starts[-1], 5, dtype=np.int32)
    labels = ids.copy()
    output: Output = "target_tokens" if family == "bart" else "next_tokens"
    if output == "next_tokens":
        labels[starts[:-1]] = IGNORED
    split = EncodedSplit(
        columns={"input_ids": ids, "attention_mask": np.ones_like(ids)},
        starts=starts,
        labels=labels,
        label_starts=starts,
        pad_token_id=0,
        regression=False,
        output=output,
    )
    return split.batch(range(ROWS), torch.device("cpu"))


@pytest.mark.parametrize(
    ("family", "dtype", "n_bytes"),
    # Llama's loss is computed in float32, T5's in the type of the logits.
    [("llama", "float32", 4), ("llama", "bf16", 4), ("t5", "float32", 4), ("t5", "bf16", 2)],
)
def test_the_loss_of_many_words_by_hand(family: str, dtype: Dtype, n_bytes: int) -> None:
    """Going backward: logarithms of shares, their gradients, and those of the logits."""
    config = ALL[family]()
    config.vocab_size = 5000
    options = StepOptions(dtype=dtype)
    base = prepared(meta_model(config, WRITING), options)
    spec = inspect_model(base)
    components = read_configuration(data_of("lora"), spec).components
    model = on_meta(base, components, AttachContext(spec=spec, total_steps=8, seed=0)).train()
    memory = step_cost(model, ROWS, TOKENS, options).memory
    by_hand = 3 * n_bytes * ROWS * TOKENS * config.vocab_size
    assert 0 <= memory.loss - by_hand <= 8 * (ROWS * (TOKENS + 1) + 1)  # labels, moved by one
    assert memory.loss > memory.total / 2


@pytest.mark.parametrize("family", ["llama", "t5"])
def test_nothing_attached_takes_less_than_whatever_is(family: str) -> None:
    """Nothing trains, not even a head: a reference for what memory a search could save."""
    base = build(family, "meta", WRITING)
    nothing = step_cost(base.train(), 1, TOKENS)
    assert (nothing.memory.gradients, nothing.memory.optimizer) == (0, 0)
    for method in ("ia3", "prompt_tuning"):
        attached, _ = pair(method, family)
        other = step_cost(attached, 1, TOKENS)
        assert nothing.memory.total < other.memory.total
        assert nothing.flops < other.flops
