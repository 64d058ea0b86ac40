"""Texts to write, as tokens with their labels."""

from collections.abc import Sequence

from transformers import PreTrainedTokenizerBase

from autopeft.models.loading import quiet

#: Label of a token that nothing is learned from; torch and transformers leave it out.
IGNORED = -100

TokenRows = list[dict[str, list[int]]]


def continuations(
    tokenizer: PreTrainedTokenizerBase,
    prompts: Sequence[str],
    completions: Sequence[str],
    max_length: int | None,
) -> TokenRows:
    """Tokenise prompts and what a decoder is to write after them, one row each.

    A row is the prompt's tokens, the completion's and the end token. The labels are those of the
    completion and the end; the first token, which nothing comes before, is never one. Prompt and
    completion are tokenised apart, as they are when the trained model writes. A row that is too
    long loses the beginning of its prompt, and then the end of its completion.

    Args:
        tokenizer: The model's.
        prompts: What comes before; may be empty.
        completions: What is to be written.
        max_length: Most tokens of a row; `None` cuts nothing.

    Returns:
        Rows of `input_ids`, `attention_mask` and `labels`, all of one length.
    """
    before = _plain(tokenizer, prompts, special=True)
    after = _plain(tokenizer, completions, special=False)
    end = [] if tokenizer.eos_token_id is None else [tokenizer.eos_token_id]
    rows = []
    for prompt, completion in zip(before, after, strict=True):
        if prompt and end and prompt[-1] == end[0]:  # put there by the tokenizer
            del prompt[-1]
        written = completion + end
        if max_length is not None:
            del written[max(1, max_length - 1) :]
            del prompt[: max(0, len(prompt) + len(written) - max_length)]
        ids = prompt + written
        labels = [IGNORED, *([IGNORED] * len(prompt) + written)[1:]]
        rows.append({"input_ids": ids, "attention_mask": [1] * len(ids), "labels": labels})
    return rows


def targets(
    tokenizer: PreTrainedTokenizerBase,
    prompts: Sequence[str],
    completions: Sequence[str],
    max_length: int | None,
) -> TokenRows:
    """Tokenise what an encoder reads and what its decoder is to write, each cut at its end.

    Args:
        tokenizer: The model's.
        prompts: What is read.
        completions: What is to be written.
        max_length: Most tokens of each; `None` cuts nothing.

    Returns:
        Rows of the tokenizer's outputs and `labels`, which have a length of their own.
    """
    cut = {"truncation": max_length is not None, "max_length": max_length}
    with quiet():
        read = tokenizer(list(prompts), **cut)
        written = tokenizer(text_target=list(completions), **cut)["input_ids"]
    return [
        {**{key: list(read[key][i]) for key in read}, "labels": list(labels)}
        for i, labels in enumerate(written)
    ]


def _plain(
    tokenizer: PreTrainedTokenizerBase, texts: Sequence[str], *, special: bool
) -> list[list[int]]:
    with quiet():  # it warns of every length that a model cannot take
        encoded = tokenizer(list(texts), add_special_tokens=special, truncation=False)
    return [list(ids) for ids in encoded["input_ids"]]
