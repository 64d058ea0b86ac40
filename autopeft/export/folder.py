"""Export: a complete trial as a folder that needs only transformers and peft."""

import json
import shutil
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import yaml

from autopeft.errors import StudyError
from autopeft.export.card import PICTURE, model_card
from autopeft.export.facts import ExportFacts
from autopeft.export.script import predict_script
from autopeft.methods.adapter_files import DESCRIPTION
from autopeft.trials.trial import TrialRecord, TrialStatus

#: Writes further files into an exported folder.
Part = Callable[[Path], None]


def export_trial(
    record: TrialRecord, adapter: Path, facts: ExportFacts, to: Path, parts: Sequence[Part] = ()
) -> Path:
    """Write a complete trial as a folder of its own.

    The folder holds the adapter in peft's format (`adapter_config.json`,
    `adapter_model.safetensors`; for full fine-tuning the model itself), `configuration.yaml`,
    a model card and `predict.py`.

    Args:
        record: The trial.
        adapter: Folder of its trained weights.
        facts: What the files say beside it.
        to: Folder to make; it must not hold anything.
        parts: What else is written; where one fails, nothing is.

    Raises:
        StudyError: If the trial is not complete, its weights are gone, or `to` is not empty.
    """
    check_export(record, adapter, to)
    to.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=to.parent, prefix=".export-") as scratch:
        folder = Path(scratch) / "export"
        _copy(adapter, folder)
        _name_base(folder / "adapter_config.json", facts.reference.hub_id)
        library = _library(folder)
        configuration = record.spec.configuration.to_dict()
        text = yaml.safe_dump(configuration, sort_keys=False, allow_unicode=True)
        (folder / "configuration.yaml").write_text(text, encoding="utf-8")
        (folder / "predict.py").write_text(predict_script(facts, library), encoding="utf-8")
        if facts.picture is not None:
            shutil.copyfile(facts.picture, folder / PICTURE)
        for part in parts:
            part(folder)
        (folder / "README.md").write_text(model_card(record, facts, library), encoding="utf-8")
        if to.exists():
            to.rmdir()
        shutil.move(str(folder), to)
    return to


def check_target(to: Path) -> None:
    """Check that an export may be written to a folder.

    Raises:
        StudyError: If something is there already, or a file where the folder is to lie, or nothing
            can be written there.
    """
    file = next((place for place in (to, *to.parents) if place.is_file()), None)
    if file is not None:
        raise StudyError(f"'{file}' is a file: name another folder.")
    if to.exists() and any(to.iterdir()):
        raise StudyError(f"'{to}' already exists and is not empty: name another folder.")
    above = next(place for place in to.absolute().parents if place.exists())
    try:
        # Rights alone do not tell: of /proc root has them all.
        tempfile.TemporaryDirectory(dir=above, prefix=".export-").cleanup()
    except OSError as error:
        raise StudyError(
            f"Cannot write to '{above}' ({error.strerror}): name another folder than '{to}'."
        ) from error


def check_export(record: TrialRecord, adapter: Path, to: Path) -> None:
    """Check that a trial may be exported to a folder.

    Raises:
        StudyError: If the trial is not complete, its weights are gone, or `to` is not empty.
    """
    check_trial(record, adapter)
    check_target(to)


def check_trial(record: TrialRecord, adapter: Path) -> None:
    """Check that there is something to export.

    Raises:
        StudyError: If the trial is not complete, or its weights are gone or cut off.
    """
    if record.status.failed:
        reason = record.result.reason if record.result else ""
        raise StudyError(f"Trial {record.number} failed ({record.status.value}): {reason}")
    if record.status is not TrialStatus.COMPLETE:
        raise StudyError(
            f"Trial {record.number} is {record.status.value} at {100 * record.fidelity:.0f} % of a "
            "training: only complete trials can be exported."
        )
    if not adapter.is_dir():
        raise StudyError(f"The weights of trial {record.number} are missing: '{adapter}'.")
    for file in sorted(adapter.iterdir()):
        if not _is_whole(file):
            raise StudyError(
                f"The weights of trial {record.number} are damaged: '{file}' cannot be read. Bring "
                "it back, or name another trial."
            )


def _copy(adapter: Path, to: Path) -> None:
    """Copy the files of an adapter, but not that they can only be read, as in another's study."""
    for file in filter(Path.is_file, adapter.rglob("*")):
        place = to / file.relative_to(adapter)
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, place)


def _is_whole(file: Path) -> bool:
    """Tell whether a file of an adapter can be read; of tensors, where they lie in it."""
    from safetensors import SafetensorError, safe_open

    try:
        if file.suffix == ".json":
            json.loads(file.read_text(encoding="utf-8"))
        elif file.suffix == ".safetensors":
            with safe_open(file, framework="numpy"):
                pass
    except (ValueError, SafetensorError):
        return False
    return True


def _name_base(path: Path, base: str | None) -> None:
    """Write the base model's name on the Hub into peft's config, or that it has none."""
    if path.is_file():
        config = json.loads(path.read_text(encoding="utf-8"))
        config["base_model_name_or_path"] = base
        path.write_text(json.dumps(config, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def _library(folder: Path) -> str:
    """Return which library reads the weights: peft, autopeft, or transformers alone."""
    files = {"adapter_config.json": "peft", DESCRIPTION: "autopeft"}
    return next((name for f, name in files.items() if (folder / f).is_file()), "transformers")
