"""Prefix tuning (Li and Liang 2021, arXiv 2101.00190) at every chosen layer.

peft's own cannot choose layers and refuses several encoders. Here keys and values are put in front
of the model's own inside the attention function (`prefix_attention.py`): no fork, no shift of the
positions, and nothing changes where a layer has no prefix.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch
from torch import nn
from torch.utils.hooks import RemovableHandle
from transformers import PreTrainedModel

from autopeft.methods.gate import GATE, UNMASKED, Gate, Tokens, gate_of, gate_parameters, is_gated
from autopeft.methods.inserted import InputReader, InsertedMethod, Insertion, Reparametrised
from autopeft.methods.method import MethodInfo, choice_parameter, int_parameter
from autopeft.methods.prefix_attention import CHILD, GATE_CHILD, IMPLEMENTATION
from autopeft.models.spec import ModelSpec, ModuleSpec
from autopeft.space.configuration import Component


class PrefixTuning(InsertedMethod):
    """softmax(Q [P_k; K]^T) [P_v; V] with l trained keys and values at each chosen layer.

    With a gate (UniPELT, arXiv 2110.07577) G(x) P_k and G(x) P_v, x what the projection to the keys
    reads.
    """

    info = MethodInfo(
        name="prefix",
        family="prompt",
        about="Trained keys and values in front of the model's own.",
        default_learning_rate=1e-2,
        default_targets=("attn.k", "attn.v", "attn.qkv"),
        kinds=("attn.k", "attn.v", "attn.qkv"),
        module_types=("linear", "conv1d"),
        parameters=(
            int_parameter("length", 1, 16384, 12, "prefix length l", log=True, searched_to=768),
            choice_parameter(
                "mlp_width", (0, 32, 128, 512), 0, "hidden width of the training network; 0: none"
            ),
            GATE,
        ),
        mergeable=False,
        maskable=True,
        unmasked=UNMASKED,
        starts_at_base=False,
        target_choices=("attn.kv",),
    )

    def count_parameters(self, component: Component, spec: ModelSpec) -> int:
        length, width = int(component.param("length")), int(component.param("mlp_width"))
        places = [sum(widths) for widths in self._places(component, spec).values()]
        gates = self.count_unmasked(component, spec)
        if not width:
            return length * sum(places) + gates
        read = length * spec.hidden_size + width * (spec.hidden_size + 1)
        return sum(read + (width + 1) * written for written in places) + gates

    def count_unmasked(self, component: Component, spec: ModelSpec) -> int:
        return sum(gate_parameters(m.in_features) for m in self._read(component, spec).values())

    def exported(self, component: Component) -> Component:
        return replace(component, params=tuple({**dict(component.params), "mlp_width": 0}.items()))

    def obstacle(self, component: Component, spec: ModelSpec) -> str | None:
        if not spec.attention_interface:
            return (
                f"{spec.family}'s attention does not go through transformers' interface to scaled "
                "dot-product attention, where prefixes go in"
            )
        if any(None in widths for widths in self._widths(component, spec).values()):
            return "prefix needs keys and values of the same attention: targets attn.kv"
        if component.param("mlp_width") and dict(component.params).get("density", 1.0) != 1:
            return (
                "prefix's training network makes dense keys and values, so that no density can be "
                "kept: set mlp_width to 0"
            )
        return None

    def insert(self, model: PreTrainedModel, component: Component, spec: ModelSpec) -> Insertion:
        length, width = int(component.param("length")), int(component.param("mlp_width"))
        device = next(model.parameters()).device
        modules: dict[str, nn.Module] = {}
        for place, (d_key, d_value) in self._places(component, spec).items():
            plain: nn.Module = KeyValues(length, d_key, d_value)
            if width:
                plain = KeyValueNetwork(length, spec.hidden_size, width, d_key, d_value)
            modules[f"{place}.{CHILD}"] = plain.to(device)
        if not is_gated(component):
            return PrefixInsertion(model, modules)
        tokens = Tokens(model)
        for place, module in self._read(component, spec).items():
            reader = InputReader(model.get_submodule(module.name))
            gate = PrefixGate(gate_of(module, module.in_features, tokens, spec), reader.memory)
            modules |= {module.name: reader, f"{place}.{GATE_CHILD}": gate.to(device)}
        return PrefixInsertion(model, modules, [tokens.hook])

    def _read(self, component: Component, spec: ModelSpec) -> dict[str, ModuleSpec]:
        """Return the modules whose input the gates read, by the name of the attention module."""
        chosen = self.info.select(component, spec) if is_gated(component) else []
        return {_place(m): m for m in chosen if m.kind != "attn.v"}

    def _places(self, component: Component, spec: ModelSpec) -> dict[str, tuple[int, int]]:
        """Return the widths of keys and values by the name of the attention module."""
        return {
            place: (key, value)
            for place, (key, value) in self._widths(component, spec).items()
            if key is not None and value is not None
        }

    def _widths(
        self, component: Component, spec: ModelSpec
    ) -> dict[str, tuple[int | None, int | None]]:
        """Return the same, `None` where a projection is not chosen or its width not known."""
        outputs = {_place(m): m.in_features for m in spec.modules if m.kind == "attn.o"}
        found: dict[str, dict[str, int | None]] = {}
        for module in self.info.select(component, spec):
            widths = found.setdefault(_place(module), {})
            if module.kind == "attn.qkv":
                width = _fused_width(module, outputs.get(_place(module)))
                widths |= {"attn.k": width, "attn.v": width}
            else:
                widths[module.kind] = module.out_features
        return {place: (w.get("attn.k"), w.get("attn.v")) for place, w in found.items()}


def _place(module: ModuleSpec) -> str:
    return module.name.rpartition(".")[0]


def _fused_width(module: ModuleSpec, query_width: int | None) -> int | None:
    """Return the width of the keys in a fused projection, as wide as the values.

    With grouped queries they are narrower than the queries, whose width is what the attention's
    output projection reads.
    """
    return None if query_width is None else (module.out_features - query_width) // 2


class KeyValues(nn.Module):
    """Trained keys (l, d_k) and values (l, d_v) of one attention module."""

    def __init__(self, length: int, d_key: int, d_value: int) -> None:
        super().__init__()
        self.key = nn.Parameter(0.02 * torch.randn(length, d_key))
        self.value = nn.Parameter(0.02 * torch.randn(length, d_value))

    def forward(self) -> tuple[torch.Tensor, torch.Tensor]:
        return self.key, self.value


class KeyValueNetwork(Reparametrised):
    """Keys and values as W_2 tanh(W_1 e + b_1) + b_2 of trained vectors e (section 4.3).

    Only the training needs the network: what it gives is written as a plain prefix.
    """

    def __init__(self, length: int, d_in: int, width: int, d_key: int, d_value: int) -> None:
        super().__init__()
        self.embedding = nn.Parameter(torch.randn(length, d_in))
        self.read = nn.Linear(d_in, width)
        self.write = nn.Linear(width, d_key + d_value)
        self._widths = (d_key, d_value)

    def forward(self) -> tuple[torch.Tensor, torch.Tensor]:
        key, value = self.write(torch.tanh(self.read(self.embedding))).split(self._widths, dim=-1)
        return key, value

    def folded(self) -> dict[str, torch.Tensor]:
        key, value = self()
        return {"key": key, "value": value}


class PrefixGate(nn.Module):
    """The gate of one attention module's prefix."""

    def __init__(self, gate: Gate, memory: list[torch.Tensor]) -> None:
        super().__init__()
        self.input_gate = gate
        self._memory = memory
        self._kept: torch.Tensor | None = None

    def forward(self) -> torch.Tensor:
        """Return G of (batch, 1, 1 or q, 1) for what the projection to the keys has read.

        While a text is written, an encoder's states go through that projection once, as their keys
        are kept: so is their gate.
        """
        if self._memory:
            gate: torch.Tensor = self.input_gate(self._memory.pop())[:, None]
            self._kept = None if self.training or self.input_gate.each_token else gate.detach()
            return gate
        assert self._kept is not None
        return self._kept


class PrefixInsertion(Insertion):
    """Prefixes beside attention modules, and the attention function that reads them."""

    def __init__(
        self,
        model: PreTrainedModel,
        modules: Mapping[str, nn.Module],
        hooks: Sequence[RemovableHandle] = (),
    ) -> None:
        super().__init__(model, modules, hooks)
        self._implementation = model.config._attn_implementation  # noqa: SLF001 - transformers' name
        model.set_attn_implementation(IMPLEMENTATION)

    def remove(self, model: PreTrainedModel) -> None:
        super().remove(model)
        model.set_attn_implementation(self._implementation)
