"""States that a training keeps: the ones that were evaluated, and no other training for it."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file

from autopeft.export.scorer import Scorer
from autopeft.trials.engine import Engine
from autopeft.trials.evaluate import TrialExecution
from autopeft.trials.kept_checkpoints import WITH_A_MEAN, kept_at, late_shares
from autopeft.trials.trial import RungReport, TrialSpec
from tests.workload import tiny_engine, trial

WEIGHTS = "adapter_model.safetensors"


@pytest.fixture(scope="module")
def engine(tiny_model: Path, tiny_data: Path) -> Engine:
    return tiny_engine(tiny_model, tiny_data)


def spec_of(engine: Engine, method: str = "lora") -> TrialSpec:
    return replace(trial(engine, method=method), rungs=late_shares(3), epochs=6)


def ran(engine: Engine, spec: TrialSpec, folder: Path) -> list[RungReport]:
    execution = TrialExecution(engine, spec, folder)
    found = [execution.advance() for _ in spec.rungs]
    execution.finish()
    return [report for report in found if isinstance(report, RungReport)]


@pytest.mark.parametrize(
    "method",
    [m if m in {"lora", "ia3", "bitfit"} else pytest.param(m, marks=pytest.mark.slow)
     for m in sorted(WITH_A_MEAN)],
)  # fmt: skip
def test_a_kept_state_gives_what_was_measured_at_its_step(
    engine: Engine, method: str, tmp_path: Path
) -> None:
    spec = spec_of(engine, method)
    reports = ran(engine, spec, tmp_path / "t")
    assert len(reports) == 3
    kept = sorted((tmp_path / "t" / "kept").iterdir())
    assert kept == [kept_at(tmp_path / "t", report.step) for report in reports[:-1]]
    model = PeftModel.from_pretrained(engine.base, str(tmp_path / "t" / "adapter"))
    score = Scorer(engine, model, "accuracy")
    losses = [score(load_file(folder / WEIGHTS))[1] for folder in kept]
    engine.restore(model.unload())  # type: ignore[operator]
    engine.reload()
    assert losses == pytest.approx([report.eval_loss for report in reports[:-1]], rel=1e-5)
    assert len({*losses}) == 2  # they differ, so that equality says something


def test_keeping_changes_no_training(engine: Engine, tmp_path: Path) -> None:
    with_kept = spec_of(engine)
    ran(engine, with_kept, tmp_path / "a")
    ran(engine, replace(with_kept, rungs=(1.0,)), tmp_path / "b")
    assert not (tmp_path / "b" / "kept").exists()
    one, other = (load_file(tmp_path / name / "adapter" / WEIGHTS) for name in "ab")
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_what_is_stopped_or_has_no_mean_keeps_nothing(engine: Engine, tmp_path: Path) -> None:
    execution = TrialExecution(engine, spec_of(engine), tmp_path / "stopped")
    execution.advance()
    assert (tmp_path / "stopped" / "kept").is_dir()
    execution.close()
    assert not (tmp_path / "stopped").exists()
    ran(engine, spec_of(engine, "oft"), tmp_path / "oft")
    assert [p.name for p in (tmp_path / "oft").iterdir()] == ["adapter"]
    early = replace(spec_of(engine), rungs=(1 / 3, 1.0))
    ran(engine, early, tmp_path / "early")
    assert [p.name for p in (tmp_path / "early").iterdir()] == ["adapter"]
