"""Tokenised data, kept on disk: rows are tokenised once for all searches and workers."""

import hashlib
import json
import logging
from pathlib import Path

import numpy as np
import tokenizers
from transformers import PreTrainedTokenizerBase

from autopeft.models.completions import TokenRows, continuations, targets
from autopeft.models.loading import count_longer, tokenize
from autopeft.models.spec import Output
from autopeft.tasks.data import Split
from autopeft.trials.batches import EncodedSplit
from autopeft.trials.disk_cache import CacheError, DiskCache

logger = logging.getLogger(__name__)

_STARTS, _LABELS, _LABEL_STARTS = "starts", "labels", "label_starts"


def encoded(
    tokenizer: PreTrainedTokenizerBase,
    split: Split,
    max_length: int,
    cache: DiskCache,
    *,
    regression: bool = False,
    output: Output = "labels",
) -> EncodedSplit:
    """Return a tokenised split, mapped from disk.

    It is found again by what it follows from: the texts, the tokenizer with all its settings, the
    length and what is to be written. A change of any of these is another entry.

    Args:
        tokenizer: The model's.
        split: The rows.
        max_length: Longest input in tokens; longer ones are cut.
        cache: Where it is kept; where that has no room, the rows are held in memory.
        regression: Whether labels are real numbers.
        output: What the model gives.
    """
    pad = tokenizer.pad_token_id
    assert isinstance(pad, int)
    key = _key(tokenizer, split, max_length, output)
    folder = cache.find(key)
    arrays = _mapped(folder) if folder else {}
    if not arrays:
        arrays = _arrays(_rows(tokenizer, split, max_length, output))
        if cache.limit:
            try:
                arrays = _mapped(_keep(cache, key, arrays)) or arrays
            except CacheError as error:
                logger.warning("the tokens of the data are not kept on disk: %s", error)
    starts, label_starts = arrays.pop(_STARTS), arrays.pop(_LABEL_STARTS, None)
    labels = arrays.pop(_LABELS, np.asarray(split.labels, dtype=np.float64))
    return EncodedSplit(
        columns=arrays,
        starts=starts,
        labels=labels,
        label_starts=label_starts,
        pad_token_id=pad,
        regression=regression,
        output=output,
    )


def count_cut(
    tokenizer: PreTrainedTokenizerBase, split: Split, max_length: int, output: Output
) -> int:
    """Return how many rows have more tokens than there is room for.

    Args:
        tokenizer: The model's.
        split: The rows.
        max_length: Longest input in tokens, and longest text to write.
        output: What the model gives.
    """
    if output == "labels":
        return count_longer(tokenizer, split.texts, max_length)
    rows = _rows(tokenizer, split, None, output)
    return sum(max(len(row["input_ids"]), len(row["labels"])) > max_length for row in rows)


def _rows(
    tokenizer: PreTrainedTokenizerBase, split: Split, max_length: int | None, output: Output
) -> TokenRows:
    if output == "labels":
        assert max_length is not None
        return tokenize(tokenizer, split.texts, max_length)
    prompts = [text for (text,) in split.texts]
    write = continuations if output == "next_tokens" else targets
    return write(tokenizer, prompts, split.completions, max_length)


def _arrays(rows: TokenRows) -> dict[str, np.ndarray]:
    arrays = {
        key: np.fromiter((n for row in rows for n in row[key]), dtype=np.int32) for key in rows[0]
    }
    starts = {_STARTS: "input_ids", _LABEL_STARTS: _LABELS}
    for name, key in starts.items():
        if key in arrays:
            arrays[name] = np.cumsum([0, *(len(row[key]) for row in rows)], dtype=np.int64)
    return arrays


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


def _key(tokenizer: PreTrainedTokenizerBase, split: Split, max_length: int, output: Output) -> str:
    asked = {
        "texts": split.texts,
        "completions": split.completions,
        "output": output,
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
