"""Export: a complete trial as a folder that needs only transformers and peft."""

import json
import shutil
import string
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from autopeft.errors import StudyError
from autopeft.methods.adapter_files import DESCRIPTION
from autopeft.models.registry import ModelReference
from autopeft.space.wording import layer_text, setting_text, target_text
from autopeft.trials.trial import TrialRecord, TrialStatus

_TEMPLATES = Path(__file__).parent / "templates"


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportFacts:
    """What the files of an export say beside the trial itself.

    Attributes:
        reference: The base model.
        task: Name of the task.
        about: The task in one sentence.
        metric: Name of the quality.
        labels: Names of the classes; empty for regression.
        max_length: Longest input in tokens.
        n_layers: Layers of the base model.
        n_texts: Texts of an input, 1 or 2.
        origin: Where the data comes from.
        fingerprint: Fingerprint of the data.
        train_rows: Number of training rows.
        eval_rows: Number of validation rows.
        command: The command of the search.
        versions: Versions of the packages, by name.
        front: The front as a table in Markdown.
        trials: How many trials ended how.
    """

    reference: ModelReference
    task: str
    about: str
    metric: str
    labels: tuple[str, ...]
    max_length: int
    n_layers: int
    n_texts: int
    origin: str
    fingerprint: str
    train_rows: int
    eval_rows: int
    command: str
    versions: Mapping[str, str]
    front: str
    trials: str

    @property
    def base(self) -> str:
        """Name of the base model for other machines: the Hub id if there is one."""
        return self.reference.hub_id or self.reference.location


def export_trial(record: TrialRecord, adapter: Path, facts: ExportFacts, to: Path) -> Path:
    """Write a complete trial as a folder of its own.

    The folder holds the adapter in peft's format (`adapter_config.json`,
    `adapter_model.safetensors`; for full fine-tuning the model itself), `configuration.yaml`,
    a model card and `predict.py`.

    Args:
        record: The trial.
        adapter: Folder of its trained weights.
        facts: What the files say beside it.
        to: Folder to make; it must not hold anything.

    Raises:
        StudyError: If the trial is not complete, its weights are gone, or `to` is not empty.
    """
    _check(record, adapter, to)
    to.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=to.parent, prefix=".export-") as scratch:
        folder = Path(scratch) / "export"
        shutil.copytree(adapter, folder)
        _name_base(folder / "adapter_config.json", facts.base)
        library = _library(folder)
        configuration = record.spec.configuration.to_dict()
        text = yaml.safe_dump(configuration, sort_keys=False, allow_unicode=True)
        (folder / "configuration.yaml").write_text(text, encoding="utf-8")
        (folder / "predict.py").write_text(_script(facts, library), encoding="utf-8")
        (folder / "README.md").write_text(_card(record, facts, library), encoding="utf-8")
        if to.exists():
            to.rmdir()
        shutil.move(str(folder), to)
    return to


def check_target(to: Path) -> None:
    """Check that an export may be written to a folder.

    Raises:
        StudyError: If something is there already.
    """
    if to.exists() and (not to.is_dir() or any(to.iterdir())):
        raise StudyError(f"'{to}' already exists and is not empty: name another folder.")


def _check(record: TrialRecord, adapter: Path, to: Path) -> None:
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
    check_target(to)


def _name_base(path: Path, base: str) -> None:
    """Write the base model's name for other machines into peft's config."""
    if path.is_file():
        config = json.loads(path.read_text(encoding="utf-8"))
        config["base_model_name_or_path"] = base
        path.write_text(json.dumps(config, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def _library(folder: Path) -> str:
    """Return which library reads the weights: peft, autopeft, or transformers alone."""
    files = {"adapter_config.json": "peft", DESCRIPTION: "autopeft"}
    return next((name for f, name in files.items() if (folder / f).is_file()), "transformers")


def _script(facts: ExportFacts, library: str) -> str:
    classifier = "AutoModelForSequenceClassification"
    imports = f"from transformers import {classifier}, AutoTokenizer"
    n_labels = len(facts.labels) or 1
    load = [
        f"    model = {classifier}.from_pretrained(base, num_labels={n_labels})",
        "    model.config.pad_token_id = tokenizer.pad_token_id",
    ]
    if library == "peft":
        imports = f"from peft import PeftModel\n{imports}"
        load.append("    model = PeftModel.from_pretrained(model, str(HERE))")
    elif library == "autopeft":
        imports = f"from autopeft import load_adapter\n{imports}"
        load.append("    model = load_adapter(model, HERE)")
    else:
        load = [f"    model = {classifier}.from_pretrained(HERE)"]
    return _fill(
        "predict.py.txt",
        imports=imports,
        load="\n".join(load),
        needs="torch, transformers" + (f" and {library}" if library != "transformers" else ""),
        base=repr(facts.base),
        local_base=repr(facts.reference.location if facts.reference.is_local else None),
        labels=repr(list(facts.labels)),
        max_length=str(facts.max_length),
    )


def _card(record: TrialRecord, facts: ExportFacts, library: str) -> str:
    configuration = record.spec.configuration
    training = configuration.training
    example = ", ".join(['"a text"'] * facts.n_texts)
    usage = (
        "from predict import load, predict\n\nmodel, tokenizer = load()\n"
        f"print(predict(model, tokenizer, {example}))"
    )
    return _fill(
        "model_card.md",
        base=facts.base,
        library=library,
        title=f"{facts.task}: {configuration.method} on {facts.base}",
        task=facts.task,
        about=facts.about,
        metric=facts.metric,
        quality=f"{record.quality:.4f}",
        adapter_params=f"{record.cost.adapter_params:,}",
        share=f"{100 * record.cost.adapter_params / record.cost.base_params:.3g} %",
        head_params=f"{record.cost.head_params:,}",
        memory=f"{record.cost.peak_memory_bytes / 2**20:,.0f} MiB",
        method=configuration.method,
        targets=target_text(configuration) or "none",
        layers=layer_text(configuration, facts.n_layers) or "none",
        settings=setting_text(configuration) or "none",
        learning_rate=f"{training.learning_rate:g}",
        batch_size=str(training.batch_size),
        epochs=f"{record.spec.epochs:g}",
        seed=str(record.spec.seed),
        origin=facts.origin,
        fingerprint=facts.fingerprint,
        train_rows=f"{facts.train_rows:,}",
        eval_rows=f"{facts.eval_rows:,}",
        usage=usage,
        example='a text" "its second text' if facts.n_texts == 2 else "a text",
        trials=facts.trials,
        number=str(record.number),
        front=facts.front,
        command=facts.command,
        versions=_versions(facts.versions),
    )


def _versions(versions: Mapping[str, str]) -> str:
    return ", ".join(f"{name} {version}" for name, version in versions.items())


def _fill(template: str, **values: Any) -> str:
    text = (_TEMPLATES / template).read_text(encoding="utf-8")
    return string.Template(text).substitute(values)
