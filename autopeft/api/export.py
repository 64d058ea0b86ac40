"""What an export holds beside the adapter: recipes, and the rows that they train on."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from autopeft.api.problem import data_of, task_of
from autopeft.api.recorded import recorded_request
from autopeft.errors import StudyError, UnknownNameError
from autopeft.export.facts import ExportFacts
from autopeft.export.folder import Part
from autopeft.export.merge import check_mergeable, write_merged
from autopeft.export.mlflow_model import write_model
from autopeft.export.projects import PROJECTS
from autopeft.export.recipes import recipe
from autopeft.export.rows import write_llama_factory_rows, write_rows
from autopeft.export.train_script import train_script
from autopeft.models.head import TaskHead
from autopeft.models.loading import load_tokenizer
from autopeft.models.registry import ModelReference
from autopeft.tasks.data import TaskData
from autopeft.trials.trial import TrialRecord

#: What an export can hold; the adapter in peft's files is always in it.
FORMATS = ("peft", "script", "mlflow", *PROJECTS)
#: Those that hold the rows of the study.
_TRAINING = ("script", *PROJECTS)


def parse_formats(text: str) -> tuple[str, ...]:
    """Return the formats of a comma-separated list.

    Raises:
        UnknownNameError: If one of them is not known, or there is none.
    """
    names = tuple(dict.fromkeys(name.strip() for name in text.split(",") if name.strip()))
    for name in names or ("",):
        if name not in FORMATS:
            raise UnknownNameError("format", name, FORMATS)
    return names


def study_data(manifest: dict[str, Any]) -> TaskData:
    """Return the data that a study was made with.

    Raises:
        DataError: If it cannot be read any more.
        StudyError: If it has changed since, or the study does not say which it was.
    """
    request = recorded_request(manifest)
    data = data_of(request, task_of(request))
    if data.fingerprint != manifest["task"]["fingerprint"]:
        raise StudyError(
            "The rows are not those that the study was made with, because the data has changed or "
            "this version splits it in another way: bring the old ones back, or leave --format "
            "out."
        )
    return data


def further_parts(
    manifest: dict[str, Any],
    record: TrialRecord,
    adapter: Path,
    facts: ExportFacts,
    formats: Sequence[str],
    *,
    merge: bool,
) -> list[Part]:
    """Return what writes the asked formats beside the adapter; nothing is written yet.

    Args:
        manifest: Of the study.
        record: The trial.
        adapter: Folder of its trained weights.
        facts: What the files say.
        formats: Some of `FORMATS`.
        merge: Whether the merged model is written too.

    Raises:
        AutopeftError: If a format cannot hold the trial, or the data is not there any more.
    """
    asked = [name for name in formats if name in _TRAINING]
    recipes = [recipe(name, record, adapter, facts) for name in asked if name in PROJECTS]
    data = study_data(manifest) if asked else None
    if data is not None and "script" in asked:
        request = manifest["request"]
        text = train_script(
            record,
            facts,
            data.head,
            precision=request["precision"],
            trust_remote_code=request["trust_remote_code"],
        )
        recipes.append(("train.py", text))
    parts: list[Part] = []
    if "mlflow" in formats:  # first: it takes the adapter along, and no rows or merged weights
        parts.append(partial(write_model, facts=facts))
    parts += [partial(_write_text, name=name, text=text) for name, text in recipes]
    if data is not None:
        parts.append(partial(write_rows, data=data))
        if "llama-factory" in asked:
            start, end = _marks(facts.reference, manifest["request"])
            parts.append(partial(write_llama_factory_rows, data=data, start=start, end=end))
    if merge:
        check_mergeable(record, adapter)
        trusted = bool(manifest["request"].get("trust_remote_code"))
        merged = partial(write_merged, adapter=adapter, facts=facts, head=_head(facts))
        parts.append(partial(merged, trust_remote_code=trusted))
    return parts


def _head(facts: ExportFacts) -> TaskHead:
    if facts.writing is not None:
        return TaskHead("language_modeling")
    return TaskHead("classification" if facts.labels else "regression", len(facts.labels) or 1)


def _write_text(folder: Path, *, name: str, text: str) -> None:
    (folder / name).write_text(text, encoding="utf-8")


def _marks(reference: ModelReference, request: dict[str, Any]) -> tuple[str, str]:
    """Return the tokens that stand before and after every text of a model, as text."""
    trusted = bool(request.get("trust_remote_code"))
    tokenizer = load_tokenizer(reference, trust_remote_code=trusted)
    ids = tokenizer("")["input_ids"]
    begins = bool(ids) and ids[0] == tokenizer.bos_token_id
    return (str(tokenizer.bos_token) if begins else "", str(tokenizer.eos_token or ""))
