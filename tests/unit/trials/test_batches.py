import itertools
from dataclasses import replace
from random import Random

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from autopeft.trials.batches import EncodedSplit, Epochs, epoch_batches, sorted_batches


def split(lengths: list[int]) -> EncodedSplit:
    n_tokens = sum(lengths)
    return EncodedSplit(
        columns={
            "input_ids": np.full(n_tokens, 5, np.int32),
            "attention_mask": np.ones(n_tokens, np.int32),
        },
        starts=np.cumsum([0, *lengths]),
        labels=np.arange(len(lengths)) % 2.0,
        pad_token_id=9,
        regression=False,
    )


LENGTHS = st.lists(st.integers(1, 30), min_size=1, max_size=200)


@given(LENGTHS, st.integers(1, 20), st.integers(0, 3), st.integers(0, 3))
def test_an_epoch_sees_every_row_once(
    lengths: list[int], batch_size: int, seed: int, epoch: int
) -> None:
    batches = list(epoch_batches(split(lengths), batch_size, seed, epoch))
    assert sorted(i for batch in batches for i in batch) == list(range(len(lengths)))
    assert len(batches) == -(-len(lengths) // batch_size)
    assert batches == list(epoch_batches(split(lengths), batch_size, seed, epoch))


def test_epochs_and_seeds_differ() -> None:
    data = split([3] * 100)
    orders = {
        str(list(epoch_batches(data, 10, seed, epoch))) for seed in (0, 1) for epoch in (0, 1)
    }
    assert len(orders) == 4


def test_batches_hold_rows_alike_in_length() -> None:
    lengths = [1 + (37 * i) % 50 for i in range(400)]
    data = split(lengths)
    computed = sum(
        len(batch) * max(lengths[i] for i in batch) for batch in epoch_batches(data, 16, 0, 0)
    )
    assert sum(lengths) / computed > 0.9


@given(LENGTHS, st.integers(1, 20))
def test_evaluation_sees_every_row_once_longest_first(lengths: list[int], batch_size: int) -> None:
    rows = [i for batch in sorted_batches(split(lengths), batch_size) for i in batch]
    assert sorted(rows) == list(range(len(lengths)))
    assert [lengths[i] for i in rows] == sorted(lengths, reverse=True)


def test_padding() -> None:
    batch = split([1, 3]).batch([0, 1], torch.device("cpu"))
    assert batch["input_ids"].tolist() == [[5, 9, 9], [5, 5, 5]]
    assert batch["attention_mask"].tolist() == [[1, 0, 0], [1, 1, 1]]
    assert batch["labels"].tolist() == [0, 1]
    assert batch["labels"].dtype == torch.long


@given(LENGTHS, st.integers(1, 20), st.integers(1, 60))
def test_a_token_limit_holds_for_all_batches_of_several_rows(
    lengths: list[int], batch_size: int, max_tokens: int
) -> None:
    data = split(lengths)
    for batches in (
        epoch_batches(data, batch_size, 0, 0, max_tokens),
        sorted_batches(data, batch_size, max_tokens),
    ):
        assert sorted(i for batch in batches for i in batch) == list(range(len(lengths)))
        for batch in batches:
            assert len(batch) <= batch_size
            assert len(batch) == 1 or len(batch) * max(lengths[i] for i in batch) <= max_tokens


def test_a_token_limit_that_is_never_reached_changes_nothing() -> None:
    data = split([1 + (37 * i) % 50 for i in range(200)])
    assert epoch_batches(data, 16, 3, 1, 16 * 50) == epoch_batches(data, 16, 3, 1)


@given(LENGTHS, st.integers(1, 20), st.none() | st.integers(1, 60), st.integers(0, 40))
def test_a_training_goes_on_after_any_step(
    lengths: list[int], batch_size: int, max_tokens: int | None, step: int
) -> None:
    data = split(lengths)
    epochs = Epochs(split=data, batch_size=batch_size, seed=1, max_tokens=max_tokens)
    straight = [b for e in (0, 1) for b in epoch_batches(data, batch_size, 1, e, max_tokens)]
    assert epochs.n_steps(2) == len(straight)
    step = min(step, len(straight))
    rest = list(itertools.islice(epochs.after(step), len(straight) - step))
    assert rest == straight[step:]
    assert epochs.n_steps(1) <= epochs.n_steps(1.5) <= len(straight)


@given(LENGTHS, st.integers(1, 60), st.randoms(use_true_random=False))
def test_a_token_limit_also_holds_for_texts_to_write(
    lengths: list[int], max_tokens: int, random: Random
) -> None:
    """A short question may have a long answer, and memory is predicted for both as long."""
    written = random.sample(lengths, len(lengths))
    data = replace(
        split(lengths),
        labels=np.ones(sum(written), np.int32),
        label_starts=np.cumsum([0, *written]),
        output="target_tokens",
    )
    batches = epoch_batches(data, 16, 0, 0, max_tokens) + sorted_batches(data, 16, max_tokens)
    for batch in (batch for batch in batches if len(batch) > 1):
        tensors = data.batch(batch, torch.device("cpu"))
        assert tensors["input_ids"].numel() <= max_tokens
        assert tensors["labels"].numel() <= max_tokens
