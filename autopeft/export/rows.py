"""The rows of a study as files, for scripts and recipes that train again."""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from autopeft.export.projects import DATA, LLAMA_FACTORY_DATA
from autopeft.tasks.data import Split, TaskData

#: Column names that are alike for all tasks.
TEXTS, LABEL, PROMPT, COMPLETION = ("text", "text_pair"), "label", "prompt", "completion"


def write_rows(folder: Path, data: TaskData) -> None:
    """Write the rows that the study trained and was evaluated on, as JSON lines.

    Args:
        folder: The exported folder.
        data: The study's data. Its rows get the columns `prompt` and `completion`, or `text`,
            `text_pair` and `label`.
    """
    for name, split in _splits(data).items():
        _write(folder / DATA / f"{name}.jsonl", _rows(split, data.task.kind))


def write_llama_factory_rows(folder: Path, data: TaskData, start: str, end: str) -> None:
    """Write the rows for LLaMA-Factory's template `empty`, which adds no token of its own.

    Args:
        folder: The exported folder.
        data: The study's data, with prompts and completions.
        start: Token that begins every text of the model; may be empty.
        end: Token that ends it.
    """
    splits = _splits(data)
    for name, split in splits.items():
        rows = _rows(split, data.task.kind)
        marked = ({PROMPT: start + row[PROMPT], COMPLETION: row[COMPLETION] + end} for row in rows)
        _write(folder / LLAMA_FACTORY_DATA / f"{name}.jsonl", marked)
    columns = {"prompt": PROMPT, "response": COMPLETION}
    listed = {name: {"file_name": f"{name}.jsonl", "columns": columns} for name in splits}
    text = json.dumps(listed, indent=2) + "\n"
    (folder / LLAMA_FACTORY_DATA / "dataset_info.json").write_text(text, encoding="utf-8")


def _splits(data: TaskData) -> dict[str, Split]:
    return {"train": data.train, "validation": data.validation}


def _rows(split: Split, kind: str) -> Iterable[Mapping[str, Any]]:
    if kind == "language_modeling":
        for (prompt,), completion in zip(split.texts, split.completions, strict=True):
            yield {PROMPT: prompt, COMPLETION: completion}
        return
    for texts, label in zip(split.texts, split.labels, strict=True):
        value = label if kind == "regression" else int(label)
        yield {**dict(zip(TEXTS, texts, strict=False)), LABEL: value}


def _write(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    path.parent.mkdir(exist_ok=True)
    text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    path.write_text(text, encoding="utf-8")
