"""What LoRA's variants and initialisations ask beside peft's config."""

import copy
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig
from torch import nn
from transformers import PreTrainedModel

from autopeft.methods.peft_attachment import PeftAttachment


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


class ConvertedLora(LoraAttachment):
    """LoRA whose start W gave up, as only data tell: it is written as a LoRA on the whole W.

    With B0 A0 taken out of W at the start, W' = W + s (B A - B0 A0): a LoRA of rank 2 r with the
    factors [B, -B0] and [A; A0], which needs neither the data nor a changed W.
    """

    def __init__(self, model: PreTrainedModel, config: LoraConfig, **choices: Any) -> None:
        """Attach; the arguments are those of `LoraAttachment`."""
        super().__init__(model, config, **choices)
        self._start = {
            name: tensor.detach().clone()
            for name, tensor in self.model.state_dict().items()
            if ".lora_A." in name or ".lora_B." in name
        }

    def save(self, folder: Path) -> None:
        tensors = dict(self.model.state_dict())
        for name, start in self._start.items():
            first = ".lora_A." in name
            joined = [tensors[name], start if first else -start]
            tensors[name] = torch.cat(joined, dim=0 if first else 1)
        config = self._peft_model.active_peft_config
        plain = copy.copy(config)
        plain.r = 2 * config.r
        # s is alpha / r, and alpha / sqrt(r) in rsLoRA.
        plain.lora_alpha = config.lora_alpha * (math.sqrt(2) if config.use_rslora else 2)
        plain.init_lora_weights = True
        plain.corda_config = plain.lora_ga_config = None
        adapter = self._peft_model.active_adapter
        self._peft_model.peft_config[adapter] = plain
        try:
            self._write(folder, tensors)
        finally:
            self._peft_model.peft_config[adapter] = config


def _freeze_a(layers: Iterable[Any], seed: int) -> None:
    # What does not train is not in every file: drawn from the seed, it can be had again.
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        for layer in layers:
            a = layer.lora_A["default"].weight
            a.data.copy_(nn.init.kaiming_uniform_(torch.empty_like(a, device="cpu"), a=5**0.5))
            a.requires_grad = False
