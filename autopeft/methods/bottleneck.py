"""Bottleneck adapters, serial and parallel.

Serial: Houlsby et al. 2019 (arXiv 1902.00751), Pfeiffer et al. 2021 (2005.00247). Parallel: He et
al. 2022 (2110.04366).
"""

from collections.abc import Callable

import torch
from torch import nn
from transformers import PreTrainedModel

from autopeft.methods.gate import GATE, UNMASKED, Gate, Tokens, gate_of, gate_parameters, is_gated
from autopeft.methods.inserted import InputReader, InsertedMethod, Insertion, Wrapper
from autopeft.methods.method import (
    MethodInfo,
    choice_parameter,
    float_parameter,
    int_parameter,
)
from autopeft.models.spec import ModelSpec, ModuleSpec
from autopeft.space.configuration import Component

ACTIVATIONS: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "relu": nn.functional.relu,
    "gelu": nn.functional.gelu,
    "tanh": torch.tanh,
}
_SHARED = (
    int_parameter(
        "bottleneck", 1, 16384, 24, "width of the bottleneck", log=True, searched_to=1024
    ),
    choice_parameter("activation", tuple(ACTIVATIONS), "relu", "between down and up"),
    GATE,
)


class Bottleneck(nn.Module):
    """a(h) = up(f(down(h))), both with biases; up starts at zero, so a(h) = 0.

    With a gate G(h) a(h) (UniPELT, arXiv 2110.07577): the gate reads what the adapter reads.

    Shapes: (..., d_in) to (..., d_out), down of (b, d_in), up of (d_out, b).
    """

    def __init__(
        self, d_in: int, d_out: int, width: int, activation: str, gate: Gate | None = None
    ) -> None:
        super().__init__()
        self.down = nn.Linear(d_in, width)
        self.up = nn.Linear(width, d_out)
        self._activation = ACTIVATIONS[activation]
        nn.init.zeros_(self.up.weight)
        nn.init.zeros_(self.up.bias)
        self.input_gate = gate

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        result: torch.Tensor = self.up(self._activation(self.down(hidden)))
        return result if self.input_gate is None else self.input_gate(hidden) * result


def bottleneck_parameters(d_in: int, d_out: int, width: int) -> int:
    """Return the parameters of a `Bottleneck` without a gate."""
    return width * (d_in + d_out) + width + d_out


class SerialAdapter(InsertedMethod):
    """h <- h + a(h) on the output h of a sublayer, before the residual sum.

    With a gate h + G(h) a(h), G read from that same h.

    `mlp.down` alone is Pfeiffer's placement, `attn.o+mlp.down` Houlsby's.
    """

    info = MethodInfo(
        name="serial_adapter",
        family="adapter",
        about="Bottleneck adapter after a sublayer.",
        default_learning_rate=1e-3,
        default_targets=("mlp.down",),
        kinds=("attn.o", "mlp.down"),
        module_types=("linear", "conv1d"),
        parameters=_SHARED,
        mergeable=False,
        maskable=True,
        unmasked=UNMASKED,
        target_choices=("mlp.down", "attn.o", "attn.o+mlp.down"),
    )

    def count_parameters(self, component: Component, spec: ModelSpec) -> int:
        width = int(component.param("bottleneck"))
        modules = self.info.select(component, spec)
        own = sum(bottleneck_parameters(m.out_features, m.out_features, width) for m in modules)
        return own + self.count_unmasked(component, spec)

    def count_unmasked(self, component: Component, spec: ModelSpec) -> int:
        modules = self.info.select(component, spec) if is_gated(component) else []
        return sum(gate_parameters(m.out_features) for m in modules)

    def insert(self, model: PreTrainedModel, component: Component, spec: ModelSpec) -> Insertion:
        tokens = Tokens(model) if is_gated(component) else None
        modules = {}
        for m in self.info.select(component, spec):
            gate = gate_of(m, m.out_features, tokens, spec) if tokens else None
            adapter = _bottleneck(component, m.out_features, m.out_features, gate)
            modules[m.name] = SerialModule(model.get_submodule(m.name), adapter)
        return Insertion(model, modules, [tokens.hook] if tokens else [])


