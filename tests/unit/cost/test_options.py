"""Ways of making a step against real steps, torch's optimisers and the papers' numbers."""

from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional

from autopeft.cost.autocast import MetaAutocast
from autopeft.cost.cost import CostModel
from autopeft.cost.memory import StepCost, prepared, step_cost
from autopeft.cost.options import StepOptions, quantised, quantised_bytes, state_bytes
from autopeft.errors import RequestError
from autopeft.methods.compose import attach, read_configuration
from autopeft.methods.composite import on_meta
from autopeft.methods.method import AttachContext
from autopeft.models.spec import ModelSpec, ModuleSpec, inspect_model
from tests.tiny import build, data_of

OWN_AND_PEFTS = ("lora", "shira", "vblora", "waveft", "prefix", "serial_adapter")
#: Stand-ins and custom functions of peft whose casts are followed nearly.
NEARLY = {"frod": 0.97, "gralora": 1.01, "tinylora": 1.01}


def costs(
    method: str, family: str, options: StepOptions, casts: tuple[Any, Any] = (None, None)
) -> tuple[StepCost, StepCost]:
    """Return what `meta` says and what a real step says."""
    spec = inspect_model(build(family, "meta"))
    configuration = read_configuration(data_of(method), spec)
    context = AttachContext(spec=spec, total_steps=8, seed=0)
    meta = on_meta(prepared(build(family, "meta"), options), configuration.components, context)
    real = attach(prepared(build(family), options), configuration, context).model
    return (
        step_cost(meta.train(), 4, 10, options, cast=casts[0]),
        step_cost(real.train(), 4, 10, options, cast=casts[1]),
    )


@pytest.mark.parametrize(
    ("method", "family"), [*((m, "bert") for m in OWN_AND_PEFTS), ("lora", "llama"), ("lora", "t5")]
)
def test_layers_that_are_computed_again(method: str, family: str) -> None:
    again, made = costs(method, family, StepOptions(gradient_checkpointing=True))
    assert again == made
    at_once, _ = costs(method, family, StepOptions())
    assert again.memory.activations < at_once.memory.activations
    assert again.flops > at_once.flops


@pytest.mark.parametrize("method", ["lora", "prefix", "serial_adapter", "full"])
def test_weights_of_16_bits(method: str) -> None:
    predicted, made = costs(method, "bert", StepOptions(dtype="bf16"))
    # `meta` keeps the statistics of norms in float32, as a GPU does; a CPU has them in bf16.
    assert made.memory.total <= predicted.memory.total <= 1.01 * made.memory.total
    assert predicted.memory.weights == made.memory.weights
    long, _ = costs(method, "bert", StepOptions())
    assert predicted.memory.total < long.memory.total


@pytest.mark.parametrize(
    ("method", "family"),
    [
        *((m, "bert") for m in (*OWN_AND_PEFTS, "adamss", "full", *NEARLY)),
        *((m, "llama") for m in ("lora", "prefix", "full")),
        ("lora", "t5"),
    ],
)
def test_autocast_keeps_what_a_real_one_keeps(method: str, family: str) -> None:
    casts = (MetaAutocast("cpu"), torch.autocast("cpu", dtype=torch.bfloat16))
    predicted, made = costs(method, family, StepOptions(), casts)
    share = predicted.memory.total / made.memory.total
    bound = NEARLY.get(method, 1.0)
    assert min(bound, 1.0) <= share <= max(bound, 1.0)


_A, _B = torch.ones(2, 3, 3), torch.ones(2, 3, 3)
_CALLS = {
    "linear": lambda a, b: functional.linear(a, b[0]),
    "matmul": lambda a, b: a @ b,
    "bmm": torch.bmm,
    "method": lambda a, b: a.bmm(b),
    "einsum": lambda a, b: torch.einsum("bij,bjk->bik", a, b),
    "addmm": lambda a, b: torch.addmm(a[0], a[0], b[0]),
    "attention": lambda a, b: functional.scaled_dot_product_attention(a[None], b[None], b[None]),
    "softmax": lambda a, b: functional.softmax((a @ b), dim=-1),
    "norm": lambda a, b: functional.layer_norm(a @ b, (3,)),
    "loss": lambda a, b: functional.mse_loss(a @ b, b.bfloat16()),
    "classes": lambda a, b: functional.cross_entropy((a @ b)[0], b[0].bfloat16()),
    "power": lambda a, b: (a @ b) ** 2,
    "sum": lambda a, b: (a @ b).sum(),
    "addition": lambda a, b: a @ b + b,
}


