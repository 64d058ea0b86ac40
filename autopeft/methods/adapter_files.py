"""Files of adapters that peft has no format for: a description and tensors by name."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

from autopeft.errors import ModelError
from autopeft.methods.method import AttachContext

DESCRIPTION = "autopeft_adapter.json"
TENSORS = "autopeft_adapter.safetensors"
SCHEMA_VERSION = 1


def write_adapter(
    folder: Path, context: AttachContext, tensors: Mapping[str, torch.Tensor]
) -> None:
    """Write what `read_adapter` needs to attach the adapter to another copy of the base.

    Args:
        folder: Where to write; made if it is missing.
        context: What was attached and how; its configuration is written.
        tensors: Adapter and head, by their names in the model.
    """
    folder.mkdir(parents=True, exist_ok=True)
    data = {
        "schema_version": SCHEMA_VERSION,
        "family": context.spec.family,
        "n_layers": context.spec.n_layers,
        "components": [component.to_dict() for component in context.components],
        "seed": context.seed,
        "total_steps": context.total_steps,
    }
    (folder / DESCRIPTION).write_text(json.dumps(data, indent=2) + "\n", encoding="utf-8")
    save_file({n: t.detach().cpu().contiguous() for n, t in tensors.items()}, folder / TENSORS)


def read_adapter(folder: Path) -> tuple[dict[str, Any], dict[str, torch.Tensor]]:
    """Return what `write_adapter` wrote: the description and the tensors.

    Raises:
        ModelError: If the folder holds no such adapter, or one of another version.
    """
    if not (folder / DESCRIPTION).is_file() or not (folder / TENSORS).is_file():
        raise ModelError(f"The folder '{folder}' holds no adapter of autopeft.")
    data: dict[str, Any] = json.loads((folder / DESCRIPTION).read_text(encoding="utf-8"))
    if data.get("schema_version") != SCHEMA_VERSION:
        raise ModelError(f"The adapter in '{folder}' was not written by this version of autopeft.")
    return data, load_file(folder / TENSORS)