class SerialModule(Wrapper):
    """A sublayer's last linear module, then the adapter."""

    def __init__(self, base_layer: nn.Module, adapter: Bottleneck) -> None:
        super().__init__(base_layer)
        self.adapter = adapter.to(next(base_layer.parameters()).device)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        hidden: torch.Tensor = self.base_layer(x)
        result: torch.Tensor = hidden + self.adapter(hidden)
        return result


class ParallelAdapter(InsertedMethod):
    """FFN(x) + s a(x): the adapter reads what the feed-forward block reads.

    With a gate FFN(x) + s G(x) a(x).
    """

    info = MethodInfo(
        name="parallel_adapter",
        family="adapter",
        about="Bottleneck adapter beside the feed-forward block.",
        default_learning_rate=1e-3,
        default_targets=("mlp.up", "mlp.gate_up", "mlp.down"),
        kinds=("mlp.up", "mlp.gate_up", "mlp.down"),
        module_types=("linear", "conv1d"),
        parameters=(*_SHARED, float_parameter("scale", 0.25, 8.0, 4.0, "factor s", log=True)),
        mergeable=False,
        maskable=True,
        unmasked=UNMASKED,
        target_choices=("mlp",),
    )

    def count_parameters(self, component: Component, spec: ModelSpec) -> int:
        width = int(component.param("bottleneck"))
        own = sum(
            bottleneck_parameters(first.in_features, last.out_features, width)
            for first, last in self._blocks(component, spec)
        )
        return own + self.count_unmasked(component, spec)

    def count_unmasked(self, component: Component, spec: ModelSpec) -> int:
        blocks = self._blocks(component, spec) if is_gated(component) else []
        return sum(gate_parameters(first.in_features) for first, _ in blocks)

    def obstacle(self, component: Component, spec: ModelSpec) -> str | None:
        firsts, lasts = self._ends(component, spec)
        if [m.layer for m in firsts] != [m.layer for m in lasts]:
            return (
                "parallel_adapter needs one first and one last linear module of each feed-forward "
                "block: targets mlp"
            )
        return None

    def insert(self, model: PreTrainedModel, component: Component, spec: ModelSpec) -> Insertion:
        tokens = Tokens(model) if is_gated(component) else None
        modules: dict[str, nn.Module] = {}
        for first, last in self._blocks(component, spec):
            reader = InputReader(model.get_submodule(first.name))
            gate = gate_of(first, first.in_features, tokens, spec) if tokens else None
            modules[first.name] = reader
            modules[last.name] = ParallelModule(
                model.get_submodule(last.name),
                _bottleneck(component, first.in_features, last.out_features, gate),
                reader.memory,
                float(component.param("scale")),
            )
        return Insertion(model, modules, [tokens.hook] if tokens else [])

    def _blocks(self, component: Component, spec: ModelSpec) -> list[tuple[ModuleSpec, ModuleSpec]]:
        """Return the first and the last linear module of each chosen feed-forward block."""
        return list(zip(*self._ends(component, spec), strict=True))

    def _ends(
        self, component: Component, spec: ModelSpec
    ) -> tuple[list[ModuleSpec], list[ModuleSpec]]:
        chosen = self.info.select(component, spec)
        lasts = [m for m in chosen if m.kind == "mlp.down"]
        return [m for m in chosen if m.kind != "mlp.down"], lasts


class ParallelModule(Wrapper):
    """The last linear module of a block, plus the adapter on the block's input."""

    def __init__(
        self, base_layer: nn.Module, adapter: Bottleneck, memory: list[torch.Tensor], scale: float
    ) -> None:
        super().__init__(base_layer)
        self.adapter = adapter.to(next(base_layer.parameters()).device)
        self._memory = memory
        self._scale = scale

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        block_input = self._memory.pop()
        result: torch.Tensor = self.base_layer(x) + self._scale * self.adapter(block_input)
        return result


def _bottleneck(component: Component, d_in: int, d_out: int, gate: Gate | None) -> Bottleneck:
    """Return a fresh adapter."""
    width, activation = int(component.param("bottleneck")), str(component.param("activation"))
    return Bottleneck(d_in, d_out, width, activation, gate)
