"""peft's own `adapter_config.json` on a model on `meta`, whatever wrote it."""

import json
import warnings
from pathlib import Path
from typing import Any

import torch
from peft import PeftConfig, PeftModel, get_peft_model
from peft.tuners.tuners_utils import BaseTunerLayer
from transformers import PreTrainedModel

from autopeft.errors import SpaceError
from autopeft.methods.library import task_type
from autopeft.models.spec import ModelSpec

FILE = "adapter_config.json"
#: Starts that decide what trains.
_FREEZING_STARTS = {None, "mica"}


def is_peft_config(path: Path) -> bool:
    """Tell whether a path is an adapter config of peft, or a folder that holds one."""
    file = path / FILE if path.is_dir() else path
    if not file.is_file() or file.suffix != ".json":
        return False
    try:
        data = json.loads(file.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError):
        return False
    return isinstance(data, dict) and "peft_type" in data


def attach_peft_config(model: PreTrainedModel, path: Path, spec: ModelSpec) -> PeftModel:
    """Attach an adapter as its config says, and train the head of this model beside it.

    Args:
        model: A model with a task head on `meta`, frozen.
        path: The config, or the folder that holds it.
        spec: The model.

    Raises:
        SpaceError: If peft cannot read the config, or cannot build the adapter on this model.
    """
    file = path / FILE if path.is_dir() else path
    try:
        written = PeftConfig.from_json_file(str(file)) | {"inference_mode": False}
        if written.get("init_lora_weights") not in _FREEZING_STARTS:
            written["init_lora_weights"] = True  # others look at data or weights: not here
        config: Any = PeftConfig.from_peft_type(**written)  # type: ignore[no-untyped-call]  # peft's
        # The adapter may be of another task: here it trains beside the head that the model has.
        config.task_type = task_type(spec)
        if hasattr(config, "modules_to_save") and spec.head_modules:
            config.modules_to_save = list(spec.head_modules)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the head is named twice on purpose
            attached = get_peft_model(model, config)
    except (TypeError, ValueError, KeyError, NotImplementedError, RuntimeError) as error:
        reason = " ".join(str(error).split())
        raise SpaceError(f"peft cannot attach '{file}' to this model: {reason}") from error
    assert isinstance(attached, PeftModel)
    _move_along(attached)
    return attached


def _move_along(attached: PeftModel) -> None:
    """Move to `meta` what peft keeps beside its parameters and moves to real devices alone."""
    for layer in attached.modules():
        if isinstance(layer, BaseTunerLayer):
            for table in (getattr(layer, name, None) for name in layer.other_param_names):
                if type(table) is dict:
                    for name, value in table.items():
                        if isinstance(value, torch.Tensor):
                            table[name] = value.to("meta")
