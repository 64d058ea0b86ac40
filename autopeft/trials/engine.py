"""`Engine`: the base model and the data that stay with a worker while trials come and go."""

import copy
import logging
import os
from dataclasses import dataclass
from typing import Self

import torch
from transformers import PreTrainedModel

from autopeft.models.loading import load_model, load_tokenizer, tokenize
from autopeft.models.registry import ModelReference
from autopeft.models.spec import ModelSpec, inspect_model
from autopeft.tasks.data import Split, TaskData
from autopeft.tasks.task import TaskSpec
from autopeft.trials.batches import EncodedSplit
from autopeft.trials.precision import choose_dtype

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """All that a worker needs to run trials; plain data that travels to other processes.

    Attributes:
        reference: The model.
        trust_remote_code: Whether Python code that comes with the model may run.
        task: What is learned.
        n_labels: Number of outputs of the head.
        train: Tokenised training rows.
        validation: Tokenised validation rows.
        precision: What to compute in: `auto`, `float32`, `bf16` or `fp16`.
    """

    reference: ModelReference
    trust_remote_code: bool
    task: TaskSpec
    n_labels: int
    train: EncodedSplit
    validation: EncodedSplit
    precision: str

    @classmethod
    def prepare(
        cls,
        reference: ModelReference,
        data: TaskData,
        max_length: int,
        *,
        trust_remote_code: bool = False,
        precision: str = "auto",
    ) -> Self:
        """Tokenise the data of a task once, for all workers.

        Raises:
            ModelError: If the tokenizer cannot be had.
        """
        tokenizer = load_tokenizer(reference, trust_remote_code=trust_remote_code)
        pad = tokenizer.pad_token_id
        assert isinstance(pad, int)

        def encode(split: Split) -> EncodedSplit:
            return EncodedSplit(
                rows=tuple(tokenize(tokenizer, split.texts, max_length)),
                labels=split.labels,
                pad_token_id=pad,
                regression=data.task.kind == "regression",
            )

        return cls(
            reference=reference,
            trust_remote_code=trust_remote_code,
            task=data.task,
            n_labels=data.n_labels,
            train=encode(data.train),
            validation=encode(data.validation),
            precision=precision,
        )


class Engine:
    """The resident base model of a worker.

    Attributes:
        workload: Model, task and data.
        device: Where trials run.
        dtype: What they compute in.
        spec: Structure of the model.
        base: The base model with a task head; its parameters are frozen between trials.
    """

    def __init__(self, workload: Workload, device: torch.device) -> None:
        self.workload = workload
        self.device = device
        self.dtype = choose_dtype(workload.precision, device)
        self.base, self._new_modules = self._load()
        self.spec: ModelSpec = inspect_model(self.base)
        # A head that came with the weights is kept; a new one is drawn anew for every trial.
        self._loaded_head = {
            name: copy.deepcopy(self.base.get_submodule(name).state_dict())
            for name in self.spec.head_modules
            if name not in self._new_modules
        }

    def reload(self) -> None:
        """Read the base model again, after an attachment that failed half-way."""
        self.base, self._new_modules = self._load()

    def _load(self) -> tuple[PreTrainedModel, frozenset[str]]:
        base, new_modules = load_model(
            self.workload.reference,
            self.workload.n_labels,
            self.device,
            pad_token_id=self.workload.train.pad_token_id,
            trust_remote_code=self.workload.trust_remote_code,
        )
        return base.requires_grad_(requires_grad=False), new_modules

    def reset_head(self) -> None:
        """Give the task head the weights that a fresh model has; uses torch's global generator."""
        for name in self.spec.head_modules:
            head = self.base.get_submodule(name)
            if name in self._loaded_head:
                head.load_state_dict(self._loaded_head[name])
                continue
            for module in head.modules():
                # transformers marks what it has initialised and would skip it.
                for holder in (module, *module.parameters(recurse=False)):
                    if hasattr(holder, "_is_hf_initialized"):
                        delattr(holder, "_is_hf_initialized")
                self.base._init_weights(module)  # noqa: SLF001 - transformers' hook for this

    def restore(self, base: PreTrainedModel) -> None:
        """Take back the base model after a trial."""
        self.base = base


def pick_device(index: int = 0) -> torch.device:
    """Return the CUDA device `index` if there is one, else the CPU."""
    return torch.device("cuda", index) if torch.cuda.is_available() else torch.device("cpu")


def available_cores() -> int:
    """Return the number of cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def set_threads(n_workers: int) -> None:
    """Give this worker its share of the cores: more threads than cores are far slower."""
    torch.set_num_threads(max(1, available_cores() // n_workers))
