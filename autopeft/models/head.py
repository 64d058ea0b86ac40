"""`TaskHead`: what a task asks a model to give."""

from dataclasses import dataclass
from typing import Literal

TaskKind = Literal["classification", "regression", "language_modeling"]


@dataclass(frozen=True, slots=True)
class TaskHead:
    """What stands on a model's layers for a task.

    Attributes:
        kind: `language_modeling` keeps the head that the model was trained with, which gives a
            number for each word; the others put a new one in its place.
        n_labels: Numbers that a new head gives for an input: classes, or 1 for a regression.
    """

    kind: TaskKind = "classification"
    n_labels: int = 2

    @property
    def writes_text(self) -> bool:
        """Whether the model is to write text."""
        return self.kind == "language_modeling"
