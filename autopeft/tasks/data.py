"""`TaskData`: the rows of a task, split and checked, from files, the Hub or what is built in."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from autopeft.errors import DataError
from autopeft.models.head import TaskHead
from autopeft.tasks.cells import check_columns, label_number, label_text
from autopeft.tasks.pydoc import pydoc_splits
from autopeft.tasks.rows import Row, find_split, read_rows
from autopeft.tasks.task import TaskSpec

HELD_OUT_SHARE = 0.2
#: How the origin of data from the Hub ends.
HUB_ORIGIN = " on the Hugging Face Hub"


@dataclass(frozen=True, slots=True, kw_only=True)
class Split:
    """Rows of one split.

    Attributes:
        texts: One text, or a pair, a row; the prompt, where a text is to be written.
        labels: Class numbers from 0, or numbers for regression; empty where texts are written.
        completions: The texts to write; empty for other tasks.
    """

    texts: tuple[tuple[str, ...], ...]
    labels: tuple[float, ...] = ()
    completions: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.texts)

    def take(self, indices: Sequence[int]) -> "Split":
        """Return the rows at `indices`, in that order."""
        return Split(
            texts=tuple(self.texts[i] for i in indices),
            labels=tuple(self.labels[i] for i in indices) if self.labels else (),
            completions=tuple(self.completions[i] for i in indices) if self.completions else (),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskData:
    """A task with its data.

    Attributes:
        task: What the task is, with its labels known.
        train: Rows to train on.
        validation: Rows that quality is measured on.
        origin: Where the rows come from, for people.
    """

    task: TaskSpec
    train: Split
    validation: Split
    origin: str

    @property
    def labels(self) -> tuple[str, ...]:
        """Names of the classes, in the order of their numbers; empty where there are none."""
        return self.task.labels or ()

    @property
    def head(self) -> TaskHead:
        """What the task asks a model to give."""
        return TaskHead(self.task.kind, len(self.labels) or 1)

    @property
    def fingerprint(self) -> str:
        """Return 16 hexadecimal digits that depend on every row and the order."""
        splits = [
            [split.texts, split.labels or split.completions]
            for split in (self.train, self.validation)
        ]
        text = json.dumps([self.labels, *splits], ensure_ascii=False)
        return hashlib.sha256(text.encode()).hexdigest()[:16]


def load_data(
    task: TaskSpec,
    data: Path | None = None,
    *,
    train_rows: int | None = None,
    eval_rows: int | None = None,
    seed: int = 0,
) -> TaskData:
    """Load, split, check and thin out the data of a task.

    Args:
        task: The task; without labels it gets those of the training rows.
        data: A file, or a folder with `train.*` and, optionally, `validation.*`; `None` takes
            the built-in data or the Hub's.
        train_rows: Number of training rows to keep, stratified by label; `None` keeps all.
        eval_rows: Number of validation rows to keep.
        seed: Seed of the held-out part and of thinning out.

    Raises:
        DataError: If there is no data, columns are missing, a label is unknown, or the training
            rows are empty or of one class.
    """
    train_raw, validation_raw, origin = _raw_splits(task, data)
    task = _with_labels(task, train_raw, origin)
    train = _split(task, train_raw, f"{origin} (train)")
    rng = np.random.default_rng(seed)
    if validation_raw is None:
        train, validation = _held_out(train, rng, task.kind, origin)
    else:
        validation = _split(task, validation_raw, f"{origin} (validation)")
    train = _thinned(train, train_rows or task.train_rows, rng, task.kind)
    validation = _thinned(validation, eval_rows or task.eval_rows, rng, task.kind)
    _check(task, train, validation, origin)
    return TaskData(task=task, train=train, validation=validation, origin=origin)


def own_task(
    text_columns: Sequence[str],
    path: Path,
    *,
    label_column: str | None = None,
    completion_column: str | None = None,
) -> TaskSpec:
    """Return the spec of a user's own data, named after the file.

    Args:
        text_columns: Columns of the texts that a model reads.
        path: File or folder of the data.
        label_column: Column of the class, for a classification.
        completion_column: Column of the text to write instead of it.
    """
    name = "".join(c if c.isalnum() or c in "._-" else "-" for c in path.stem) or "own"
    asked = completion_column or label_column
    assert asked is not None
    source = f" from {' and '.join(text_columns)}" if text_columns else ""
    return TaskSpec(
        schema_version=1,
        name=name,
        about=f"{path.name}: {asked}{source}.",
        kind="language_modeling" if completion_column else "classification",
        text_columns=tuple(text_columns),
        label_column=asked,
        metrics=("token_accuracy",) if completion_column else ("accuracy", "macro_f1"),
    )


def _raw_splits(task: TaskSpec, data: Path | None) -> tuple[list[Row], list[Row] | None, str]:
    if data is not None:
        if not data.exists():
            raise DataError(f"There is no file or folder '{data}' with data.")
        return _from_folder(data) if data.is_dir() else (read_rows(data), None, data.name)
    if task.builtin == "pydoc":
        train, validation, origin = pydoc_splits()
        return train, validation, origin
    if task.hub is not None:
        return _from_hub(task)
    raise DataError(f"The task '{task.name}' needs data: give --data with a file or a folder.")


def _from_folder(folder: Path) -> tuple[list[Row], list[Row] | None, str]:
    train = find_split(folder, ("train",))
    if train is None:
        raise DataError(f"The folder '{folder}' holds no train.jsonl, train.csv or train.parquet.")
    validation = find_split(folder, ("validation", "valid", "dev"))
    rows = read_rows(validation) if validation else None
    return read_rows(train), rows, folder.name


def _from_hub(task: TaskSpec) -> tuple[list[Row], list[Row] | None, str]:
    from datasets import load_dataset

    assert task.hub is not None
    hub = task.hub
    name = f"{hub.path}{'/' + hub.subset if hub.subset else ''}"
    try:
        loaded = load_dataset(hub.path, hub.subset, revision=hub.revision)
    except Exception as error:
        raise DataError(
            f"Cannot load '{name}' from the Hugging Face Hub for the task '{task.name}': connect "
            "to a network, or give the data with --data FOLDER (train.jsonl, validation.jsonl)."
        ) from error
    validation = list(loaded[hub.validation]) if hub.validation else None
    return list(loaded[hub.train]), validation, f"{name}{HUB_ORIGIN}"


def _with_labels(task: TaskSpec, rows: list[Row], origin: str) -> TaskSpec:
    if task.kind != "classification" or task.labels is not None:
        return task
    check_columns(task, rows, origin)
    values = {label_text(row[task.label_column]) for row in rows}
    return task.model_copy(update={"labels": tuple(sorted(values, key=_natural))})


def _natural(text: str) -> tuple[int, float, str]:
    """Sort key that puts numbers in their order, before words."""
    try:
        return (0, float(text), text)
    except ValueError:
        return (1, 0.0, text)


def _split(task: TaskSpec, rows: list[Row], origin: str) -> Split:
    check_columns(task, rows, origin)
    if task.kind == "language_modeling":
        return Split(
            texts=tuple((task.prompt_of(row),) for row in rows),
            completions=tuple(str(row[task.label_column]) for row in rows),
        )
    numbers = {name: i for i, name in enumerate(task.labels or ())}
    texts, labels = [], []
    for number, row in enumerate(rows, start=1):
        texts.append(tuple(str(row[column]) for column in task.text_columns))
        labels.append(
            label_number(task, row[task.label_column], numbers, f"{origin}, row {number}")
        )
    return Split(texts=tuple(texts), labels=tuple(labels))


def _held_out(rows: Split, rng: np.random.Generator, kind: str, origin: str) -> tuple[Split, Split]:
    """Return the rows to train on and those to evaluate on.

    No class is held out whole: what was never seen says nothing of a model.
    """
    usable = list(range(len(rows)))
    if kind == "classification":
        classes, counts = np.unique(rows.labels, return_counts=True)
        alone = set(classes[counts == 1].tolist())
        usable = [i for i in usable if rows.labels[i] not in alone]
        if not usable:
            raise DataError(
                f"{origin}: no two rows have the same label: name the column of a class, or give "
                "validation rows too."
            )
    # Of half of the rows, of equal shares of each class, at least one row of each is left.
    n = min(max(1, round(HELD_OUT_SHARE * len(rows))), len(usable) // 2)
    chosen = {usable[i] for i in _stratified(rows.take(usable), n, rng, kind)}
    kept = sorted(set(range(len(rows))) - chosen)
    return rows.take(kept), rows.take(sorted(chosen))


def _stratified(split: Split, n: int, rng: np.random.Generator, kind: str) -> list[int]:
    """Return sorted indices of `n` rows with the label shares of the split."""
    if kind != "classification":
        return sorted(int(i) for i in rng.permutation(len(split))[:n])
    labels = np.asarray(split.labels)
    order = rng.permutation(len(split))
    # Rank of each row within its class: taking the smallest (rank + 0.5) / class size takes the
    # same share of every class, and exactly n rows in all.
    priority = np.empty(len(split))
    for label in np.unique(labels):
        rows = order[labels[order] == label]
        priority[rows] = (np.arange(len(rows)) + 0.5) / len(rows)
        priority[rows[0]] = 0.0  # a rare class keeps a row as long as there is room for all
    chosen = np.lexsort((order, priority))[:n]
    return sorted(int(i) for i in chosen)


def _thinned(split: Split, n: int | None, rng: np.random.Generator, kind: str) -> Split:
    if n is None or n >= len(split):
        return split
    return split.take(_stratified(split, n, rng, kind))


def _check(task: TaskSpec, train: Split, validation: Split, origin: str) -> None:
    if not len(train) or not len(validation):
        raise DataError(f"{origin}: there are no rows to train or to evaluate on.")
    # A text to write may stand alone.
    if task.kind != "language_modeling" and not any(any(texts) for texts in train.texts):
        raise DataError(f"{origin}: all texts of the training rows are empty.")
    if task.kind == "classification" and len(set(train.labels)) < 2:
        raise DataError(f"{origin}: all training rows have the same label: nothing can be learned.")
