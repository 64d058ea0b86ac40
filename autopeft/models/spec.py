"""`ModelSpec`: what can be known of a model from its config alone, on the `meta` device."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

import torch
from torch import nn
from transformers import PreTrainedModel

from autopeft.errors import ModelError
from autopeft.models.architectures import KNOWN, layer_path, linear_kind, norm_kind

ModuleType = Literal["linear", "conv1d", "norm", "embedding"]
Output = Literal["labels", "next_tokens", "target_tokens"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ModuleSpec:
    """One module that a method can change.

    Attributes:
        name: Path in the task model, such as `bert.encoder.layer.0.attention.self.query`.
        kind: Module kind of `space.targets.KINDS`.
        layer: Number of its layer from 0, the decoder's after the encoder's; `None` outside the
            layers.
        type: `linear`, `conv1d` (GPT-2's transposed linear), `norm` or `embedding`.
        in_features: Width of the input; of an embedding the vocabulary.
        out_features: Width of the output.
        has_bias: Whether it has a bias.
        scaled: Whether it multiplies what it has looked up by a constant (Gemma's embeddings).
        shared_by: Paths of other modules with the same weight (T5's embeddings, tied output heads).
    """

    name: str
    kind: str
    layer: int | None
    type: ModuleType
    in_features: int
    out_features: int
    has_bias: bool
    scaled: bool = False
    shared_by: tuple[str, ...] = ()

    @property
    def n_parameters(self) -> int:
        """Number of weights of the module itself."""
        weights = self.in_features * (1 if self.type == "norm" else self.out_features)
        return weights + (self.out_features if self.has_bias else 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelSpec:
    """A model with the head of a task, without its weights.

    Attributes:
        family: `model_type` of the config, such as `bert`.
        hidden_size: Width of the residual stream.
        n_layers: Number of transformer layers, encoder and decoder together.
        modules: What methods can change, in forward order.
        head_modules: Names of the modules of the task head, which every trial trains; a model
            that writes text keeps the head that it came with, frozen like the rest.
        base_params: Number of parameters of the backbone, and of a head that is kept.
        head_params: Number of parameters of the head that trains.
        output: What the model gives: numbers for `labels`, or for every word of its vocabulary,
            after each token of the input (`next_tokens`, a decoder) or of a text that goes with
            it (`target_tokens`, an encoder with a decoder).
        max_length: Longest input in tokens, or `None` if the config names no limit.
        reads: `tokens` or `pixels`.
        attention_interface: Whether the attention goes through transformers' interface to scaled
            dot-product attention.
        notes: What the user should know about how this was read, a sentence each.
    """

    family: str
    hidden_size: int
    n_layers: int
    modules: tuple[ModuleSpec, ...]
    head_modules: tuple[str, ...]
    base_params: int
    head_params: int
    output: Output
    max_length: int | None
    reads: Literal["tokens", "pixels"]
    attention_interface: bool
    notes: tuple[str, ...]

    def select(self, targets: Iterable[str], layers: Iterable[int]) -> list[ModuleSpec]:
        """Return the modules of these kinds in these layers, and those outside all layers."""
        kinds, numbers = set(targets), set(layers)
        return [
            m for m in self.modules if m.kind in kinds and (m.layer is None or m.layer in numbers)
        ]

    @property
    def embedding_size(self) -> int | None:
        """Width of a token's embedding, which may be narrower; `None` without tokens."""
        return next((m.out_features for m in self.modules if m.kind == "embed.tokens"), None)

    @property
    def first_stack(self) -> int:
        """Number of layers of the first stack: the encoder's, where there is a decoder as well."""
        stack_of = {
            module.layer: str(layer_path(module.name)).rpartition(".")[0]
            for module in self.modules
            if module.layer is not None
        }
        return list(stack_of.values()).count(stack_of[0])

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
    output = output_of(model)
    prefix, backbone = _backbone(model)
    if backbone is model and output == "labels":
        raise ModelError(f"The model {type(model).__name__} has no separate backbone to adapt.")
    inputs = model.get_input_embeddings()
    words = inputs if isinstance(inputs, nn.Embedding) else None  # else patches of an image
    modules = tuple(_module_specs(model, backbone, prefix, words))
    layers = {m.layer for m in modules if m.layer is not None}
    if not layers:
        raise ModelError(f"No numbered layers were found in {type(model).__name__}.")
    head = _head_modules(model, backbone) if output == "labels" else ()
    base_params = _n_params(backbone if output == "labels" else model)
    family = str(config.model_type)
    return ModelSpec(
        family=family,
        hidden_size=int(config.hidden_size),
        n_layers=max(layers) + 1,
        modules=modules,
        head_modules=head,
        base_params=base_params,
        head_params=_n_params(model) - base_params,
        output=output,
        max_length=_max_length(config),
        reads="pixels" if model.main_input_name == "pixel_values" else "tokens",
        attention_interface=_has_attention_interface(model),
        notes=() if family in KNOWN else (_guess(family, prefix, modules),),
    )


def output_of(model: PreTrainedModel) -> Output:
    """Return what a model gives, as `ModelSpec.output`."""
    if model.get_output_embeddings() is None:
        return "labels"
    return "target_tokens" if model.config.is_encoder_decoder else "next_tokens"


def backbone_name(model: PreTrainedModel) -> str:
    """Return the name of a model's backbone in it; T5, where it writes text, is its own: ""."""
    prefix = str(model.base_model_prefix)
    return prefix if isinstance(getattr(model, prefix, None), nn.Module) else ""


def _backbone(model: PreTrainedModel) -> tuple[str, nn.Module]:
    """Return the backbone and what stands before the names of its modules in the model."""
    name = backbone_name(model)
    return f"{name}." if name else "", model.get_submodule(name)


def _head_modules(model: PreTrainedModel, backbone: nn.Module) -> tuple[str, ...]:
    children = model.named_children()
    return tuple(n for n, child in children if child is not backbone and _n_params(child))


def _n_params(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


def _has_attention_interface(model: PreTrainedModel) -> bool:
    # What transformers asks itself before it sets an implementation.
    return bool(model._can_set_attn_implementation() and model._supports_sdpa)  # noqa: SLF001


def _guess(family: str, prefix: str, modules: Iterable[ModuleSpec]) -> str:
    """Return the sentence that tells what an unknown family's modules were taken for."""
    names: dict[str, dict[str, None]] = {}
    for module in modules:
        path = module.name.removeprefix(prefix)
        inside = path.removeprefix(f"{layer_path(path)}.")
        names.setdefault(module.kind, {})[inside] = None
    taken = "; ".join(f"{kind}: {', '.join(found)}" for kind, found in names.items())
    return (
        f"The architecture '{family}' is not one that autopeft was tested on. Its modules were "
        f"taken by their names: {taken}. Check that before you choose targets."
    )


def layers_of(model: PreTrainedModel) -> list[nn.Module]:
    """Return the transformer layers of a model by their numbers."""
    backbone = model.base_model
    paths = dict.fromkeys(layer_path(name) for name, _ in backbone.named_modules())
    return [backbone.get_submodule(path) for path in paths if path is not None]


def _module_specs(
    model: nn.Module, backbone: nn.Module, prefix: str, words: nn.Embedding | None
) -> Iterator[ModuleSpec]:
    names = [name for name, _ in backbone.named_modules()]
    layers = [path for name in names if (path := layer_path(name)) is not None]
    numbers = {path: number for number, path in enumerate(dict.fromkeys(layers))}
    with_own_norms = {layer_path(name) for name in names if name.endswith("feedforward_layernorm")}
    for name, module in backbone.named_modules():
        path = layer_path(name)
        layer = None if path is None else numbers[path]
        path_in_model = f"{prefix}{name}"
        if module is words:
            others = [n for n in _with_weight(model, words.weight) if n != path_in_model]
            yield _embedding_spec(path_in_model, words, tuple(others))
        elif isinstance(module, nn.Linear) or type(module).__name__ == "Conv1D":
            if layer is not None:  # poolers, token projections: outside the layers, never adapted
                yield _linear_spec(path_in_model, linear_kind(name), module, layer)
        elif _is_norm(module):
            kind = norm_kind(
                name, in_layer=layer is not None, feedforward_has_own=path in with_own_norms
            )
            yield _norm_spec(path_in_model, kind, module, layer)


def _with_weight(model: nn.Module, weight: nn.Parameter) -> list[str]:
    parameters = model.named_parameters(remove_duplicate=False)
    return [name.removesuffix(".weight") for name, parameter in parameters if parameter is weight]


def _embedding_spec(path: str, module: nn.Embedding, shared_by: tuple[str, ...]) -> ModuleSpec:
    return ModuleSpec(
        name=path,
        kind="embed.tokens",
        layer=None,
        type="embedding",
        in_features=module.num_embeddings,
        out_features=module.embedding_dim,
        has_bias=False,
        scaled=type(module) is not nn.Embedding,
        shared_by=shared_by,
    )


def _linear_spec(path: str, kind: str, module: nn.Module, layer: int) -> ModuleSpec:
    linear = isinstance(module, nn.Linear)
    weight: torch.Tensor = module.weight  # type: ignore[assignment]  # torch types it loosely
    n_out, n_in = weight.shape if linear else weight.shape[::-1]
    return ModuleSpec(
        name=path,
        kind=kind,
        layer=layer,
        type="linear" if linear else "conv1d",
        in_features=n_in,
        out_features=n_out,
        has_bias=_has_bias(module),
    )


def _norm_spec(path: str, kind: str, module: nn.Module, layer: int | None) -> ModuleSpec:
    width = module.weight.numel()  # type: ignore[operator]  # torch types it loosely
    return ModuleSpec(
        name=path,
        kind=kind,
        layer=layer,
        type="norm",
        in_features=width,
        out_features=width,
        has_bias=_has_bias(module),
    )


def _has_bias(module: nn.Module) -> bool:
    return getattr(module, "bias", None) is not None


def _is_norm(module: nn.Module) -> bool:
    weight = getattr(module, "weight", None)
    named = "norm" in type(module).__name__.lower()
    return named and isinstance(weight, torch.Tensor) and weight.dim() == 1


def _max_length(config: object) -> int | None:
    length = getattr(config, "max_position_embeddings", None) or getattr(
        config, "n_positions", None
    )
    if length is None or int(length) <= 0:  # XLNet says -1
        return None
    # RoBERTa counts positions from pad_token_id + 1, so two of them hold no token.
    if getattr(config, "model_type", "") in {"roberta", "xlm-roberta", "camembert", "mpnet"}:
        return int(length) - int(getattr(config, "pad_token_id", 1) or 0) - 1
    return int(length)
