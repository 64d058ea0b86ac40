"""What `meta` says of a step equals what a real step does, byte for byte."""

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
from torch import nn
from torch._C._profiler import _EventType
from torch.autograd.graph import saved_tensors_hooks
from torch.profiler import ProfilerActivity, profile

from autopeft.cost.cost import CostModel
from autopeft.cost.forward import MetaForward, forward
from autopeft.cost.live import LiveBytes, dense_parts, storage_key
from autopeft.cost.memory import MemoryEstimate, held_tensors, step_cost
from autopeft.methods.compose import attach, read_configuration
from autopeft.methods.composite import on_meta
from autopeft.methods.method import AttachContext
from autopeft.models.spec import ModelSpec, inspect_model
from autopeft.space.configuration import Configuration
from tests.contracts.test_methods import CASES
from tests.tiny import build, data_of

#: On a real device torch counts a product with a sparse matrix as if that were dense.
SPARSE = {"frod"}
#: peft keeps indices of these beside parameters and buffers.
KEEPS_INDICES = {"adamss", "fourierft", "shira", "waveft"}
#: The allocator sees every case of this family: it is slow to ask.
PROFILED = "bert"
#: What kernels of a CPU take for themselves, in bytes: partial sums of reductions and the like.
SCRATCH = 256
ROWS, TOKENS = 4, 10


def pair(data: dict[str, Any], family: str) -> tuple[nn.Module, nn.Module, ModelSpec]:
    """Return a real model and one on `meta` with the same attached."""
    base = build(family)
    spec = inspect_model(base)
    configuration = read_configuration(data, spec)
    context = AttachContext(spec=spec, total_steps=8, seed=0)
    bare = build(family, "meta").requires_grad_(requires_grad=False)
    meta = on_meta(bare, configuration.components, context)
    return attach(base, configuration, context).model.train(), meta.train(), spec


def registered_bytes(model: nn.Module) -> int:
    """Return the bytes of parameters and buffers, every storage once."""
    storages = [tensor.untyped_storage() for tensor in (*model.parameters(), *model.buffers())]
    return sum({storage.data_ptr(): storage.nbytes() for storage in storages}.values())


def passing(memory: MemoryEstimate) -> int:
    """Return the bytes that come and go with a step."""
    return memory.total - memory.weights - memory.optimizer


def step(model: nn.Module) -> None:
    forward(model, ROWS, TOKENS).loss.backward()


def allocated_at_peak(run: Callable[[], object]) -> int:
    """Return the most that a CPU's allocator had given out at any time."""
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        run()
    events: list[tuple[int, int, int]] = []

    def collect(nodes: Any) -> None:
        for node in nodes:
            if node.tag == _EventType.Allocation:
                fields = node.extra_fields
                events.append((node.start_time_ns, fields.ptr, fields.alloc_size))
            collect(node.children)

    collect(profiler.profiler.kineto_results.experimental_event_tree())
    live: dict[int, int] = {}
    peak = 0
    for _, address, size in sorted(events, key=lambda event: event[0]):
        if size > 0:
            live[address] = size
            peak = max(peak, sum(live.values()))
        else:
            live.pop(address, None)  # absent: it was there before the run
    return peak


@pytest.mark.filterwarnings("ignore:Sparse CSR")
@pytest.mark.parametrize(("method", "extra", "family"), CASES)
def test_meta_counts_what_a_real_step_costs(
    method: str, extra: dict[str, str], family: str
) -> None:
    real, meta, _ = pair(data_of(method, **extra), family)
    predicted = step_cost(meta, ROWS, TOKENS)
    made = step_cost(real, ROWS, TOKENS)
    assert predicted.memory == made.memory
    beside = predicted.memory.weights - registered_bytes(real)
    assert beside > 0 if method in KEEPS_INDICES else beside == 0
    if method in SPARSE:
        assert 0.8 * made.flops <= predicted.flops <= made.flops
    else:
        assert predicted.flops == made.flops > 0
    if family == PROFILED:
        peak = allocated_at_peak(partial(step, real))
        assert 0 <= peak - passing(predicted.memory) <= SCRATCH