@pytest.mark.parametrize("name", _CALLS)
def test_autocast_computes_in_the_types_of_a_cpu(name: str) -> None:
    with torch.autocast("cpu", dtype=torch.bfloat16):
        expected = _CALLS[name](_A, _B).dtype
    with MetaAutocast("cpu"):
        assert _CALLS[name](_A.to("meta"), _B.to("meta")).dtype == expected


@pytest.mark.parametrize("name", ["softmax", "norm", "loss", "classes", "power", "sum"])
def test_autocast_of_a_gpu_takes_these_in_float32(name: str) -> None:
    with MetaAutocast("cuda"):
        assert _CALLS[name](_A.to("meta"), _B.to("meta")).dtype == torch.float32


def test_bf16_autocast_takes_less_than_float32() -> None:
    spec = inspect_model(build("bert", "meta"))
    configuration = read_configuration({"method": "lora"}, spec)
    mixed, full = (
        CostModel(spec, lambda: build("bert", "meta"), 32, StepOptions(dtype=dtype))
        for dtype in ("bf16-mixed", "float32")
    )
    assert mixed.memory(configuration).weights == full.memory(configuration).weights
    assert mixed.memory(configuration).total < full.memory(configuration).total


def real_state_bytes(optimizer: torch.optim.Optimizer) -> int:
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            parameter.grad = torch.ones_like(parameter)
    optimizer.step()
    return sum(
        tensor.numel() * tensor.element_size()
        for state in optimizer.state.values()
        for name, tensor in state.items()
        if isinstance(tensor, torch.Tensor) and name != "step"
    )


@pytest.mark.parametrize(
    ("name", "make"),
    [
        ("adamw", torch.optim.AdamW),
        ("sgd", torch.optim.SGD),
        ("sgd-momentum", lambda p: torch.optim.SGD(p, momentum=0.9)),
        ("adafactor", torch.optim.Adafactor),
    ],
)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_states_are_those_of_torchs_optimizers(name: Any, make: Any, dtype: torch.dtype) -> None:
    shapes = ((7, 5), (3,), (2, 4, 6))
    parameters = [nn.Parameter(torch.ones(shape, dtype=dtype)) for shape in shapes]
    assert state_bytes(name, parameters) == real_state_bytes(make(parameters))


def test_states_of_8_bits_and_of_lion_by_hand() -> None:
    large, small = (nn.Parameter(torch.empty(n, device="meta")) for n in (5000, 4095))
    assert state_bytes("adamw-8bit", [large]) == 2 * (5000 + 20 * 4)
    assert state_bytes("adamw-8bit", [small]) == 2 * 4 * 4095
    assert state_bytes("lion", [large, small]) == 4 * (5000 + 4095)


def linear(n_in: int, n_out: int) -> ModuleSpec:
    shape = {"in_features": n_in, "out_features": n_out, "has_bias": False}
    return ModuleSpec(name="w", kind="attn.q", layer=0, type="linear", **shape)


@pytest.mark.parametrize(
    ("bits", "double", "bits_a_weight"),
    [(16, False, 16), (8, False, 8 + 32 / 4096), (4, False, 4.5), (4, True, 4.127)],
)
def test_weights_in_fewer_bits(bits: Any, double: bool, bits_a_weight: float) -> None:
    """QLoRA, section 3: double quantisation takes the constants from 0.5 to 0.127 bits."""
    options = StepOptions(base_bits=bits, double_quantization=double)
    found = 8 * quantised_bytes([linear(4096, 4096)], options) / 4096**2
    assert found == pytest.approx(bits_a_weight, abs=5e-4)


def test_only_linear_weights_in_layers_are_quantised() -> None:
    spec: ModelSpec = inspect_model(build("llama", "meta"))
    names = {module.name for module in quantised(spec)}
    model = build("llama", "meta")
    assert names == {
        name for name, m in model.named_modules() if isinstance(m, nn.Linear) and "layers." in name
    }
    weights = [
        CostModel(spec, lambda: build("llama", "meta"), 8, StepOptions(base_bits=bits))
        .memory(read_configuration({"method": "lora"}, spec))
        .weights
        for bits in (None, 16)
    ]
    sizes = (m.in_features * m.out_features for m in quantised(spec))
    assert weights[0] - weights[1] == 2 * sum(sizes)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"dtype": "int8"}, "no dtype 'int8'"),
        ({"optimizer": "adam"}, "no optimizer 'adam'"),
        ({"base_bits": 3}, "3 bits"),
        ({"double_quantization": True}, "set base bits to 4"),
        ({"base_bits": 4, "dtype": "bf16-mixed"}, "use bf16"),
    ],
)
def test_mistakes(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(RequestError, match=message):
        StepOptions(**wrong)
