"""What trials are compared by is the task's loss; what a method adds is for the optimiser alone."""

from pathlib import Path

import pytest
from torch.nn import functional

from autopeft.trials.engine import Engine
from autopeft.trials.task_loss import task_loss
from autopeft.trials.training import TrialRun
from tests.workload import tiny_engine, trial


@pytest.fixture(scope="module")
def engine(tiny_model: Path, tiny_data: Path) -> Engine:
    return tiny_engine(tiny_model, tiny_data)


@pytest.mark.parametrize("changes", [{"method": "adalora"}, {"method": "lora", "variant": "kasa"}])
def test_what_a_method_adds_is_left_out(engine: Engine, changes: dict[str, str]) -> None:
    run = TrialRun(engine, trial(engine, **changes))
    try:
        batch = engine.workload.train.batch(range(8), engine.device)
        with task_loss(engine.base) as seen:
            output = run._attachment.model.train()(**batch)
        expected = functional.cross_entropy(output.logits, batch["labels"]).item()
        assert seen == [pytest.approx(expected, rel=1e-5)]
        assert output.loss.item() > expected + 1e-3
        assert "forward" not in vars(engine.base)
    finally:
        run.close()


def test_a_report_has_the_loss_of_the_task(engine: Engine) -> None:
    """AdaLoRA begins where LoRA does, with factors that are far from orthogonal."""
    shown = {}
    for method in ("adalora", "lora"):
        run = TrialRun(engine, trial(engine, method=method))
        shown[method] = run.advance().train_loss
        run.close()
    assert shown["adalora"] == pytest.approx(shown["lora"], abs=0.1)
