"""Rows are tokenised once, and again when anything that the tokens follow from is another."""

import pickle
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from autopeft.models.loading import load_tokenizer, tokenize
from autopeft.models.registry import resolve_model
from autopeft.tasks.data import Split
from autopeft.trials import tokens
from autopeft.trials.batches import EncodedSplit
from autopeft.trials.disk_cache import DiskCache

SPLIT = Split(texts=(("word1 word2",), ("word3",), ("",)), labels=(0.0, 1.0, 0.0))


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    made: list[int] = []

    def counted(tokenizer: object, texts: object, max_length: int) -> object:
        made.append(max_length)
        return tokenize(tokenizer, texts, max_length)

    monkeypatch.setattr(tokens, "tokenize", counted)
    return made


def encoded(model: Path, cache: DiskCache, split: Split = SPLIT, length: int = 8) -> EncodedSplit:
    tokenizer = load_tokenizer(resolve_model(str(model)))
    return tokens.encoded(tokenizer, split, length, cache, regression=False)


def test_the_rows_are_those_of_the_tokenizer(tiny_model: Path, tmp_path: Path) -> None:
    rows = tokenize(load_tokenizer(resolve_model(str(tiny_model))), SPLIT.texts, 8)
    for limit in (0, 2**20):
        split = encoded(tiny_model, DiskCache(tmp_path, limit))
        assert split.lengths.tolist() == [len(row["input_ids"]) for row in rows]
        for i, row in enumerate(rows):
            batch = split.batch([i], torch.device("cpu"))
            assert {k: batch[k][0].tolist() for k in row} == row
            assert batch["labels"].tolist() == [SPLIT.labels[i]]


def test_rows_are_tokenised_once(tiny_model: Path, tmp_path: Path, calls: list[int]) -> None:
    cache = DiskCache(tmp_path, 2**20)
    first, second = encoded(tiny_model, cache), encoded(tiny_model, cache)
    assert calls == [8]
    assert isinstance(second.columns["input_ids"], np.memmap)
    sent = pickle.loads(pickle.dumps(second))
    for split in (second, sent):
        assert {k: v.tolist() for k, v in split.columns.items()} == {
            k: v.tolist() for k, v in first.columns.items()
        }


def test_a_change_is_another_entry(tiny_model: Path, tmp_path: Path, calls: list[int]) -> None:
    cache = DiskCache(tmp_path, 2**20)
    encoded(tiny_model, cache)
    encoded(tiny_model, cache, length=3)
    assert calls == [8, 3]
    encoded(tiny_model, cache, replace(SPLIT, texts=(("word1 word9",), *SPLIT.texts[1:])))
    tokenizer = load_tokenizer(resolve_model(str(tiny_model)))
    tokenizer.add_tokens(["word1 word2"])
    tokens.encoded(tokenizer, SPLIT, 8, cache, regression=False)
    assert calls == [8, 3, 8, 8]


def test_labels_are_not_among_the_tokens(
    tiny_model: Path, tmp_path: Path, calls: list[int]
) -> None:
    cache = DiskCache(tmp_path, 2**20)
    encoded(tiny_model, cache)
    other = encoded(tiny_model, cache, replace(SPLIT, labels=(1.0, 1.0, 0.0)))
    assert other.labels.tolist() == [1.0, 1.0, 0.0]
    assert calls == [8]


def test_an_entry_that_goes_in_the_same_moment_is_made_again(
    tiny_model: Path, tmp_path: Path, calls: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = DiskCache(tmp_path, 2**20)
    first = encoded(tiny_model, cache)
    monkeypatch.setattr(DiskCache, "find", lambda *_: tmp_path / "gone")
    again = encoded(tiny_model, cache)
    assert again.columns["input_ids"].tolist() == first.columns["input_ids"].tolist()
    assert calls == [8, 8]
