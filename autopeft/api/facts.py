"""What the files of an export say beside the trial itself, from a study."""

import re
import shlex
from pathlib import Path
from typing import Any

from autopeft.api.result import SearchResult
from autopeft.export.base_card import license_of
from autopeft.export.facts import ExportFacts, Writing
from autopeft.models.registry import ModelReference
from autopeft.report.markdown import front_markdown, noise_text
from autopeft.tasks.data import HUB_ORIGIN
from autopeft.trials.trial import TrialRecord


def export_facts(result: SearchResult, record: TrialRecord) -> ExportFacts:
    """Return what the files of an export say beside the trial itself."""
    model, task = result.manifest["model"], result.manifest["task"]
    reference = reference_of(result.manifest)
    picture = result.folder.report / "pareto.png"
    return ExportFacts(
        reference=reference,
        license=license_of(reference),
        dataset=_hub_dataset(task["origin"]),
        picture=picture if picture.is_file() else None,
        task=task["name"],
        about=task["about"],
        metric=task["metric"],
        labels=tuple(task["labels"]),
        max_length=task["max_length"],
        n_layers=model["n_layers"],
        n_texts=task["n_texts"],
        writing=_writing(task),
        origin=task["origin"],
        fingerprint=task["fingerprint"],
        train_rows=task["train_rows"],
        eval_rows=task["eval_rows"],
        command=without_folders(result.manifest["command"]),
        versions=result.manifest["versions"],
        front=front_markdown(result.summary),
        trials=result.summary.statuses(),
        searched=result.manifest["request"].get("configuration") is None,
        noise=noise_text(result.summary, record),
    )


def reference_of(manifest: dict[str, Any]) -> ModelReference:
    """Return the base model of a study."""
    model = manifest["model"]
    return ModelReference(name=model["name"], location=model["location"], hub_id=model["hub_id"])


def without_folders(command: str) -> str:
    """Return a command without the folders of this machine: files and folders by their names."""
    return shlex.join(_without_folder(word) for word in shlex.split(command))


def _without_folder(word: str) -> str:
    # An option and its value in one word; a database in a file; a path by itself.
    prefix, path = re.fullmatch(r"(-[^=]*=)?(?s:(.*))", word).groups()  # type: ignore[union-attr]
    prefix = prefix or ""
    if path.startswith("sqlite:///"):
        prefix, path = f"{prefix}sqlite:///", path.removeprefix("sqlite:///")
    return prefix + (Path(path).name if path.startswith(("/", "~", "..")) else path)


def _writing(task: dict[str, Any]) -> Writing | None:
    writing = task.get("writing")  # studies were made before there were tasks of writing
    if writing is None:
        return None
    columns = tuple(writing["text_columns"])
    return Writing(output=writing["output"], text_columns=columns, prompt=writing["prompt"])


def _hub_dataset(origin: str) -> str | None:
    """Return the Hub's name of a data set, if it is from there: `owner/name`, without a subset."""
    name, mark, _ = origin.partition(HUB_ORIGIN)
    return "/".join(name.split("/")[:2]) if mark else None
