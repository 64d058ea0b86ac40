"""Recipes: the files with which TRL, LLaMA-Factory and Axolotl train a trial's configuration."""

import math
from pathlib import Path

import yaml

from autopeft.errors import RequestError
from autopeft.export.facts import ExportFacts
from autopeft.export.lora_plan import LoraPlan, lora_plan
from autopeft.export.projects import PROJECTS, Project, RecipeTraining
from autopeft.trials.trial import TrialRecord

#: How much an alpha may differ from a whole number where only these can be written, as a share.
_ALPHA_TOLERANCE = 0.05


def recipe(name: str, record: TrialRecord, adapter: Path, facts: ExportFacts) -> tuple[str, str]:
    """Return the name and the text of a project's recipe for a trial.

    Args:
        name: One of `PROJECTS`.
        record: The trial.
        adapter: Folder of its trained weights.
        facts: Model, task and lengths.

    Raises:
        RequestError: If the project cannot train this.
    """
    project = PROJECTS[name]
    _check_task(project, facts)
    plan = lora_plan(record, adapter, facts.n_layers)
    if plan is not None:
        _check_lora(project, plan, record.number)
    training = _training(record, facts)
    text = yaml.safe_dump(
        project.settings(training, plan), sort_keys=False, allow_unicode=True, width=100
    )
    return project.file, "".join(f"# {line}\n" for line in _header(project, record, facts)) + text


def _check_task(project: Project, facts: ExportFacts) -> None:
    if facts.writing is None or facts.writing.output != "next_tokens":
        asked = "classifies or rates" if facts.writing is None else "writes with an encoder-decoder"
        raise RequestError(
            f"{project.title} trains decoders that write text, and this study {asked}: use "
            "--format peft or script."
        )
    if facts.reference.location.endswith(".gguf"):
        raise RequestError(
            f"{project.title} does not train GGUF files, such as '{facts.base}': search on the "
            "original model, or use --format peft or script."
        )


def _check_lora(project: Project, plan: LoraPlan, number: int) -> None:
    problem = None
    if plan.variant not in project.variants:
        problem = f"the variant '{plan.variant}'"
    elif plan.init not in project.inits:
        problem = f"the init '{plan.init}'"
    elif plan.b_rate_over_a != 1 and not project.two_rates:
        problem = f"a learning rate of B that is {plan.b_rate_over_a:g} times that of A"
    elif project.whole_alpha and not _near_whole(plan.alpha):
        problem = f"an alpha of {plan.alpha:g}, which is no whole number"
    if problem:
        raise RequestError(
            f"{project.title} has no field for lora with {problem}, as trial {number} has it: "
            "leave it out of --format, or pick another trial."
        )


def _near_whole(alpha: float) -> bool:
    return abs(round(alpha) - alpha) <= _ALPHA_TOLERANCE * alpha


def _training(record: TrialRecord, facts: ExportFacts) -> RecipeTraining:
    training = record.spec.configuration.training
    # The parts of a batch must have one size there.
    micro = math.gcd(training.batch_size, training.rows_at_once)
    return RecipeTraining(
        base=facts.base,
        max_length=facts.max_length,
        learning_rate=training.learning_rate,
        micro_batch=micro,
        n_parts=training.batch_size // micro,
        epochs=record.spec.epochs,
        warmup_steps=math.ceil(training.warmup_share * record.reports[-1].step),
        weight_decay=training.weight_decay,
        seed=record.spec.seed,
    )


def _header(project: Project, record: TrialRecord, facts: ExportFacts) -> list[str]:
    limit = record.spec.configuration.training.max_tokens
    lines = [
        f"Trains the configuration of trial {record.number} with {project.title}; the fields are "
        f"those of {project.version}.",
        f"In this folder: {project.command} {project.file}",
        "It computes in float32; on a GPU with bf16 units, bf16: true is faster. The order of the",
        "rows is another one than in the search, so that the result differs by its noise.",
    ]
    if facts.reference.hub_id is None:
        lines.append(
            f"The base model has no name on the Hub: write its folder in the place of {facts.base}."
        )
    if limit is not None:
        lines.append(f"There is no field for the search's limit of {limit} tokens a batch.")
    return lines
