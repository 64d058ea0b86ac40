"""GGUF files: converted once to a safetensors folder, which loads and trains like any model."""

import hashlib
import logging
import os
import shutil
import tempfile
from pathlib import Path

import torch

from autopeft.errors import MissingPackageError

logger = logging.getLogger(__name__)


def cache_folder() -> Path:
    """Return the folder for what autopeft derives: `$AUTOPEFT_CACHE`, else `~/.cache/autopeft`."""
    return Path(os.environ.get("AUTOPEFT_CACHE", "~/.cache/autopeft")).expanduser()


def converted_folder(path: Path) -> Path:
    """Return a Hugging Face folder with the dequantised float32 weights of a GGUF file.

    The folder is made at the first call and named after the content. transformers refuses to
    train or save a model that it loaded from GGUF, so the weights move into a model that was
    built from the same config without the quantisation entry.

    Raises:
        MissingPackageError: If the package `gguf` is not installed.
    """
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()[:16]
    folder = cache_folder() / "gguf" / f"{path.stem}-{digest}"
    if not (folder / "config.json").is_file():
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent) as scratch:
            _convert(path, Path(scratch) / "model")
            # One rename, so that a killed conversion leaves nothing that looks complete.
            shutil.move(str(Path(scratch) / "model"), folder)
    return folder


def _convert(path: Path, folder: Path) -> None:
    try:
        import gguf  # noqa: F401 - transformers needs it and explains less clearly
    except ImportError as error:
        raise MissingPackageError("gguf", "Reading a GGUF model", "gguf") from error
    from transformers import AutoModelForCausalLM, AutoTokenizer

    logger.info("converting %s; this happens once", path.name)
    source = {"pretrained_model_name_or_path": str(path.parent), "gguf_file": path.name}
    quantised = AutoModelForCausalLM.from_pretrained(**source, dtype=torch.float32)
    config = type(quantised.config).from_dict(quantised.config.to_dict())
    if hasattr(config, "quantization_config"):
        del config.quantization_config
    model = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    model.load_state_dict(quantised.state_dict(), strict=True)
    model.tie_weights()
    model.save_pretrained(folder)
    AutoTokenizer.from_pretrained(**source).save_pretrained(folder)
