import math
from pathlib import Path
from typing import Any

import pytest
import torch

from autopeft.trials.engine import Engine
from autopeft.trials.evaluate import TrialExecution
from autopeft.trials.training import TrialRun
from autopeft.trials.trial import RungReport, TrialResult, TrialStatus
from tests.workload import tiny_engine, trial


@pytest.fixture(scope="module")
def engine(tiny_model: Path, tiny_data: Path) -> Engine:
    return tiny_engine(tiny_model, tiny_data)


def same(one: RungReport | TrialResult, other: RungReport | TrialResult) -> bool:
    assert isinstance(one, RungReport)
    assert isinstance(other, RungReport)
    return (one.metrics, one.train_loss) == (other.metrics, other.train_loss)


def first_rung(engine: Engine, folder: Path) -> RungReport | TrialResult:
    execution = TrialExecution(engine, trial(engine), folder)
    outcome = execution.advance()
    execution.close()
    return outcome


def test_a_complete_trial_leaves_its_adapter(engine: Engine, tmp_path: Path) -> None:
    execution = TrialExecution(engine, trial(engine), tmp_path / "t")
    first, last = execution.advance(), execution.advance()
    assert isinstance(first, RungReport)
    assert isinstance(last, RungReport)
    assert last.last
    result = execution.finish()
    assert result.status is TrialStatus.COMPLETE
    assert result.seconds == last.seconds
    names = {p.name for p in (tmp_path / "t" / "adapter").iterdir()}
    assert names == {"adapter_config.json", "adapter_model.safetensors"}
    assert not (tmp_path / "t" / "checkpoint").exists()


def test_a_lost_trial_goes_on_from_its_last_rung(engine: Engine, tmp_path: Path) -> None:
    spec = trial(engine)
    straight = TrialExecution(engine, spec, tmp_path / "a")
    straight.advance()
    expected = straight.advance()
    straight.close()

    lost = TrialExecution(engine, spec, tmp_path / "b")
    said = lost.advance()
    lost.leave()
    found = TrialExecution(engine, spec, tmp_path / "b")
    assert found.advance() == said  # nobody may have heard of it
    again = found.advance()
    found.close()
    assert isinstance(again, RungReport)
    assert again.rung == 1
    assert same(again, expected)


def test_a_stopped_trial_leaves_no_folder(engine: Engine, tmp_path: Path) -> None:
    execution = TrialExecution(engine, trial(engine), tmp_path / "t")
    execution.advance()
    execution.close()
    assert not (tmp_path / "t").exists()


def failing(error: BaseException) -> Any:
    def fail(*_: object, **__: object) -> None:
        raise error

    return fail


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (torch.cuda.OutOfMemoryError("CUDA out of memory"), TrialStatus.OOM_GPU),
        (MemoryError("no memory"), TrialStatus.OOM_HOST),
        (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate"), TrialStatus.OOM_HOST),
        (ValueError("something else"), TrialStatus.CRASH),
    ],
)
def test_failures_become_results(
    engine: Engine,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    error: Exception,
    status: TrialStatus,
) -> None:
    before = first_rung(engine, tmp_path / "a")
    monkeypatch.setattr(TrialRun, "evaluate", failing(error))
    failed = first_rung(engine, tmp_path / "b")
    assert isinstance(failed, TrialResult)
    assert failed.status is status
    assert failed.status.failed
    assert failed.seconds > 0
    assert str(error) in failed.reason
    assert type(error).__name__ in failed.traceback
    monkeypatch.undo()
    after = first_rung(engine, tmp_path / "c")
    assert same(after, before)


def test_a_failure_while_attaching_reloads_the_base(
    engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = first_rung(engine, tmp_path / "a")
    monkeypatch.setattr(TrialRun, "_build_optimizer", failing(ValueError("broken half-way")))
    failed = first_rung(engine, tmp_path / "b")
    assert isinstance(failed, TrialResult)
    monkeypatch.undo()
    after = first_rung(engine, tmp_path / "c")
    assert same(after, before)


def test_a_failure_costs_what_it_took_since_the_last_rung(
    engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    execution = TrialExecution(engine, trial(engine), tmp_path / "t")
    first = execution.advance()
    assert isinstance(first, RungReport)
    monkeypatch.setattr(TrialRun, "evaluate", failing(ValueError("broken")))
    failed = execution.advance()
    assert isinstance(failed, TrialResult)
    assert failed.seconds > first.seconds


def test_divergence_is_a_result(engine: Engine, tmp_path: Path) -> None:
    spec = trial(engine, method="full", training={"learning_rate": 1e30})
    outcome = TrialExecution(engine, spec, tmp_path / "t").advance()
    assert isinstance(outcome, TrialResult)
    assert outcome.status is TrialStatus.NAN


@pytest.mark.parametrize(
    ("measured", "reason"),
    [
        (({"accuracy": math.nan}, 0.5), "the accuracy is nan at step 5"),
        (({"accuracy": 0.5}, math.inf), "the loss on the validation rows is inf at step 5"),
    ],
)
def test_what_is_no_number_at_a_rung_ends_the_trial(
    engine: Engine,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    measured: tuple[dict[str, float], float],
    reason: str,
) -> None:
    monkeypatch.setattr(TrialRun, "evaluate", lambda _: measured)
    outcome = TrialExecution(engine, trial(engine), tmp_path / "t").advance()
    assert isinstance(outcome, TrialResult)
    assert (outcome.status, outcome.reason) == (TrialStatus.NAN, reason)
    assert not (tmp_path / "t").exists()


def test_a_full_disk_does_not_end_the_search(
    engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    execution = TrialExecution(engine, trial(engine), tmp_path / "t")
    execution.advance()
    execution.advance()
    monkeypatch.setattr(TrialRun, "save_adapter", failing(OSError(28, "No space left on device")))
    result = execution.finish()
    assert result.status is TrialStatus.CRASH
    assert "No space left" in result.reason
