"""Whether a local model has weights that can be read, without reading them."""

import json
from pathlib import Path

from safetensors import SafetensorError, safe_open

from autopeft.errors import ModelError
from autopeft.models.registry import ModelReference

_ONE_FILE = "model.safetensors"
_INDEX = "model.safetensors.index.json"


def check_weights(reference: ModelReference) -> None:
    """Check that a local model has all of its weights; those of a GGUF file or the Hub pass.

    Raises:
        ModelError: If files are missing, or are not whole.
    """
    location = Path(reference.location)
    if not reference.is_local or location.suffix == ".gguf":
        return
    folder = location if location.is_dir() else location.parent
    for file in _weight_files(folder, reference.name):
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


def _weight_files(folder: Path, name: str) -> list[Path]:
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
