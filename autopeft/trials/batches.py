"""Tokenised rows, and the order in which a trial sees them."""

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from autopeft.models.completions import IGNORED
from autopeft.models.spec import Output

#: Batches are sorted by length within blocks of this many: 95 % of the computed tokens are real,
#: against 58 % for random batches, and the order stays random across blocks.
BATCHES_PER_BLOCK = 20


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class EncodedSplit:
    """A tokenised split: arrays that can be mapped from a file and shared between processes.

    Attributes:
        columns: Each of the tokenizer's outputs (`input_ids`, `attention_mask`, ...) of all rows,
            one after the other, unpadded; int32, shape (tokens,).
        starts: Where each row begins in them, and where the last one ends; shape (rows + 1,).
        labels: Class numbers, or numbers for regression, shape (rows,); or the tokens of texts to
            write, one text after the other, shape (label tokens,).
        label_starts: Where the labels of each row begin, and where those of the last one end,
            shape (rows + 1,); `None` where a row has one label.
        pad_token_id: Filler of `input_ids`; the other outputs are filled with 0.
        regression: Whether labels are real numbers.
        output: What a model gives for the rows.
    """

    columns: Mapping[str, NDArray[np.int32]]
    starts: NDArray[np.int64]
    labels: NDArray[np.float64] | NDArray[np.int32]
    label_starts: NDArray[np.int64] | None = None
    pad_token_id: int
    regression: bool
    output: Output = "labels"

    def __len__(self) -> int:
        return len(self.starts) - 1

    @property
    def n_tokens(self) -> int:
        """Number of tokens of all rows."""
        return int(self.starts[-1])

    @property
    def lengths(self) -> NDArray[np.int64]:
        """Number of tokens of each row."""
        return np.diff(self.starts)

    @property
    def longest(self) -> NDArray[np.int64]:
        """Number of tokens of each row, or of the text to write where that is longer."""
        if self.label_starts is None:
            return self.lengths
        return np.maximum(self.lengths, np.diff(self.label_starts))

    def batch(self, indices: Sequence[int], device: torch.device) -> dict[str, torch.Tensor]:
        """Return rows as tensors of shape (rows, longest row), with their `labels`.

        Labels have the shape (rows,), or (rows, most labels of a row) where they are tokens.
        """
        tensors = {}
        for key, column in self.columns.items():
            filler = self.pad_token_id if key == "input_ids" else 0
            tensors[key] = _padded(column, self.starts, indices, filler)
        if self.label_starts is not None:
            tensors["labels"] = _padded(self.labels, self.label_starts, indices, IGNORED)
        else:
            dtype = torch.float32 if self.regression else torch.long
            tensors["labels"] = torch.tensor(self.labels[list(indices)], dtype=dtype)
        return {key: tensor.to(device) for key, tensor in tensors.items()}

    def inputs(self, indices: Sequence[int], device: torch.device) -> dict[str, torch.Tensor]:
        """Return rows as what a model reads to predict their labels.

        A decoder beside an encoder reads the text that it is to write, each token before it gives
        the next one; models make that of the labels.
        """
        batch = self.batch(indices, device)
        if self.output != "target_tokens":
            del batch["labels"]
        return batch

    def n_learned(self, indices: Sequence[int]) -> int:
        """Return how many labels of the rows something is learned from."""
        if self.label_starts is None:
            return len(indices)
        rows = (self.labels[self.label_starts[i] : self.label_starts[i + 1]] for i in indices)
        return sum(int((labels != IGNORED).sum()) for labels in rows)


def _padded(
    values: NDArray[np.float64] | NDArray[np.int32],
    starts: NDArray[np.int64],
    indices: Sequence[int],
    filler: int,
) -> torch.Tensor:
    longest = int(max(starts[i + 1] - starts[i] for i in indices))
    padded = np.full((len(indices), longest), filler, dtype=np.int64)
    for row, index in enumerate(indices):
        own = values[starts[index] : starts[index + 1]]
        padded[row, : len(own)] = own
    return torch.from_numpy(padded)


def epoch_batches(
    split: EncodedSplit, batch_size: int, seed: int, epoch: int, max_tokens: int | None = None
) -> list[list[int]]:
    """Return the row numbers of each batch of an epoch: shuffled, alike in length.

    The order depends on the arguments alone, so that a trial can go on in the middle of an epoch.

    Args:
        split: The rows.
        batch_size: Rows of a batch.
        seed: Seed of the order.
        epoch: Number of the epoch, from 0.
        max_tokens: Most tokens of a batch, padding included, of what is read and of what is
            written; where rows are long a batch then holds fewer of them, at least one. `None`
            sets no limit.
    """
    rng = np.random.default_rng([seed, epoch])
    order = rng.permutation(len(split))
    lengths = split.longest
    block = batch_size * BATCHES_PER_BLOCK
    batches: list[list[int]] = []
    for start in range(0, len(order), block):
        rows = order[start : start + block]
        rows = rows[np.argsort(lengths[rows], kind="stable")]
        batches += _cut([int(i) for i in rows], lengths, batch_size, max_tokens)
    return [batches[index] for index in rng.permutation(len(batches))]


@dataclass(frozen=True, slots=True, kw_only=True)
class Epochs:
    """The batches of a training, epoch after epoch.

    Attributes:
        split: The rows.
        batch_size: Rows of a batch.
        seed: Seed of the order.
        max_tokens: Most tokens of a batch, padding included; `None` sets no limit.
    """

    split: EncodedSplit
    batch_size: int
    seed: int
    max_tokens: int | None

    def n_steps(self, epochs: float) -> int:
        """Return the number of batches of so many epochs, at least 1."""
        whole, rest = divmod(epochs, 1)
        steps = sum(self._n_batches(epoch) for epoch in range(int(whole)))
        return max(1, round(steps + rest * self._n_batches(int(whole))))

    def after(self, step: int) -> Iterator[list[int]]:
        """Yield the rows of each batch after `step` batches, without end."""
        for epoch in itertools.count():
            n_batches = self._n_batches(epoch)
            if step < n_batches:
                yield from self._batches(epoch)[step:]
            step = max(0, step - n_batches)

    def _batches(self, epoch: int) -> list[list[int]]:
        return epoch_batches(self.split, self.batch_size, self.seed, epoch, self.max_tokens)

    def _n_batches(self, epoch: int) -> int:
        if self.max_tokens is None:
            return math.ceil(len(self.split) / self.batch_size)
        return len(self._batches(epoch))


def sorted_batches(
    split: EncodedSplit, batch_size: int, max_tokens: int | None = None
) -> list[list[int]]:
    """Return all row numbers in batches, the longest rows first: a lack of memory shows at once.

    The arguments are those of `epoch_batches`.
    """
    lengths = split.longest
    order = [int(i) for i in np.argsort(-lengths, kind="stable")]
    return _cut(order, lengths, batch_size, max_tokens)


def _cut(
    rows: list[int], lengths: NDArray[np.int64], batch_size: int, max_tokens: int | None
) -> list[list[int]]:
    """Cut rows into batches of at most so many rows and, padded to the longest, tokens."""
    batches: list[list[int]] = []
    longest = 0
    for row in rows:
        longest = max(longest, int(lengths[row]))
        size = len(batches[-1]) + 1 if batches else 0
        if not 1 < size <= batch_size or (max_tokens is not None and size * longest > max_tokens):
            batches.append([])
            longest = int(lengths[row])
        batches[-1].append(row)
    return batches
