"""What a configuration costs on a model: nothing is trained, no weights are read."""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from autopeft.api.catalogue import configuration_of
from autopeft.api.data_notes import length_notes
from autopeft.cost.cost import CostModel, percent_of_base
from autopeft.cost.memory_limit import n_bytes
from autopeft.cost.options import StepOptions
from autopeft.cost.subject import Subject, largest_batch, of_configuration, of_peft_config
from autopeft.errors import RequestError
from autopeft.methods.peft_config import is_peft_config
from autopeft.models.head import TaskHead
from autopeft.models.loading import load_config, meta_model
from autopeft.models.registry import resolve_model
from autopeft.models.spec import ModelSpec, inspect_model

if TYPE_CHECKING:
    from transformers import PreTrainedModel

#: Examples a step where neither the user nor a configuration says how many.
BATCH_SIZE = 16
#: Tokens of the longest input where the user does not say how many.
SEQ_LENGTH = 128


@dataclass(frozen=True, slots=True, kw_only=True)
class BareModel:
    """A model without weights, at a length of its inputs.

    Attributes:
        name: As the user wrote it.
        spec: Its structure.
        build: Builds it with its task head on `meta`.
        seq_length: Longest input in tokens, no longer than the model takes.
        notes: What the user should know of it.
    """

    name: str
    spec: ModelSpec
    build: "Callable[[], PreTrainedModel]"
    seq_length: int
    notes: tuple[str, ...]

    def facts(self, options: StepOptions) -> dict[str, Any]:
        """Return what an estimate says of the model and of how steps are made."""
        return {
            "model": self.name,
            "head_params": self.spec.head_params,
            "base_params": self.spec.base_params,
            "seq_length": self.seq_length if self.spec.reads == "tokens" else None,
            **asdict(options),
            "notes": list(self.notes),
        }


def check_count(name: str, value: object, least: int = 1) -> None:
    """Check that an argument is `None` or a whole number, and no less than the least.

    Raises:
        RequestError: If it is not.
    """
    if value is None:
        return
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise RequestError(f"{name} is {value!r}: it takes a whole number from {least} up.")


def task_head(n_labels: int | None, *, language_modeling: bool) -> TaskHead:
    """Return the head of a task with so many labels, 2 if nothing is said, or one that writes text.

    Raises:
        RequestError: If labels are named and text is to be written, or they are no number.
    """
    check_count("n_labels", n_labels)
    if language_modeling and n_labels is not None:
        raise RequestError("A model that writes text has no classes: leave --num-labels out.")
    if language_modeling:
        return TaskHead("language_modeling")
    if n_labels is None:
        return TaskHead()
    return TaskHead("regression" if n_labels == 1 else "classification", n_labels)


def bare_model(name: str, head: TaskHead, seq_length: int | None) -> BareModel:
    """Return a model by its name or `config.json`; no weights are read.

    Raises:
        ModelError: If the config cannot be had or used.
        RequestError: If the length is no number.
    """
    check_count("seq_length", seq_length)
    config = load_config(resolve_model(name), head)
    build = partial(meta_model, config, head.kind)
    spec = inspect_model(build())
    asked = seq_length or SEQ_LENGTH
    return BareModel(
        name=name,
        spec=spec,
        build=build,
        seq_length=min(asked, spec.max_length or asked),
        notes=(*spec.notes, *length_notes(seq_length, spec.max_length)),
    )


def estimate(  # noqa: PLR0913 - the parts of a question
    model: str,
    file: Path,
    *,
    n_labels: int | None = None,
    language_modeling: bool = False,
    seq_length: int | None = None,
    batch_size: int | None = None,
    device_memory: str | None = None,
    options: StepOptions | None = None,
) -> dict[str, Any]:
    """Return the exact parameters and operations and the predicted memory of a configuration.

    Args:
        model: Name of the model, or its `config.json`; no weights are read.
        file: Configuration in YAML or JSON, `preset:NAME`, or peft's `adapter_config.json` or a
            folder that holds one.
        n_labels: Number of classes of the head, where nothing is said 2; 1 means regression.
        language_modeling: Whether the model writes text with the head that it has, instead; the
            text of an encoder-decoder is as long as what it reads.
        seq_length: Longest input in tokens; `None` takes 128, or what the model takes if that is
            less; a model of images has its own size.
        batch_size: Examples a step; `None` takes the configuration's, or 16.
        device_memory: Such as `24GiB` or `24GB`; the result then says whether it suffices, and
            for how large a batch.
        options: How a step is made; float32, AdamW and nothing else where left out.

    Raises:
        AutopeftError: If the model or the configuration cannot be used.
    """
    options = options or StepOptions()
    limit = None if device_memory is None else n_bytes(device_memory)
    check_count("batch_size", batch_size)
    bare = bare_model(model, task_head(n_labels, language_modeling=language_modeling), seq_length)
    shape = (bare.spec, bare.build, bare.seq_length)
    if is_peft_config(file):
        subject = of_peft_config(file, *shape, options)
        rows = at_once = batch_size or BATCH_SIZE
    else:
        asked = {} if batch_size is None else {"batch_size": batch_size}
        configuration = configuration_of(str(file), bare.spec, asked)
        subject = of_configuration(configuration, CostModel(*shape, options))
        rows, at_once = configuration.training.batch_size, configuration.training.rows_at_once
    result = {"model": model, **costs_of(subject, bare.spec, rows, at_once), **bare.facts(options)}
    if limit is not None:
        result["device_memory_bytes"] = limit
        result["fits"] = result["peak_memory_bytes"] <= limit
        result["largest_batch"] = largest_batch(lambda n: subject.step(n, n).memory.total, limit)
    return result


def costs_of(subject: Subject, spec: ModelSpec, rows: int, at_once: int) -> dict[str, Any]:
    """Return what a subject costs.

    Args:
        subject: What is trained.
        spec: The model.
        rows: Examples a step.
        at_once: Examples in one forward.
    """
    step = subject.step(rows, rows)
    memory = step.memory if at_once == rows else subject.step(rows, at_once).memory
    return {
        "configuration": subject.configuration,
        "adapter_params": subject.adapter_params,
        "share_of_base_percent": percent_of_base(subject.adapter_params, spec.base_params),
        "adapter_bytes": subject.adapter_bytes,
        "flops_per_step": step.flops,
        "peak_memory_bytes": memory.total,
        "memory_parts": asdict(memory),
        "batch_size": rows,
    }
