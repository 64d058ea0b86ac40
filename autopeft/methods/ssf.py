"""SSF (Lian et al. 2022, arXiv 2210.08823): scale and shift of what modules put out."""

import torch
from torch import nn
from transformers import PreTrainedModel

from autopeft.methods.inserted import InsertedMethod, Insertion, Wrapper
from autopeft.methods.method import MethodInfo, choice_parameter
from autopeft.models.spec import ModelSpec
from autopeft.space.configuration import Component
from autopeft.space.targets import GROUPS


class Ssf(InsertedMethod):
    """y = g * f(x) + b for linear modules and normalisations f; g starts at 1, b at 0.

    Equation 3. The shift alone on all of them is BitFit (arXiv 2106.10199) with the biases of the
    normalisations, also where a model has no biases.
    """

    info = MethodInfo(
        name="ssf",
        family="scaling",
        about="Scales and shifts the outputs of linear modules and normalisations.",
        default_learning_rate=3e-3,
        default_targets=(*GROUPS["linear"], *GROUPS["norm"]),
        kinds=(*GROUPS["linear"], *GROUPS["norm.all"]),
        module_types=("linear", "conv1d", "norm"),
        parameters=(
            choice_parameter("part", ("both", "scale", "shift"), "both", "what trains of it"),
        ),
        mergeable=False,
        target_choices=("linear+norm", "linear+norm.all", "linear", "norm.all", "attn.qv"),
    )

    def count_parameters(self, component: Component, spec: ModelSpec) -> int:
        vectors = 2 if component.param("part") == "both" else 1
        return vectors * sum(m.out_features for m in self.info.select(component, spec))

    def insert(self, model: PreTrainedModel, component: Component, spec: ModelSpec) -> Insertion:
        part = str(component.param("part"))
        return Insertion(
            model,
            {
                m.name: ScaledAndShifted(model.get_submodule(m.name), m.out_features, part)
                for m in self.info.select(component, spec)
            },
        )


class ScaledAndShifted(Wrapper):
    """A module, then a scale and a shift of each feature."""

    def __init__(self, base_layer: nn.Module, width: int, part: str) -> None:
        super().__init__(base_layer)
        device = next(base_layer.parameters()).device
        self.scale = None if part == "shift" else nn.Parameter(torch.ones(width, device=device))
        self.shift = None if part == "scale" else nn.Parameter(torch.zeros(width, device=device))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y: torch.Tensor = self.base_layer(x)
        if self.scale is not None:
            y = y * self.scale
        return y if self.shift is None else y + self.shift
