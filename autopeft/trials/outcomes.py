"""What a model gives for the validation rows, batch by batch, and how good that is."""

from collections.abc import Sequence
from typing import Protocol

import numpy as np
import torch
from torch.nn.functional import cross_entropy

from autopeft.models.completions import IGNORED
from autopeft.tasks.metrics import evaluate, mean_loss, predictions_from
from autopeft.tasks.task import TaskSpec
from autopeft.trials.batches import EncodedSplit
from autopeft.trials.data_parallel import DataParallel


class Outcomes(Protocol):
    """Collects a model's outputs for the rows of a split."""

    def add(self, rows: Sequence[int], logits: torch.Tensor) -> None:
        """Take the outputs for rows, in the order of the batch."""

    def gather(self, parallel: DataParallel) -> None:
        """Take in the outputs that the other processes had."""

    def scores(self) -> tuple[dict[str, float], float]:
        """Return the task's metrics and the mean loss, when all rows are there."""


def outcomes_of(split: EncodedSplit, task: TaskSpec) -> Outcomes:
    """Return what collects the outputs for a split."""
    return LabelOutcomes(split, task) if split.output == "labels" else TokenOutcomes(split, task)


class LabelOutcomes:
    """Outputs of shape (rows, labels): a class or a number for each row."""

    def __init__(self, split: EncodedSplit, task: TaskSpec) -> None:
        self._labels = np.asarray(split.labels, dtype=np.float64)
        self._task = task
        self._logits: dict[int, np.ndarray] = {}

    def add(self, rows: Sequence[int], logits: torch.Tensor) -> None:
        self._logits.update(zip(rows, logits.cpu().numpy().astype(np.float64), strict=True))

    def gather(self, parallel: DataParallel) -> None:
        for logits in parallel.gathered(self._logits):
            self._logits.update(logits)

    def scores(self) -> tuple[dict[str, float], float]:
        logits = np.stack([self._logits[row] for row in range(len(self._labels))])
        predictions = predictions_from(logits, self._task.kind)
        scores = evaluate(self._task.metrics, self._labels, predictions)
        return scores, mean_loss(logits, self._labels, self._task.kind)


class TokenOutcomes:
    """Outputs of shape (rows, tokens, vocabulary): every token of a text, after the right ones."""

    def __init__(self, split: EncodedSplit, task: TaskSpec) -> None:
        self._split = split
        self._task = task
        #: How many tokens before its label an output stands.
        self._shift = 1 if split.output == "next_tokens" else 0
        self._right: list[np.ndarray] = []
        self._given: list[np.ndarray] = []
        self._loss = 0.0

    def add(self, rows: Sequence[int], logits: torch.Tensor) -> None:
        labels = self._split.batch(rows, logits.device)["labels"][:, self._shift :]
        counted = labels != IGNORED
        # Those that count alone: a vocabulary has many words, and prompts many tokens.
        chosen, right = logits[:, : labels.shape[1]][counted], labels[counted]
        self._loss += float(cross_entropy(chosen, right, reduction="sum"))
        self._given.append(chosen.argmax(dim=-1).cpu().numpy())
        self._right.append(right.cpu().numpy())

    def gather(self, parallel: DataParallel) -> None:
        shares = parallel.gathered((self._right, self._given, self._loss))
        self._right = [tokens for right, _, _ in shares for tokens in right]
        self._given = [tokens for _, given, _ in shares for tokens in given]
        self._loss = sum(loss for _, _, loss in shares)

    def scores(self) -> tuple[dict[str, float], float]:
        right, given = np.concatenate(self._right), np.concatenate(self._given)
        return evaluate(self._task.metrics, right, given), self._loss / len(right)
