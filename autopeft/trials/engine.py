"""`Engine`: the base model and the data that stay with a worker while trials come and go."""

import copy
import logging
from dataclasses import dataclass
from functools import cached_property
from hashlib import blake2b
from typing import Self

import torch
import transformers
from transformers import PreTrainedModel

from autopeft.models.gguf import cache_folder
from autopeft.models.head import TaskHead
from autopeft.models.loading import load_model, load_output, load_tokenizer
from autopeft.models.registry import ModelReference
from autopeft.models.spec import ModelSpec, inspect_model
from autopeft.tasks.data import Split, TaskData
from autopeft.tasks.task import TaskSpec
from autopeft.trials.batches import EncodedSplit
from autopeft.trials.data_parallel import ALONE, DataParallel
from autopeft.trials.disk_cache import DiskCache
from autopeft.trials.precision import choose_dtype
from autopeft.trials.prefix import FrozenPrefix
from autopeft.trials.tokens import encoded

logger = logging.getLogger(__name__)

#: Tokens of an evaluation batch on a CPU: with more, what a layer passes on leaves its caches
#: (64 rows of RTE at a time took 1.27 times as long).
EVAL_TOKENS_ON_CPU = 1024
#: On a GPU: the share of its free memory that an evaluation batch may take, and how many tensors
#: of the widest layer's width, in float32, a forward without gradients holds at a time.
EVAL_SHARE_ON_GPU, EVAL_TENSORS = 0.25, 6


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """All that a worker needs to run trials; plain data that travels to other processes.

    Attributes:
        reference: The model.
        trust_remote_code: Whether Python code that comes with the model may run.
        task: What is learned.
        head: What the model is asked to give.
        train: Tokenised training rows.
        validation: Tokenised validation rows.
        cache_bytes: Most that may lie on the disk of what trials need again; 0 keeps nothing.
        precision: What to compute in: `auto`, `float32`, `bf16` or `fp16`.
    """

    reference: ModelReference
    trust_remote_code: bool
    task: TaskSpec
    head: TaskHead
    train: EncodedSplit
    validation: EncodedSplit
    cache_bytes: int
    precision: str

    @classmethod
    def prepare(
        cls,
        reference: ModelReference,
        data: TaskData,
        max_length: int,
        *,
        cache_bytes: int = 0,
        trust_remote_code: bool = False,
        precision: str = "auto",
    ) -> Self:
        """Tokenise the data of a task once, for all workers.

        Args:
            reference: The model.
            data: The task and its rows.
            max_length: Longest input in tokens; longer ones are cut.
            cache_bytes: Most that may lie on the disk of what trials need again.
            trust_remote_code: Whether Python code that comes with the model may run.
            precision: What to compute in: `auto`, `float32`, `bf16` or `fp16`.

        Raises:
            ModelError: If the tokenizer or the config cannot be had.
        """
        tokenizer = load_tokenizer(reference, trust_remote_code=trust_remote_code)
        output = load_output(reference, data.head, trust_remote_code=trust_remote_code)
        cache = disk_cache(cache_bytes)

        def encode(split: Split) -> EncodedSplit:
            regression = data.task.kind == "regression"
            return encoded(
                tokenizer, split, max_length, cache, regression=regression, output=output
            )

        return cls(
            reference=reference,
            trust_remote_code=trust_remote_code,
            task=data.task,
            head=data.head,
            train=encode(data.train),
            validation=encode(data.validation),
            cache_bytes=cache_bytes,
            precision=precision,
        )


class Engine:
    """The resident base model of a worker.

    Attributes:
        workload: Model, task and data.
        device: Where trials run.
        parallel: The processes that train each trial together, of which this is one.
        dtype: What they compute in.
        spec: Structure of the model.
        base: The base model with a task head; its parameters are frozen between trials.
        eval_tokens: Most tokens of an evaluation batch, padding included.
    """

    def __init__(
        self, workload: Workload, device: torch.device, parallel: DataParallel = ALONE
    ) -> None:
        self.workload = workload
        self.device = device
        self.parallel = parallel
        self._prefixes: dict[int, FrozenPrefix] = {}
        self.dtype = parallel.gathered(choose_dtype(workload.precision, device))[0]
        self.base, self._new_modules = self._load()
        self.spec: ModelSpec = inspect_model(self.base)
        self.eval_tokens = min(parallel.gathered(evaluation_tokens(self.spec, device)))
        # A head that came with the weights is kept; a new one is drawn anew for every trial.
        self._loaded_head = {
            name: copy.deepcopy(self.base.get_submodule(name).state_dict())
            for name in self.spec.head_modules
            if name not in self._new_modules
        }

    def reload(self) -> None:
        """Read the base model again, after an attachment that failed half-way."""
        self._prefixes.clear()
        self.base, self._new_modules = self._load()

    def prefix(self, depth: int) -> FrozenPrefix:
        """Return the first layers of the base, which nothing is attached to now.

        Args:
            depth: Number of layers that a trial does not change.
        """
        if depth not in self._prefixes:
            kept = depth > 0 and self.workload.cache_bytes > 0
            key = f"{depth} {self._fingerprint}" if kept else ""
            cache = disk_cache(self.workload.cache_bytes)
            self._prefixes[depth] = FrozenPrefix(self.base, depth, key, cache)
        return self._prefixes[depth]

    @cached_property
    def _fingerprint(self) -> str:
        """All that the hidden states of a row follow from, bit for bit, except for the row."""
        digest = blake2b(digest_size=16)
        for name, tensor in self.base.base_model.state_dict().items():
            digest.update(name.encode())
            digest.update(tensor.cpu().contiguous().view(-1).view(torch.uint8).numpy().data)
        # Of a machine's GPUs the name counts, not the number: those that are alike share states.
        device = self.device.type
        machine = [torch.__version__, transformers.__version__, device, str(self.dtype)]
        machine += [torch.backends.cpu.get_cpu_capability(), str(torch.get_num_threads())]
        if self.device.type == "cuda":
            machine.append(torch.cuda.get_device_name(self.device))
        return " ".join([digest.hexdigest(), self.base.config.to_json_string(), *machine])

    def _load(self) -> tuple[PreTrainedModel, frozenset[str]]:
        base, new_modules = load_model(
            self.workload.reference,
            self.workload.head,
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


def evaluation_tokens(spec: ModelSpec, device: torch.device) -> int:
    """Return how many tokens an evaluation batch may have: those that are fastest, or that fit."""
    if device.type != "cuda":
        return EVAL_TOKENS_ON_CPU
    free, _ = torch.cuda.mem_get_info(device)
    widths = [module.out_features for module in spec.modules if module.layer is not None]
    if spec.output != "labels":  # the head gives a number for each word
        widths += [module.in_features for module in spec.modules if module.type == "embedding"]
    return max(EVAL_TOKENS_ON_CPU, int(EVAL_SHARE_ON_GPU * free / (4 * EVAL_TENSORS * max(widths))))


def disk_cache(limit: int) -> DiskCache:
    """Return the cache of tokens and hidden states on this machine."""
    return DiskCache(cache_folder() / "trials", limit)


def pick_device(index: int = 0) -> torch.device:
    """Return the CUDA device `index` if there is one, else the CPU."""
    return torch.device("cuda", index) if torch.cuda.is_available() else torch.device("cpu")
