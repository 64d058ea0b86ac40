"""A batch that goes through the model in parts trains what the whole batch does."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from autopeft.methods.compose import read_configuration
from autopeft.trials.engine import Engine
from autopeft.trials.training import TrialRun
from autopeft.trials.trial import TrialSpec
from tests.tiny import save_tiny_bert
from tests.workload import tiny_engine


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory, tiny_data: Path) -> Engine:
    """A model without dropout, which would fall differently on parts than on the whole.

    In float64: Adam blows gradients that are zero but for rounding (of the keys' biases) up to
    whole steps.
    """
    folder = save_tiny_bert(tmp_path_factory.mktemp("without-dropout"))
    file = folder / "config.json"
    config = json.loads(file.read_text())
    config |= {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    file.write_text(json.dumps(config))
    engine = tiny_engine(folder, tiny_data)
    engine.base.double()
    return engine


def spec_of(engine: Engine, data: dict[str, Any], batch: int, micro: int | None) -> TrialSpec:
    training = {"learning_rate": 1e-3, "batch_size": batch, "micro_batch_size": micro}
    configuration = read_configuration({**data, "training": training}, engine.spec)
    return TrialSpec(number=0, configuration=configuration, rungs=(0.5, 1.0), epochs=2, seed=0)


def trained(engine: Engine, spec: TrialSpec) -> tuple[list[float], dict[str, torch.Tensor]]:
    run = TrialRun(engine, spec)
    losses = run._train_to(run.total_steps)
    weights = {name: p.detach().clone() for name, p in run._parameters.items()}
    run.close()
    return losses, weights


CONFIGURATIONS: dict[str, dict[str, Any]] = {
    "full": {"method": "full"},
    "start from data": {"method": "lora", "init": "lora_ga"},
    "a loss of its own": {"method": "adalora"},
    "pruned by gradients": {"method": "lora", "density": 0.4, "mask": "sensitivity"},
    "together": {"components": [{"method": "lora"}, {"method": "ia3", "targets": "mlp.down"}]},
}


#: LoRA-GA adds the gradients of parts up with equal weights, so its parts must be equal.
SHAPES = [(name, 16, 4) if name == "start from data" else (name, 20, 7) for name in CONFIGURATIONS]


@pytest.mark.parametrize(("name", "batch", "micro"), SHAPES)
def test_losses_and_weights_are_those_of_the_whole_batch(
    engine: Engine, name: str, batch: int, micro: int
) -> None:
    """20 rows go in parts of 7, 7 and 6, and 96 rows end with a batch of 16."""
    losses, weights = trained(engine, spec_of(engine, CONFIGURATIONS[name], batch, None))
    in_parts, same = trained(engine, spec_of(engine, CONFIGURATIONS[name], batch, micro))
    assert in_parts == pytest.approx(losses, rel=1e-5)
    assert len(losses) == 2 * -(-96 // batch)
    assert weights.keys() == same.keys()
    for tensor, weight in weights.items():
        torch.testing.assert_close(same[tensor], weight, rtol=1e-5, atol=1e-5)


def test_no_more_rows_than_asked_for_are_in_a_forward(engine: Engine) -> None:
    spec = spec_of(engine, {"method": "lora"}, 16, 5)
    run = TrialRun(engine, spec)
    rows: list[int] = []
    hook = run._attachment.model.register_forward_pre_hook(
        lambda _model, _args, inputs: rows.append(len(inputs["input_ids"])), with_kwargs=True
    )
    run._train_to(2)
    hook.remove()
    run.close()
    assert rows == [5, 5, 5, 1] * 2


def test_a_resumed_trial_equals_an_uninterrupted_one(engine: Engine, tmp_path: Path) -> None:
    spec = spec_of(engine, {"method": "lora", "dropout": 0.2}, 16, 5)
    straight = TrialRun(engine, spec)
    expected = [straight.advance() for _ in spec.rungs]
    straight.close()
    run = TrialRun(engine, spec)
    run.advance()
    run.save_checkpoint(tmp_path)
    run.close()
    torch.manual_seed(99)
    resumed = TrialRun(engine, spec)
    resumed.load_checkpoint(tmp_path)
    last = resumed.advance()
    resumed.close()
    assert replace(last, seconds=0) == replace(expected[1], seconds=0)
