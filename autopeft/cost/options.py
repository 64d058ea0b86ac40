"""`StepOptions`: how a step is made, where that changes its memory, and the bytes by formula."""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import nn

from autopeft.errors import RequestError
from autopeft.models.spec import ModelSpec, ModuleSpec

Dtype = Literal["float32", "bf16", "fp16", "bf16-mixed"]
Optimizer = Literal["adamw", "adamw-8bit", "sgd", "sgd-momentum", "adafactor", "lion"]
BaseBits = Literal[4, 8, 16]
#: Types of weights; `bf16-mixed` keeps float32 and computes under autocast.
TORCH_DTYPES = {
    "float32": torch.float32,
    "bf16": torch.bfloat16,
    "fp16": torch.float16,
    "bf16-mixed": torch.float32,
}
#: bitsandbytes: weights in a block of a state, and the fewest that it quantises.
_STATE_BLOCK, _FEWEST_QUANTISED = 256, 4096
#: QLoRA (arXiv 2305.14314, section 3): weights in a block, and constants in a block of constants.
_WEIGHT_BLOCK, _CONSTANT_BLOCK = 64, 256


@dataclass(frozen=True, slots=True, kw_only=True)
class StepOptions:
    """How a training step is made.

    Attributes:
        dtype: Of the base's weights and of what is computed; an adapter has the type in which its
            method makes it, which for most of peft's is float32.
        optimizer: What holds states.
        gradient_checkpointing: Whether each layer keeps its input alone and is computed again in
            the backward pass (transformers' own).
        base_bits: Bits of a weight of the linear modules in the layers, as bitsandbytes holds
            them: 8 is LLM.int8, 4 is NF4. `None` leaves them in `dtype`.
        double_quantization: Whether the constants of NF4 are quantised too.
        devices: Devices that share each batch; what counts is the memory of one of them.
    """

    dtype: Dtype = "float32"
    optimizer: Optimizer = "adamw"
    gradient_checkpointing: bool = False
    base_bits: BaseBits | None = None
    double_quantization: bool = False
    devices: int = 1

    def __post_init__(self) -> None:
        allowed = {"dtype": Dtype, "optimizer": Optimizer}
        for name, choices in allowed.items():
            if getattr(self, name) not in get_args(choices):
                known = ", ".join(get_args(choices))
                raise RequestError(f"There is no {name} '{getattr(self, name)}': use {known}.")
        if self.base_bits not in {None, *get_args(BaseBits)}:
            raise RequestError(f"Weights of {self.base_bits} bits are unknown: use 16, 8 or 4.")
        if self.base_bits is not None and self.dtype == "bf16-mixed":
            raise RequestError(
                "bf16-mixed casts float32 weights, which a base of fewer bits has not: use bf16."
            )
        if self.double_quantization and self.base_bits != 4:
            raise RequestError("Double quantization is of NF4's constants: set base bits to 4.")

    def base_dtype(self) -> torch.dtype:
        """Return the type of the base's weights."""
        return TORCH_DTYPES[self.dtype]

    def computes_in(self) -> torch.dtype:
        """Return the type of what is computed."""
        return torch.bfloat16 if self.dtype == "bf16-mixed" else TORCH_DTYPES[self.dtype]


def state_bytes(optimizer: Optimizer, parameters: Iterable[nn.Parameter]) -> int:
    """Return the bytes of an optimiser's states for parameters, step counters apart.

    AdamW has two moments (arXiv 1711.05101), bitsandbytes' AdamW two of 8 bits with a float32
    constant for every 256 (arXiv 2110.02861) where a tensor has 4,096 numbers or more, momentum
    one, Lion one (arXiv 2302.06675), Adafactor a row and a column of a matrix (arXiv 1804.04235).
    They have the type of the parameter.
    """
    return sum(_STATES[optimizer](parameter) for parameter in parameters)


def step_copies(optimizer: Optimizer) -> int:
    """Return how many temporary copies of all that trains an optimiser's step holds.

    torch's foreach kernels take the square roots of AdamW's second moments at once, and
    Adafactor's and Lion's updates likewise; the others update in place, or in one kernel.
    """
    return 1 if optimizer in {"adamw", "adafactor", "lion"} else 0


def _same(tensors: int) -> Callable[[nn.Parameter], int]:
    return lambda parameter: tensors * parameter.numel() * parameter.element_size()


def _quantised_moments(parameter: nn.Parameter) -> int:
    n = parameter.numel()
    if n < _FEWEST_QUANTISED:
        return 2 * 4 * n
    return 2 * (n + 4 * math.ceil(n / _STATE_BLOCK))


def _factors(parameter: nn.Parameter) -> int:
    shape = parameter.shape
    if len(shape) < 2:
        return _same(1)(parameter)
    matrices = math.prod(shape[:-2])
    return matrices * (shape[-2] + shape[-1]) * parameter.element_size()


_STATES: dict[Optimizer, Callable[[nn.Parameter], int]] = {
    "adamw": _same(2),
    "adamw-8bit": _quantised_moments,
    "sgd": _same(0),
    "sgd-momentum": _same(1),
    "adafactor": _factors,
    "lion": _same(1),
}


def quantised(spec: ModelSpec) -> list[ModuleSpec]:
    """Return the modules whose weights a quantised base holds in fewer bits."""
    return [m for m in spec.modules if m.layer is not None and m.type in {"linear", "conv1d"}]


def quantised_bytes(modules: Sequence[ModuleSpec], options: StepOptions) -> int:
    """Return the bytes of the weights of modules in `options.base_bits`.

    LLM.int8 keeps a float32 constant for each output (arXiv 2208.07339, section 2.1). NF4 keeps
    one for 64 weights, or quantises these to 8 bits in blocks of 256 with a float32 constant each
    and one for their mean (arXiv 2305.14314, section 3: 0.5 and 0.127 bits a weight).
    """
    return sum(_weight_bytes(module, options) for module in modules)


def _weight_bytes(module: ModuleSpec, options: StepOptions) -> int:
    n = module.in_features * module.out_features
    if options.base_bits == 16:
        return 2 * n
    if options.base_bits == 8:
        return n + 4 * module.out_features
    constants = math.ceil(n / _WEIGHT_BLOCK)
    if options.double_quantization:
        return math.ceil(n / 2) + constants + 4 * math.ceil(constants / _CONSTANT_BLOCK) + 4
    return math.ceil(n / 2) + 4 * constants
