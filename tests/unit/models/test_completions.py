"""Texts to write become tokens with labels as the trained model will meet them."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import PreTrainedTokenizerBase

from autopeft.models.completions import IGNORED, continuations, targets
from autopeft.models.loading import load_tokenizer
from autopeft.models.registry import resolve_model
from tests.tiny import save_tiny

WORDS = st.lists(st.sampled_from(["word1", "word2", "word3"]), max_size=9).map(" ".join)


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> PreTrainedTokenizerBase:
    """A tokenizer that puts [CLS] before a text and [SEP], its end token, behind it."""
    folder = save_tiny("llama", tmp_path_factory.mktemp("writer"), "language_modeling")
    return load_tokenizer(resolve_model(str(folder)))


def ids(tokenizer: PreTrainedTokenizerBase, text: str) -> list[int]:
    return list(tokenizer.convert_tokens_to_ids(text.split()))


def test_the_prompt_is_read_and_the_completion_learned(tokenizer: PreTrainedTokenizerBase) -> None:
    (row,) = continuations(tokenizer, ["word1 word2"], ["word3"], 16)
    assert row["input_ids"] == ids(tokenizer, "[CLS] word1 word2 word3 [SEP]")
    assert row["labels"] == [IGNORED] * 3 + ids(tokenizer, "word3 [SEP]")
    assert row["attention_mask"] == [1] * 5


@given(WORDS, WORDS.filter(bool), st.integers(4, 16))
def test_rows_keep_what_is_to_be_learned(
    tokenizer: PreTrainedTokenizerBase, prompt: str, completion: str, max_length: int
) -> None:
    """Whatever is cut, labels stand at their own tokens, and the first token is none."""
    (whole,) = continuations(tokenizer, [prompt], [completion], None)
    (row,) = continuations(tokenizer, [prompt], [completion], max_length)
    assert len(row["input_ids"]) == len(row["labels"]) == min(max_length, len(whole["input_ids"]))
    assert row["labels"][0] == IGNORED
    learned = [label for label in row["labels"] if label != IGNORED]
    assert learned == row["input_ids"][len(row["labels"]) - len(learned) :]
    right = [label for label in whole["labels"] if label != IGNORED]
    assert learned == right[: max_length - 1]
    assert len(learned) == min(len(right), max_length - 1)


def test_a_text_without_a_prompt_is_learned_from_its_second_token(
    tokenizer: PreTrainedTokenizerBase,
) -> None:
    (row,) = continuations(tokenizer, [""], ["word1 word2"], 16)
    assert row["input_ids"] == ids(tokenizer, "[CLS] word1 word2 [SEP]")
    assert row["labels"] == [IGNORED, *ids(tokenizer, "word1 word2 [SEP]")]


def test_an_encoder_reads_what_its_decoder_does_not_write(
    tokenizer: PreTrainedTokenizerBase,
) -> None:
    (row,) = targets(tokenizer, ["word1 word2 word3 word4"], ["word5"], 4)
    assert row["input_ids"] == ids(tokenizer, "[CLS] word1 word2 [SEP]")
    assert row["labels"] == ids(tokenizer, "[CLS] word5 [SEP]")


def test_the_tokens_are_those_of_writing(tokenizer: PreTrainedTokenizerBase) -> None:
    """What comes before the first label is what the tokenizer gives for a prompt, end apart."""
    (row,) = continuations(tokenizer, ["word1 word2"], ["word3"], 16)
    asked = tokenizer("word1 word2", return_tensors="pt")["input_ids"][0][:-1]
    n_before = sum(label == IGNORED for label in row["labels"])
    assert torch.equal(asked, torch.tensor(row["input_ids"][:n_before]))
