"""What LoRA's variants and initialisations ask beside peft's config."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from peft import LoraConfig
from torch import nn
from transformers import PreTrainedModel

from autopeft.methods.peft_attachment import PeftAttachment

#: Rows of a module's input that EVA's start is computed from.
MOST_ROWS = 4096


class LoraAttachment(PeftAttachment):
    """LoRA on a model, with its frozen factor, its start, its rates and its penalty."""

    def __init__(  # noqa: PLR0913 - what the variants and starts ask
        self,
        model: PreTrainedModel,
        config: LoraConfig,
        *,
        names: Sequence[str],
        changes_base: bool,
        starts: Mapping[str, torch.Tensor],
        b_rate: float,
        a_seed: int | None,
    ) -> None:
        """Attach.

        Args:
            model: The base model, frozen.
            config: The library's config.
            names: The modules that get a LoRA. The config does not say: of twenty modules and
                more peft keeps the shortest ends of the names.
            changes_base: Whether their weights change too and are to be put back.
            starts: First rows of A by module (EVA).
            b_rate: Learning rate of B by that of A (LoRA+).
            a_seed: If given, A is drawn from this seed and frozen (LoRA-FA).
        """
        super().__init__(model, config, names if changes_base else [])
        # torch types what modules hold loosely
        layers: dict[str, Any] = {name: model.get_submodule(name) for name in names}
        for name, rows in starts.items():
            layers[name].lora_A["default"].weight.data[: len(rows)] = rows
        if a_seed is not None:
            _freeze_a(layers.values(), a_seed)
        self._b_rate = b_rate
        self._all_b = {id(p) for layer in layers.values() for p in layer.lora_B.parameters()}
        self._hook = None
        if config.kasa_config is not None:
            self._hook = model.register_forward_hook(self._add_penalty)
            for layer in layers.values():
                if layer.get_base_layer().weight.is_meta:
                    # peft would wait for values to drop singular ones from.
                    layer._lora_kasa_truncation_deferred.clear()  # noqa: SLF001 - peft's name

    def rate_multiple(self, parameter: nn.Parameter) -> float:
        return self._b_rate if id(parameter) in self._all_b else 1.0

    def detach(self) -> PreTrainedModel:
        if self._hook is not None:
            self._hook.remove()
        return super().detach()

    def _add_penalty(self, base: nn.Module, _inputs: Any, output: Any) -> None:
        """Add KaSA's penalty (equations 9 to 11) to the loss; peft leaves that to the caller."""
        if output.loss is not None and base.training:
            lora: Any = self.model.base_model
            output.loss = output.loss + lora._get_kasa_loss()  # noqa: SLF001 - peft's name


def _freeze_a(layers: Iterable[Any], seed: int) -> None:
    # What does not train is not in every file: drawn from the seed, it can be had again.
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        for layer in layers:
            a = layer.lora_A["default"].weight
            a.data.copy_(nn.init.kaiming_uniform_(torch.empty_like(a, device="cpu"), a=5**0.5))
            a.requires_grad = False


def principal_inputs(
    model: PreTrainedModel,
    names: Sequence[str],
    batches: Iterable[Mapping[str, torch.Tensor]],
    rank: int,
    seed: int,
) -> dict[str, torch.Tensor]:
    """Return the first right singular vectors of each module's inputs (EVA, equation 3).

    Args:
        model: The base model.
        names: Modules.
        batches: Batches of inputs of the model; padding is left out.
        rank: Number of vectors; modules that saw fewer rows get fewer.
        seed: Of the randomised decomposition.

    Returns:
        Matrices of shape (up to `rank`, width of the input), by module.
    """
    rows: dict[str, list[torch.Tensor]] = {name: [] for name in names}
    mask = torch.ones(0)

    def record(name: str, inputs: torch.Tensor) -> None:
        # Cross-attention of an encoder-decoder may see inputs of another length.
        seen = inputs[mask] if inputs.shape[:-1] == mask.shape else inputs.flatten(0, -2)
        rows[name].append(seen[: MOST_ROWS - sum(map(len, rows[name]))].float())

    hooks = [
        model.get_submodule(name).register_forward_pre_hook(
            lambda _module, args, name=name: record(name, args[0])
        )
        for name in names
    ]
    training = model.training
    model.eval()
    with torch.no_grad():
        for batch in batches:
            mask = batch.get("attention_mask", torch.ones(0)).bool()  # images have no padding
            model(**batch)
    model.train(training)
    for hook in hooks:
        hook.remove()
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return {name: _directions(torch.cat(seen), rank) for name, seen in rows.items()}


def _directions(rows: torch.Tensor, rank: int) -> torch.Tensor:
    few = min(rank, *rows.shape)
    # A few more than asked for: the randomised decomposition is exact in the first ones then.
    _, _, right = torch.svd_lowrank(rows, q=min(few + 8, *rows.shape), niter=8)
    return right[:, :few].T.contiguous()
