"""`load_adapter`: an exported adapter of our own format on a fresh copy of its base model."""

from pathlib import Path
from typing import Any

import torch
from peft import PeftConfig, get_peft_model, set_peft_model_state_dict
from torch import nn
from transformers import PreTrainedModel

from autopeft.errors import ModelError
from autopeft.methods.adapter_files import read_adapter
from autopeft.methods.compose import attach
from autopeft.methods.compression import FILE, read_compressed
from autopeft.methods.method import AttachContext
from autopeft.models.spec import inspect_model
from autopeft.space.configuration import Configuration


def load_adapter(model: PreTrainedModel, folder: str | Path) -> nn.Module:
    """Attach an exported adapter to its base model, ready to predict.

    Args:
        model: The base model with a task head, as transformers loads it.
        folder: An exported folder, or its `compressed/`.

    Returns:
        A module to call as the model itself, `generate` included where it writes text.

    Raises:
        ModelError: If the folder holds no adapter, or one for another model.
    """
    if (Path(folder) / FILE).is_file():
        return _load_compressed(model, Path(folder))
    data, tensors = read_adapter(Path(folder))
    spec = inspect_model(model)
    if (data["family"], data["n_layers"]) != (spec.family, spec.n_layers):
        raise ModelError(
            f"The adapter is for a {data['family']} of {data['n_layers']} layers, the model is a "
            f"{spec.family} of {spec.n_layers}."
        )
    written = {"components": data["components"], "training": {"learning_rate": 1.0}}
    context = AttachContext(spec=spec, total_steps=data["total_steps"], seed=data["seed"])
    attachment = attach(
        model.requires_grad_(requires_grad=False), Configuration.from_dict(written), context
    )
    parameters = dict(model.named_parameters())
    if missing := set(tensors) - set(parameters):
        raise ModelError(f"The adapter does not fit the model: '{min(missing)}' is not in it.")
    with torch.no_grad():
        for name, tensor in tensors.items():
            parameters[name].copy_(tensor)
    return attachment.model.eval()


def _load_compressed(model: PreTrainedModel, folder: Path) -> nn.Module:
    config = PeftConfig.from_pretrained(str(folder))
    config.inference_mode = True
    attached = get_peft_model(model, config)
    loaded: Any = set_peft_model_state_dict(attached, read_compressed(folder))
    if loaded.unexpected_keys:
        raise ModelError(
            f"The adapter does not fit the model: '{min(loaded.unexpected_keys)}' is not in it."
        )
    predicting: nn.Module = attached.eval()
    return predicting
