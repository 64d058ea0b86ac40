"""Whether a local model has weights that can be read, without reading them."""

import json
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from transformers import PreTrainedModel

from autopeft.errors import ModelError
from autopeft.models.head import TaskHead
from autopeft.models.loading import load_config, load_model, meta_model
from autopeft.models.registry import ModelReference

_ONE_FILE = "model.safetensors"
_INDEX = "model.safetensors.index.json"


def check_weights(reference: ModelReference) -> None:
    """Check that a local model has all of its weights; those of a GGUF file or the Hub pass.

    Raises:
        ModelError: If files are missing, or are not whole.
    """
    if not _has_files(reference):
        return
    for file in _weight_files(reference):
        if not file.is_file():
            raise ModelError(
                f"The weights of '{reference.name}' are not complete: {file.name} is missing."
            )
        try:
            with safe_open(file, framework="pt"):  # reads names and places, and compares the size
                pass
        except (SafetensorError, OSError) as error:
            raise ModelError(
                f"The weights of '{reference.name}' are damaged: {file.name} cannot be read "
                f"({error}); copy it again."
            ) from error


def check_writing_head(reference: ModelReference, *, trust_remote_code: bool = False) -> None:
    """Check that a local model's weights hold the head that writes text; others pass.

    Args:
        reference: The model, with weights that `check_weights` has passed.
        trust_remote_code: Whether Python code that comes with the model may run.

    Raises:
        ModelError: If they do not.
    """
    head = TaskHead("language_modeling")
    if not _has_files(reference):
        return
    config = load_config(reference, head, trust_remote_code=trust_remote_code)
    expected = _name_of_head(meta_model(config, head.kind))
    if expected is None or expected in _tensor_names(reference):
        return
    # transformers knows other names of some tensors, so a read of all decides.
    load_model(
        reference,
        head,
        torch.device("cpu"),
        pad_token_id=None,
        trust_remote_code=trust_remote_code,
    )


def _name_of_head(model: PreTrainedModel) -> str | None:
    """Return the name of the head's weight; `None` if it is that of the word embeddings."""
    head, embeddings = model.get_output_embeddings(), model.get_input_embeddings()
    if head is None or head.weight is embeddings.weight:
        return None
    return next(name for name, p in model.named_parameters() if p is head.weight)


def _has_files(reference: ModelReference) -> bool:
    """Whether the weights are files of safetensors on this machine."""
    return reference.is_local and Path(reference.location).suffix != ".gguf"


def _tensor_names(reference: ModelReference) -> set[str]:
    names: set[str] = set()
    for file in _weight_files(reference):
        with safe_open(file, framework="pt") as tensors:
            names.update(tensors.keys())
    return names


def _weight_files(reference: ModelReference) -> list[Path]:
    location, name = Path(reference.location), reference.name
    folder = location if location.is_dir() else location.parent
    if (folder / _ONE_FILE).is_file():
        return [folder / _ONE_FILE]
    index = folder / _INDEX
    if index.is_file():
        try:
            shards = set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values())
        except (ValueError, KeyError, AttributeError, TypeError) as error:
            raise ModelError(
                f"The weights of '{name}' are damaged: {_INDEX} cannot be read; copy it again."
            ) from error
        return [folder / str(shard) for shard in sorted(shards)]
    if any(folder.glob("pytorch_model*.bin")):
        raise ModelError(
            f"The weights of '{name}' are pickles (pytorch_model.bin), which can run code and are "
            "not read: save the model again as safetensors."
        )
    raise ModelError(
        f"The model '{name}' has no weights ({_ONE_FILE}): training needs them, `autopeft plan` "
        "and `autopeft estimate` do not."
    )
