"""`ModelSpec`: what can be known of a model from its config alone, on the `meta` device."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

import torch
from torch import nn
from transformers import PreTrainedModel

from autopeft.errors import ModelError
from autopeft.models.architectures import in_decoder, layer_number, linear_kind, norm_kind

ModuleType = Literal["linear", "conv1d", "norm"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ModuleSpec:
    """One module that a method can change.

    Attributes:
        name: Path in the task model, such as `bert.encoder.layer.0.attention.self.query`.
        kind: Module kind of `space.targets.KINDS`.
        layer: Number of its layer, the decoder's after the encoder's; `None` outside the layers.
        type: `linear`, `conv1d` (GPT-2's transposed linear) or `norm`.
        in_features: Width of the input.
        out_features: Width of the output.
        has_bias: Whether it has a bias.
    """

    name: str
    kind: str
    layer: int | None
    type: ModuleType
    in_features: int
    out_features: int
    has_bias: bool

    @property
    def n_parameters(self) -> int:
        """Number of weights of the module itself."""
        weights = self.in_features * (1 if self.type == "norm" else self.out_features)
        return weights + (self.out_features if self.has_bias else 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelSpec:
    """A model with a task head, without its weights.

    Attributes:
        family: `model_type` of the config, such as `bert`.
        hidden_size: Width of the residual stream.
        embedding_size: Width of a token's embedding, which may be narrower; `None` without tokens.
        n_layers: Number of transformer layers, encoder and decoder together.
        modules: What methods can change, in forward order.
        head_modules: Names of the modules of the task head, which every trial trains.
        base_params: Number of parameters of the backbone.
        head_params: Number of parameters of the head.
        max_length: Longest input in tokens, or `None` if the config names no limit.
    """

    family: str
    hidden_size: int
    embedding_size: int | None
    n_layers: int
    modules: tuple[ModuleSpec, ...]
    head_modules: tuple[str, ...]
    base_params: int
    head_params: int
    max_length: int | None

    def select(self, targets: Iterable[str], layers: Iterable[int]) -> list[ModuleSpec]:
        """Return the modules of these kinds in these layers, and those outside all layers."""
        kinds, numbers = set(targets), set(layers)
        return [
            m for m in self.modules if m.kind in kinds and (m.layer is None or m.layer in numbers)
        ]

    @property
    def kinds(self) -> tuple[str, ...]:
        """Module kinds that the model has."""
        return tuple(dict.fromkeys(m.kind for m in self.modules))


def inspect_model(model: PreTrainedModel) -> ModelSpec:
    """Read the structure of a transformers model with a task head, on any device.

    Raises:
        ModelError: If the model has no numbered layers or no task head.
    """
    config = model.config
    prefix = str(model.base_model_prefix)
    backbone = getattr(model, prefix, None)
    if backbone is None or backbone is model:
        raise ModelError(f"The model {type(model).__name__} has no separate backbone to adapt.")
    n_encoder = _stack_depth(backbone, decoder=False)
    modules = tuple(_module_specs(backbone, prefix, n_encoder))
    layers = {m.layer for m in modules if m.layer is not None}
    if not layers:
        raise ModelError(f"No numbered layers were found in {type(model).__name__}.")
    head = tuple(n for n, child in model.named_children() if n != prefix and _n_params(child))
    base_params = _n_params(backbone)
    words = model.get_input_embeddings()
    return ModelSpec(
        family=str(config.model_type),
        hidden_size=int(config.hidden_size),
        embedding_size=words.embedding_dim if isinstance(words, nn.Embedding) else None,
        n_layers=max(layers) + 1,
        modules=modules,
        head_modules=head,
        base_params=base_params,
        head_params=_n_params(model) - base_params,
        max_length=_max_length(config),
    )


def _n_params(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


def _stack_depth(backbone: nn.Module, *, decoder: bool) -> int:
    numbers = [
        number
        for name, _ in backbone.named_modules()
        if in_decoder(name) is decoder and (number := layer_number(f"{name}.")) is not None
    ]
    return max(numbers, default=-1) + 1


def _module_specs(backbone: nn.Module, prefix: str, n_encoder: int) -> Iterator[ModuleSpec]:
    for name, module in backbone.named_modules():
        number = layer_number(name)
        if number is not None and in_decoder(name):
            number += n_encoder
        spec = _module_spec(f"{prefix}.{name}", name, module, number)
        if spec is not None:
            yield spec


def _module_spec(path: str, name: str, module: nn.Module, layer: int | None) -> ModuleSpec | None:
    bias = getattr(module, "bias", None) is not None
    if isinstance(module, nn.Linear) or type(module).__name__ == "Conv1D":
        if layer is None:  # poolers, token projections: outside the layers, never adapted
            return None
        linear = isinstance(module, nn.Linear)
        weight: torch.Tensor = module.weight  # type: ignore[assignment]  # torch types it loosely
        n_out, n_in = weight.shape if linear else weight.shape[::-1]
        return ModuleSpec(
            name=path,
            kind=linear_kind(name),
            layer=layer,
            type="linear" if linear else "conv1d",
            in_features=n_in,
            out_features=n_out,
            has_bias=bias,
        )
    weight_1d = getattr(module, "weight", None)
    if isinstance(weight_1d, torch.Tensor) and weight_1d.dim() == 1 and _is_norm(module):
        return ModuleSpec(
            name=path,
            kind=norm_kind(name, in_layer=layer is not None),
            layer=layer,
            type="norm",
            in_features=weight_1d.numel(),
            out_features=weight_1d.numel(),
            has_bias=bias,
        )
    return None


def _is_norm(module: nn.Module) -> bool:
    return "norm" in type(module).__name__.lower()


def _max_length(config: object) -> int | None:
    length = getattr(config, "max_position_embeddings", None) or getattr(
        config, "n_positions", None
    )
    if length is None:
        return None
    # RoBERTa counts positions from pad_token_id + 1, so two of them hold no token.
    if getattr(config, "model_type", "") in {"roberta", "xlm-roberta", "camembert"}:
        return int(length) - int(getattr(config, "pad_token_id", 1) or 0) - 1
    return int(length)
