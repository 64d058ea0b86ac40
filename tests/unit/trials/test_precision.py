from pathlib import Path

import pytest
import torch

from autopeft.errors import RequestError
from autopeft.trials.engine import Engine
from autopeft.trials.precision import Arithmetic, choose_dtype
from autopeft.trials.training import TrialRun
from tests.tiny import ALL, save_tiny
from tests.workload import tiny_engine, trial

CPU = torch.device("cpu")


@pytest.mark.parametrize(
    ("capabilities", "expected"),
    [
        ({}, torch.float32),
        ({"avx512_f": True, "avx512_bf16": False, "amx_bf16": False}, torch.float32),
        ({"avx512_bf16": True, "amx_bf16": False}, torch.bfloat16),
        ({"avx512_bf16": False, "amx_bf16": True}, torch.bfloat16),
        ({"neon": True, "bf16": True}, torch.bfloat16),
    ],
)
def test_auto_takes_bf16_where_a_cpu_has_units_for_it(
    capabilities: dict[str, bool], expected: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities)
    assert choose_dtype("auto", CPU) == expected


def test_what_is_asked_for_asks_nobody() -> None:
    def ask() -> bool:
        raise AssertionError("nobody asked")

    assert choose_dtype("float32", CPU, ask) == torch.float32
    assert choose_dtype("bf16", CPU, ask) == torch.bfloat16
    with pytest.raises(RequestError, match="fp16 needs a GPU"):
        choose_dtype("fp16", CPU, ask)


@pytest.fixture(scope="module")
def engine(tiny_model: Path, tiny_data: Path) -> Engine:
    return tiny_engine(tiny_model, tiny_data)


def losses(engine: Engine, dtype: torch.dtype) -> list[float]:
    engine.dtype = dtype
    run = TrialRun(engine, trial(engine))
    found = run._train_to(4)
    assert {p.dtype for p in run._parameters.values()} == {torch.float32}
    run.close()
    return found


def test_short_types_round_and_train_the_same(engine: Engine) -> None:
    exact = losses(engine, torch.float32)
    for dtype, error in ((torch.bfloat16, 2e-2), (torch.float16, 5e-3)):
        rounded = losses(engine, dtype)
        assert rounded != exact
        assert rounded == pytest.approx(exact, rel=error)


def test_scaled_gradients_are_clipped_and_stepped_as_unscaled_ones() -> None:
    steps = []
    for dtype in (torch.float32, torch.float16):
        weight = torch.nn.Parameter(torch.tensor([3.0, 4.0]))
        optimizer = torch.optim.SGD([weight], lr=1.0)
        arithmetic = Arithmetic(dtype, CPU)
        arithmetic.backward((weight**2).sum() / 2)
        arithmetic.step(optimizer, [weight])
        steps.append(weight.detach().clone())
    assert torch.allclose(steps[0], torch.tensor([3.0 - 0.6, 4.0 - 0.8]))
    assert torch.allclose(steps[0], steps[1])


def test_an_overflow_is_left_out_and_the_checkpoint_knows(engine: Engine, tmp_path: Path) -> None:
    """fp16 halves its scale after an overflow; a resumed trial goes on with that scale."""
    engine.dtype = torch.float16
    run = TrialRun(engine, trial(engine))
    weights = {name: p.detach().clone() for name, p in run._parameters.items()}
    whole = run._arithmetic.state()["scale"]
    some = next(iter(run._parameters.values()))
    run._arithmetic.backward((some * torch.inf).sum())
    run._arithmetic.step(run._optimizer, run._parameters.values())
    assert all(torch.equal(p, weights[name]) for name, p in run._parameters.items())
    run.save_checkpoint(tmp_path)
    run.close()
    resumed = TrialRun(engine, trial(engine))
    resumed.load_checkpoint(tmp_path)
    assert resumed._arithmetic.state()["scale"] == whole / 2
    resumed.close()


@pytest.mark.parametrize("family", ["bert", "llama", "t5", "gpt2", "bart", "modernbert"])
def test_attention_goes_through_the_fused_kernel(
    family: str, tiny_data: Path, tmp_path: Path
) -> None:
    assert family in ALL
    engine = tiny_engine(save_tiny(family, tmp_path / "model"), tiny_data)
    assert engine.base.config._attn_implementation == "sdpa"
