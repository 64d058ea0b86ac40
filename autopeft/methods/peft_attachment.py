"""A method of the library `peft` attached to a model, and the way back."""

import logging
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import cast

import torch
from peft import AdaLoraConfig, PeftConfig, PeftModel, get_peft_model
from peft.tuners.tuners_utils import BaseTunerLayer
from peft.utils.other import AuxiliaryTrainingWrapper, ModulesToSaveWrapper
from torch import nn
from transformers import PreTrainedModel

from autopeft.methods.method import Attachment, set_aside
from autopeft.models.spec import ModelSpec

logger = logging.getLogger(__name__)


class PeftAttachment(Attachment):
    """A method of the library `peft`, attached to a model."""

    def __init__(
        self, model: PreTrainedModel, config: PeftConfig, keep: Sequence[str] = ()
    ) -> None:
        """Attach.

        Args:
            model: The base model, frozen.
            config: The library's config.
            keep: Names of modules whose weights the attachment changes, to be put back.
        """
        self._kept = {name: set_aside(_weight(model, name)) for name in keep}
        if hasattr(model, "peft_config"):  # of another component
            del model.peft_config
        with warnings.catch_warnings():
            # peft warns that the same head is named twice; naming it is deliberate.
            warnings.simplefilter("ignore")
            self._peft_model: PeftModel = get_peft_model(model, config)
        for name, parameter in self._peft_model.named_parameters():
            if ".ranknum." in name:
                # AdaLoRA's count of ranks is a constant, but moving it to another device makes
                # peft wrap it in a new parameter, which trains.
                parameter.requires_grad = False

    @property
    def model(self) -> nn.Module:
        return self._peft_model

    def after_optimizer_step(self, step: int) -> None:
        update = getattr(self._peft_model.base_model, "update_and_allocate", None)
        if update is None:
            return
        config = self._peft_model.active_peft_config
        # AdaLoRA's rank allocation takes the k-th smallest score with k = ranks to prune, so it
        # cannot be asked to prune none.
        if not isinstance(config, AdaLoraConfig) or config.target_r < config.init_r:
            update(step)

    def extra_state(self) -> dict[str, torch.Tensor]:
        allocator = getattr(self._peft_model.base_model, "rankallocator", None)
        if allocator is None:
            return {}
        state = {
            f"{table}/{name}": tensor
            for table in _ALLOCATOR_TABLES
            for name, tensor in getattr(allocator, table).items()
        }
        pattern = self._peft_model.active_peft_config.rank_pattern or {}
        state.update({f"rank_pattern/{n}": torch.tensor(mask) for n, mask in pattern.items()})
        return state

    def load_extra_state(self, state: dict[str, torch.Tensor]) -> None:
        if not state:
            return
        allocator = self._peft_model.base_model.rankallocator
        for table in _ALLOCATOR_TABLES:
            setattr(allocator, table, _with_prefix(state, table))
        pattern = {n: mask.tolist() for n, mask in _with_prefix(state, "rank_pattern").items()}
        self._peft_model.active_peft_config.rank_pattern = pattern or None

    def save(self, folder: Path) -> None:
        _keep_a_rank(self._peft_model.active_peft_config)
        self._write(folder, None)

    def _write(self, folder: Path, tensors: dict[str, torch.Tensor] | None) -> None:
        """Write what peft needs to load the adapter; `tensors` replace the model's own."""
        # Left to itself peft adds the whole embedding matrix where it takes the embeddings for a
        # target or the vocabulary for a new one. Here the base's matrix never changes.
        self._peft_model.save_pretrained(
            str(folder),
            safe_serialization=True,
            save_embedding_layers=False,
            state_dict=tensors,
        )
        # peft drops a model card with empty sections; ours is written at export.
        (folder / "README.md").unlink(missing_ok=True)

    def detach(self) -> PreTrainedModel:
        # peft's own `unload` visits every module and fails on heads of several layers.
        base = cast("PreTrainedModel", self._peft_model.get_base_model())
        for name, module in list(base.named_modules()):
            if isinstance(module, BaseTunerLayer):
                _put(base, name, module.get_base_layer())
            elif isinstance(module, AuxiliaryTrainingWrapper):
                _put(base, name, module.original_module)
        if hasattr(base, "peft_config"):
            del base.peft_config
        for name, weight in self._kept.items():
            _weight(base, name).data.copy_(weight)
        base.requires_grad_(requires_grad=False)
        return base


def wrap_head(model: PreTrainedModel, spec: ModelSpec) -> None:
    """Let the task head train as peft does, which trains a copy and keeps the head itself."""
    for name in spec.head_modules:
        head = model.get_submodule(name)
        wrapper = ModulesToSaveWrapper(head, "default")  # type: ignore[no-untyped-call]  # peft's
        wrapper.modules_to_save.requires_grad_(requires_grad=True)
        _put(model, name, wrapper)


def _weight(model: nn.Module, name: str) -> nn.Parameter:
    return model.get_parameter(f"{name}.weight")


def _keep_a_rank(config: PeftConfig) -> None:
    """Let AdaLoRA keep one of the ranks, all zero, of a matrix that has lost every one.

    peft writes what is left of each matrix, and refuses to write nothing.
    """
    for kept in (getattr(config, "rank_pattern", None) or {}).values():
        if isinstance(kept, list) and not any(kept):
            kept[0] = True


def _put(model: nn.Module, name: str, module: nn.Module) -> None:
    parent, _, child = name.rpartition(".")
    setattr(model.get_submodule(parent), child, module)


_ALLOCATOR_TABLES = ("ipt", "exp_avg_ipt", "exp_avg_unc")


def _with_prefix(state: dict[str, torch.Tensor], table: str) -> dict[str, torch.Tensor]:
    prefix = f"{table}/"
    return {name.removeprefix(prefix): t for name, t in state.items() if name.startswith(prefix)}
