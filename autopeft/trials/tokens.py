"""Tokenised data, kept on disk: rows are tokenised once for all searches and workers."""

import hashlib
import json
import logging
from pathlib import Path

import numpy as np
import tokenizers
from transformers import PreTrainedTokenizerBase

from autopeft.models.loading import tokenize
from autopeft.tasks.data import Split
from autopeft.trials.batches import EncodedSplit
from autopeft.trials.disk_cache import CacheError, DiskCache

logger = logging.getLogger(__name__)

_STARTS = "starts"


def encoded(
    tokenizer: PreTrainedTokenizerBase,
    split: Split,
    max_length: int,
    cache: DiskCache,
    *,
    regression: bool,
) -> EncodedSplit:
    """Return a tokenised split, mapped from disk.

    It is found again by what it follows from: the texts, the tokenizer with all its settings and
    the length. A change of any of these is another entry.

    Args:
        tokenizer: The model's.
        split: The rows.
        max_length: Longest input in tokens; longer ones are cut.
        cache: Where it is kept; where that has no room, the rows are held in memory.
        regression: Whether labels are real numbers.
    """
    pad = tokenizer.pad_token_id
    assert isinstance(pad, int)
    key = _key(tokenizer, split, max_length)
    folder = cache.find(key)
    arrays = _mapped(folder) if folder else {}
    if not arrays:
        arrays = _arrays(tokenizer, split, max_length)
        if cache.limit:
            try:
                arrays = _mapped(_keep(cache, key, arrays)) or arrays
            except CacheError as error:
                logger.warning("the tokens of the data are not kept on disk: %s", error)
    starts = arrays.pop(_STARTS)
    return EncodedSplit(
        columns=arrays,
        starts=starts,
        labels=np.asarray(split.labels, dtype=np.float64),
        pad_token_id=pad,
        regression=regression,
    )


def _arrays(
    tokenizer: PreTrainedTokenizerBase, split: Split, max_length: int
) -> dict[str, np.ndarray]:
    rows = tokenize(tokenizer, split.texts, max_length)
    lengths = [len(row["input_ids"]) for row in rows]
    arrays = {
        key: np.fromiter((n for row in rows for n in row[key]), dtype=np.int32) for key in rows[0]
    }
    return {**arrays, _STARTS: np.cumsum([0, *lengths], dtype=np.int64)}


def _keep(cache: DiskCache, key: str, arrays: dict[str, np.ndarray]) -> Path:
    def write(folder: Path) -> None:
        for name, array in arrays.items():
            np.save(folder / f"{name}.npy", array)

    header = 128  # of a .npy file
    return cache.keep(key, {f"{n}.npy": a.nbytes + header for n, a in arrays.items()}, write)


def _mapped(folder: Path) -> dict[str, np.ndarray]:
    """Return the arrays of an entry, none if another process has just removed it."""
    files = sorted(folder.glob("*.npy"))
    try:
        return {file.stem: np.load(file, mmap_mode="r", allow_pickle=False) for file in files}
    except FileNotFoundError:
        return {}


def _key(tokenizer: PreTrainedTokenizerBase, split: Split, max_length: int) -> str:
    asked = {
        "texts": split.texts,
        "max_length": max_length,
        "tokenizer": _description(tokenizer),
        "version": tokenizers.__version__,
    }
    text = json.dumps(asked, ensure_ascii=False, sort_keys=True)
    return f"tokens-{hashlib.sha256(text.encode()).hexdigest()[:32]}"


def _description(tokenizer: PreTrainedTokenizerBase) -> str:
    """Return all that the tokens of a text follow from, except for the text."""
    settings = [
        type(tokenizer).__name__,
        tokenizer.truncation_side,
        tokenizer.model_input_names,
        tokenizer.special_tokens_map,
    ]
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is not None:
        rules = json.loads(backend.to_str())
        # What the last call asked for; every call asks anew.
        del rules["truncation"], rules["padding"]
        settings.append(rules)
    else:
        settings += [tokenizer.get_vocab(), tokenizer.init_kwargs]
    return json.dumps(settings, sort_keys=True, default=str)
