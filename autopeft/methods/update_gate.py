"""UniPELT's gate on LoRA (Mao et al. 2022, arXiv 2110.07577), around any update of peft's."""

import torch
from torch import nn
from transformers import PreTrainedModel

from autopeft.methods.gate import Gate, Tokens, gate_of, gate_parameters
from autopeft.methods.inserted import InsertedMethod, Insertion, Wrapper
from autopeft.methods.method import MethodInfo
from autopeft.models.spec import ModelSpec
from autopeft.space.configuration import Component
from autopeft.space.targets import GROUPS


class UpdateGate(InsertedMethod):
    """y = f(x) + G(x) (g(x) - f(x)): f is the model's module, g what peft makes of it.

    With LoRA that is W x + G(x) s B A x. The original has G in the place of s: `alpha_over_rank`
    1. The gate reads x, what enters the module. f runs twice, once of its own and once within g,
    because peft does not give away what it adds.
    """

    info = MethodInfo(
        name="update_gate",
        family="scaling",
        about="Gate, read from the input, on what a component of peft adds to the same modules.",
        default_learning_rate=1e-2,
        default_targets=GROUPS["attn.qv"],
        kinds=GROUPS["linear"],
        module_types=("linear", "conv1d"),
        parameters=(),
        mergeable=False,
        goes_alone=False,
    )

    def count_parameters(self, component: Component, spec: ModelSpec) -> int:
        return sum(gate_parameters(m.in_features) for m in self.info.select(component, spec))

    def insert(self, model: PreTrainedModel, component: Component, spec: ModelSpec) -> Insertion:
        tokens = Tokens(model)
        modules = {
            m.name: GatedUpdate(
                model.get_submodule(m.name), gate_of(m, m.in_features, tokens, spec)
            )
            for m in self.info.select(component, spec)
        }
        return Insertion(model, modules, [tokens.hook])


class GatedUpdate(Wrapper):
    """A module of peft's, which holds the model's own, and the gate on their difference."""

    def __init__(self, base_layer: nn.Module, gate: Gate) -> None:
        super().__init__(base_layer)
        self.input_gate = gate.to(next(base_layer.parameters()).device)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        own: torch.Tensor = self.base_layer.base_layer(x)  # type: ignore[operator]  # torch types it loosely
        result: torch.Tensor = own + self.input_gate(x) * (self.base_layer(x) - own)
        return result
