"""`KeptStates`: hidden states of rows in a file that all workers of a machine map."""

import zlib
from collections.abc import Callable, Mapping, Sequence
from hashlib import blake2b
from pathlib import Path

import numpy as np
import torch

from autopeft.trials.batches import EncodedSplit, sorted_batches
from autopeft.trials.disk_cache import CacheError, DiskCache

#: Most rows, and tokens with padding, of a group.
GROUP_ROWS, GROUP_TOKENS = 64, 2048

Batch = Mapping[str, torch.Tensor]


class KeptStates:
    """What comes out of a model's first layers for the rows of one split.

    Rows are computed in groups that are the same whoever computes them first, so that the states
    are too, bit for bit. Each group has a checksum: one that is not there, or was damaged, is
    computed again.
    """

    def __init__(self, cache: DiskCache, key: str, split: EncodedSplit, like: torch.Tensor) -> None:
        """Find the states, or make room for them.

        Args:
            cache: Where they are kept.
            key: Digest of all that they follow from, except for the rows.
            split: The rows.
            like: States of any row, for their width, type and device.

        Raises:
            CacheError: If there is no room.
        """
        self._split = split
        self._device = like.device
        self._groups = sorted_batches(split, GROUP_ROWS, GROUP_TOKENS)
        self._group_of = {row: g for g, rows in enumerate(self._groups) for row in rows}
        self._checked: set[int] = set()
        order = [row for rows in self._groups for row in rows]
        ends = np.cumsum(split.lengths[order])
        self._place = {
            row: (int(end - split.lengths[row]), int(end))
            for row, end in zip(order, ends, strict=True)
        }
        width, dtype = like.shape[-1], like.dtype
        sizes = {
            "states": split.n_tokens * width * dtype.itemsize,
            "checksums": 8 * len(self._groups),
        }
        name = f"states-{_digest(key, split)}"
        folder = cache.keep(name, sizes, lambda _: None)
        with torch.inference_mode(mode=False):  # an evaluation may be the first to come here
            self._states = _mapped(folder / "states", (split.n_tokens, width), dtype)
            self._checksums = _mapped(folder / "checksums", (len(self._groups),), torch.int64)

    def read(self, rows: Sequence[int], compute: Callable[[Batch], torch.Tensor]) -> torch.Tensor:
        """Return the states of rows, padded with zeros, shape (rows, longest row, width).

        Args:
            rows: Numbers of the rows.
            compute: Returns the states of a batch; called where they are not there yet.
        """
        for group in {self._group_of[row] for row in rows} - self._checked:
            if int(self._checksums[group]) != self._checksum(group):
                self._fill(group, compute)
            self._checked.add(group)
        places = [self._place[row] for row in rows]
        longest = max(end - start for start, end in places)
        batch = self._states.new_zeros((len(rows), longest, self._states.shape[-1]))
        for row, (start, end) in enumerate(places):
            batch[row, : end - start] = self._states[start:end]
        return batch.to(self._device)

    def _fill(self, group: int, compute: Callable[[Batch], torch.Tensor]) -> None:
        rows = self._groups[group]
        hidden = compute(self._split.inputs(rows, self._device)).cpu()
        for row, states in zip(rows, hidden, strict=True):
            start, end = self._place[row]
            self._states[start:end] = states[: end - start]
        self._checksums[group] = self._checksum(group)

    def _checksum(self, group: int) -> int:
        """Return a number that tells whether the group is there and whole; never 0."""
        rows = self._groups[group]
        part = self._states[self._place[rows[0]][0] : self._place[rows[-1]][1]]
        return 1 + zlib.crc32(part.view(torch.uint8).numpy().data)


def _mapped(path: Path, shape: tuple[int, ...], dtype: torch.dtype) -> torch.Tensor:
    size = int(np.prod(shape))
    try:
        return torch.from_file(str(path), shared=True, size=size, dtype=dtype).view(shape)
    except RuntimeError as error:  # another process has just removed it, or the disk is remote
        raise CacheError(f"'{path}' cannot be mapped") from error


def _digest(key: str, split: EncodedSplit) -> str:
    digest = blake2b(key.encode(), digest_size=16)
    for array in (*split.columns.values(), split.starts):
        digest.update(np.ascontiguousarray(array).view(np.uint8).data)
    return digest.hexdigest()
