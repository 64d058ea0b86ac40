"""A trial as users write it today: load, tokenise, `get_peft_model`, `Trainer`.

Hyperparameters, schedule, optimiser groups, batch size and metric are those of autopeft; the order
of the rows and the evaluation batches of 8 are `Trainer`'s own. Nothing is written to disk.
"""

import copy
import logging
import tempfile
import time
import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from datasets import Dataset, disable_progress_bars
from material import Material, cores, peak_of
from peft import AdaLoraConfig, PeftConfig, get_peft_model
from torch import nn
from transformers import (
    AutoModelForSequenceClassification,
    AutoTokenizer,
    DataCollatorWithPadding,
    Trainer,
    TrainerCallback,
    TrainingArguments,
    get_linear_schedule_with_warmup,
    set_seed,
)
from transformers.utils import logging as transformers_logging

from autopeft.methods.library import LibraryMethod
from autopeft.methods.method import AttachContext
from autopeft.methods.registry import get_method
from autopeft.space.configuration import Configuration, TrainingParams
from autopeft.tasks.data import Split


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """A configuration as a user has it: peft's config, or `None` for full fine-tuning."""

    peft_config: PeftConfig | None
    training: TrainingParams


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """What all trials share."""

    model: str
    n_labels: int
    head_modules: tuple[str, ...]
    max_length: int
    train: Split
    validation: Split
    steps: int
    seed: int


def job_of(material: Material) -> Job:
    """Return what all trials share."""
    problem = material.problem
    return Job(
        model=problem.reference.location,
        n_labels=problem.data.head.n_labels,
        head_modules=problem.spec.head_modules,
        max_length=problem.max_length,
        train=problem.data.train,
        validation=problem.data.validation,
        steps=material.steps,
        seed=material.settings.seed,
    )


def recipe_of(configuration: Configuration, material: Material) -> Recipe:
    """Return a configuration of autopeft as a user would have written it."""
    [component] = configuration.components
    method = get_method(component.method)
    if not isinstance(method, LibraryMethod):
        assert component.method == "full"
        return Recipe(peft_config=None, training=configuration.training)
    spec = material.problem.spec
    context = AttachContext(spec=spec, total_steps=material.steps, seed=material.settings.seed)
    config = method.config(component, method.info.select(component, spec), context)
    return Recipe(peft_config=config, training=configuration.training)


def train_and_score(recipe: Recipe, job: Job) -> dict[str, Any]:
    """Run a trial; return its accuracy, its seconds in training and evaluation, its memory."""
    _quiet()
    torch.set_num_threads(cores())
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
    set_seed(job.seed)
    tokenizer = AutoTokenizer.from_pretrained(job.model)
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    model = AutoModelForSequenceClassification.from_pretrained(
        job.model, num_labels=job.n_labels, dtype=torch.float32
    )
    model.config.pad_token_id = tokenizer.pad_token_id
    if recipe.peft_config is not None:
        model = get_peft_model(model, copy.deepcopy(recipe.peft_config))
    with tempfile.TemporaryDirectory() as scratch:
        trainer = _trainer(model, tokenizer, recipe, job, scratch)
        watch = _Watch()
        trainer.add_callback(watch)
        trainer.train()
        started = time.perf_counter()
        metrics = trainer.evaluate()
        evaluation = time.perf_counter() - started
    return {
        "accuracy": metrics["eval_accuracy"],
        "busy": watch.seconds + evaluation,
        "cpu": time.process_time(),
        "peak_bytes": peak_of(),
        "device_bytes": torch.cuda.max_memory_allocated() if torch.cuda.is_available() else None,
    }


def _trainer(model: nn.Module, tokenizer: Any, recipe: Recipe, job: Job, scratch: str) -> Trainer:
    training = recipe.training
    arguments = TrainingArguments(
        output_dir=scratch,
        max_steps=job.steps,
        per_device_train_batch_size=training.batch_size,
        seed=job.seed,
        save_strategy="no",
        logging_strategy="no",
        report_to="none",
        disable_tqdm=True,
    )
    optimizer = torch.optim.AdamW(_groups(model, training, job.head_modules))
    warmup = int(np.ceil(training.warmup_share * job.steps))
    return Trainer(
        model,
        arguments,
        data_collator=DataCollatorWithPadding(tokenizer),
        train_dataset=_tokenised(job.train, tokenizer, job.max_length),
        eval_dataset=_tokenised(job.validation, tokenizer, job.max_length),
        compute_metrics=_accuracy,
        optimizers=(optimizer, get_linear_schedule_with_warmup(optimizer, warmup, job.steps)),
        callbacks=[_PruneRanks(model)] if _prunes(recipe.peft_config) else [],
    )


def _groups(
    model: nn.Module, training: TrainingParams, head_modules: tuple[str, ...]
) -> list[dict[str, Any]]:
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            in_head = not set(head_modules).isdisjoint(name.split("."))
            head_rate = training.head_learning_rate or training.learning_rate
            rate = head_rate if in_head else training.learning_rate
            decay = training.weight_decay if parameter.dim() > 1 else 0.0
            groups.setdefault((rate, decay), []).append(parameter)
    return [{"params": p, "lr": lr, "weight_decay": d} for (lr, d), p in groups.items()]


def _tokenised(split: Split, tokenizer: Any, max_length: int) -> Dataset:
    columns = {f"text{i}": list(texts) for i, texts in enumerate(zip(*split.texts, strict=True))}
    labels = [int(label) for label in split.labels]
    rows = Dataset.from_dict({**columns, "labels": labels})
    return rows.map(
        lambda batch: tokenizer(
            *(batch[column] for column in columns), truncation=True, max_length=max_length
        ),
        batched=True,
        remove_columns=list(columns),
    )


def _accuracy(prediction: Any) -> dict[str, float]:
    chosen = np.argmax(prediction.predictions, axis=-1)
    return {"accuracy": float(np.mean(chosen == prediction.label_ids))}


class _Watch(TrainerCallback):
    """Seconds from the first step to the last, with the batches between them."""

    def __init__(self) -> None:
        self._started: float | None = None
        self.seconds = 0.0

    def on_step_begin(self, *_: Any, **__: Any) -> None:
        self._started = self._started or time.perf_counter()

    def on_step_end(self, *_: Any, **__: Any) -> None:
        assert self._started is not None
        self.seconds = time.perf_counter() - self._started


def _prunes(config: PeftConfig | None) -> bool:
    # peft cannot be asked to prune none.
    return isinstance(config, AdaLoraConfig) and config.target_r < config.init_r


class _PruneRanks(TrainerCallback):
    """What AdaLoRA's documentation asks for after each step."""

    def __init__(self, model: Any) -> None:
        self._model = model

    def on_optimizer_step(self, _arguments: Any, state: Any, *_: Any, **__: Any) -> None:
        self._model.base_model.update_and_allocate(state.global_step + 1)


def _quiet() -> None:
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    disable_progress_bars()
    logging.getLogger("transformers.trainer").setLevel(logging.ERROR)
    warnings.simplefilter("ignore")