@pytest.mark.parametrize("data", [{"method": "full"}, {"method": "lora", "layers": "last:1"}])
def test_gradients_that_were_there_before(data: dict[str, Any]) -> None:
    real, meta, _ = pair(data, "bert")
    step(real)
    before = sum(4 * p.numel() for p in real.parameters() if p.grad is not None)
    peak = before + allocated_at_peak(partial(step, real))
    predicted = passing(step_cost(meta, ROWS, TOKENS, accumulates=True).memory)
    assert 0 <= peak - predicted <= SCRATCH
    assert predicted > passing(step_cost(meta, ROWS, TOKENS).memory)


@pytest.mark.parametrize("family", ["bert", "llama", "t5", "vit"])
def test_activations_are_what_autograd_saves(family: str) -> None:
    real, meta, _ = pair({"method": "lora"}, family)
    live = LiveBytes(held_tensors(meta))
    with MetaForward(), live:
        output = forward(meta, ROWS, TOKENS)
        live.mark(output.loss, "loss")
        live.mark(output.logits, "loss")
        live.mark_rest("activations")
    assert output.loss.requires_grad
    # All that is alive between forward and backward, but the inputs and what they were made into.
    others = live.now["activations"] - saved_bytes(real)
    assert 0 <= others <= 4 * 8 * ROWS * TOKENS


def saved_bytes(model: nn.Module) -> int:
    """Return the bytes that autograd asks to keep in a forward, every storage once."""
    own = {storage_key(tensor) for tensor in held_tensors(model)}
    storages: dict[int, int] = {}
    kept: list[torch.Tensor] = []  # so that no storage's identity is used twice

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        for part in dense_parts(tensor):
            kept.append(part)
            storages[storage_key(part)] = part.untyped_storage().nbytes()
        return tensor

    with saved_tensors_hooks(pack, lambda tensor: tensor):
        forward(model, ROWS, TOKENS)
    return sum(size for key, size in storages.items() if key not in own)


def test_the_optimizers_step_is_a_peak_of_its_own() -> None:
    """Where all weights train and the batch is small, it is the peak; here measured on torch's."""
    spec = inspect_model(build("bert", "meta"))
    memory = memory_of(read_configuration({"method": "full"}, spec), spec, rows=1, tokens=1)
    model = build("bert").requires_grad_(requires_grad=True)
    parameters = list(model.parameters())
    optimizer = torch.optim.AdamW(parameters, foreach=True)
    for parameter in parameters:
        parameter.grad = torch.ones_like(parameter)
    optimizer.step()  # makes the states
    scratch = allocated_at_peak(optimizer.step)
    n_bytes = 4 * (spec.base_params + spec.head_params)
    assert memory.gradients == n_bytes
    assert memory.optimizer == 2 * n_bytes
    # Beside the copy of all, foreach takes a few numbers a tensor.
    assert memory.transient <= scratch <= memory.transient + 64 * len(parameters)


def memory_of(
    configuration: Configuration, spec: ModelSpec, *, rows: int, tokens: int
) -> MemoryEstimate:
    context = AttachContext(spec=spec, total_steps=8, seed=0)
    bare = build("bert", "meta").requires_grad_(requires_grad=False)
    return step_cost(on_meta(bare, configuration.components, context), rows, tokens).memory


def test_fewer_layers_and_shorter_inputs_take_less() -> None:
    spec = inspect_model(build("bert", "meta"))

    def total(layers: str, seq_length: int) -> int:
        configuration = read_configuration({"method": "lora", "layers": layers}, spec)
        costs = CostModel(spec, lambda: build("bert", "meta"), seq_length)
        return costs.memory(configuration).total

    assert total("last:1", 16) < total("all", 16)
    assert total("all", 8) < total("all", 16)
