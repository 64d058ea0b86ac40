"""The engine: reproducible, resumable, and the base comes back bit for bit."""

import itertools
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from transformers import Trainer, TrainingArguments

from autopeft.methods.compose import attach, count_parameters, read_configuration
from autopeft.methods.method import AttachContext
from autopeft.methods.registry import method_names
from autopeft.tasks.task import TaskSpec
from autopeft.trials.batches import epoch_batches
from autopeft.trials.engine import Engine
from autopeft.trials.measuring import DivergedError
from autopeft.trials.training import TrialRun
from autopeft.trials.trial import RungReport, TrialSpec
from tests.tiny import save_tiny
from tests.workload import WRITING, tiny_engine, trial


@pytest.fixture(scope="module")
def engine(tiny_model: Path, tiny_data: Path) -> Engine:
    return tiny_engine(tiny_model, tiny_data)


def reports(engine: Engine, spec: TrialSpec) -> list[RungReport]:
    run = TrialRun(engine, spec)
    found = [run.advance() for _ in spec.rungs]
    run.close()
    return found


def comparable(report: RungReport) -> dict[str, object]:
    return {k: v for k, v in report.to_dict().items() if k != "seconds"}


@pytest.mark.parametrize("method", method_names())
def test_trials_leave_no_trace(engine: Engine, method: str) -> None:
    """The same trial gives the same numbers bit for bit, whatever ran before on the engine."""
    before = {n: p.clone() for n, p in engine.base.base_model.named_parameters()}
    first = reports(engine, trial(engine, method=method))
    start = method_names().index(method)
    # The next ones of the circle: all of them on all would be the square of their number.
    for other in (*method_names(), *method_names())[start + 1 : start + 3]:
        reports(engine, trial(engine, method=other, layers="last:1"))
    second = reports(engine, trial(engine, method=method))
    assert [comparable(r) for r in first] == [comparable(r) for r in second]
    after = dict(engine.base.base_model.named_parameters())
    assert all(torch.equal(before[name], after[name]) for name in before)


#: Choices with something that does not train, or that follows from data.
SPECIAL = [
    *({"method": "lora", "variant": v} for v in ("fa", "kasa", "velora")),
    *({"method": "lora", "init": i} for i in ("pissa", "eva", "corda", "lora_ga")),
]


@pytest.mark.parametrize(
    "changes",
    [*({"method": m} for m in method_names()), *SPECIAL],
    ids=lambda c: "-".join(c.values()),
)
def test_a_resumed_trial_equals_an_uninterrupted_one(
    engine: Engine, changes: dict[str, str], tmp_path: Path
) -> None:
    spec = trial(engine, **changes)
    straight = reports(engine, spec)
    run = TrialRun(engine, spec)
    run.advance()
    run.save_checkpoint(tmp_path)
    run.close()
    torch.manual_seed(99)
    resumed = TrialRun(engine, spec)
    resumed.load_checkpoint(tmp_path)
    last = resumed.advance()
    resumed.close()
    assert comparable(last) == comparable(straight[1])


PRUNED: dict[str, dict[str, Any]] = {
    "magnitude": {"method": "lora", "density": 0.2},
    "sensitivity": {"method": "prefix", "density": 0.3, "mask": "sensitivity", "mask_end": 0.9},
    "over": {"method": "bitfit", "density": 0.3, "mask": "sensitivity", "mask_end": 0.2},
    "together": {
        "components": [
            {"method": "adalora", "density": 0.5, "targets": "mlp"},
            {"method": "loha", "density": 0.5, "mask": "sensitivity"},
            {"method": "serial_adapter", "density": 0.1},
        ]
    },
}


@pytest.mark.parametrize("name", PRUNED)
def test_a_resumed_trial_is_pruned_as_an_uninterrupted_one(
    engine: Engine, name: str, tmp_path: Path
) -> None:
    """Interrupted while it is pruned (`over`: after that), it has the same weights bit for bit."""
    data = {**PRUNED[name], "training": {"learning_rate": 1e-2}}
    configuration = read_configuration(data, engine.spec)
    spec = TrialSpec(number=0, configuration=configuration, rungs=(0.34, 1.0), epochs=2, seed=0)
    straight = TrialRun(engine, spec)
    expected = [comparable(straight.advance()) for _ in spec.rungs]
    straight.save_adapter(tmp_path / "straight")
    straight.save_checkpoint(tmp_path / "its last")
    straight.close()
    run = TrialRun(engine, spec)
    run.advance()
    run.save_checkpoint(tmp_path / "half")
    run.close()
    masks = {n: t for n, t in tensors(tmp_path / "half").items() if "extra/mask/pruned" in n}
    assert masks
    assert any(t.any() for t in masks.values())
    torch.manual_seed(99)
    resumed = TrialRun(engine, spec)
    resumed.load_checkpoint(tmp_path / "half")
    assert comparable(resumed.advance()) == expected[1]
    resumed.save_adapter(tmp_path / "resumed")
    resumed.save_checkpoint(tmp_path / "its own")
    resumed.close()
    for one, other in (("straight", "resumed"), ("its last", "its own")):
        first, second = tensors(tmp_path / one), tensors(tmp_path / other)
        assert first.keys() == second.keys()
        assert all(torch.equal(tensor, second[n]) for n, tensor in first.items())
    last = tensors(tmp_path / "its own")
    final = {n: t for n, t in last.items() if n.startswith("extra/mask/pruned/")}
    left = sum(int((~t).sum()) for t in final.values())
    adalora = [c for c in configuration.components if c.method == "adalora"]
    alone = replace(configuration, components=tuple(adalora))
    assert left == count_parameters(configuration, engine.spec) - count_parameters(
        alone, engine.spec
    )


def tensors(folder: Path) -> dict[str, torch.Tensor]:
    (path,) = folder.glob("*.safetensors")
    return load_file(path)


def test_rungs_and_fidelity(engine: Engine) -> None:
    first, last = reports(engine, trial(engine))
    assert (first.step, first.fidelity, first.last) == (5, 0.416667, False)
    assert (last.step, last.fidelity, last.last) == (12, 1.0, True)
    assert last.train_loss < first.train_loss
    assert set(last.metrics) == {"accuracy"}


def test_a_checkpoint_holds_no_base(engine: Engine, tmp_path: Path) -> None:
    run = TrialRun(engine, trial(engine))
    run.advance()
    run.save_checkpoint(tmp_path)
    run.close()
    size = sum(path.stat().st_size for path in tmp_path.iterdir())
    trainable = engine.spec.head_params + 2 * 2 * 2 * 64  # rank 2, two matrices, two layers
    assert size < 4 * 3 * trainable + 40_000


def test_a_higher_seed_is_another_run(engine: Engine) -> None:
    spec = trial(engine)
    fields = {name: getattr(spec, name) for name in TrialSpec.__dataclass_fields__}
    other = TrialSpec(**{**fields, "seed": 1})
    assert comparable(reports(engine, spec)[1]) != comparable(reports(engine, other)[1])


def test_divergence_is_noticed(engine: Engine) -> None:
    spec = trial(engine, method="full", training={"learning_rate": 1e30})
    run = TrialRun(engine, spec)
    with pytest.raises(DivergedError, match=r"loss is|not finite"):
        run.advance()
    run.close()


def test_the_head_can_have_its_own_rate(engine: Engine) -> None:
    spec = trial(engine, training={"learning_rate": 1e-3, "head_learning_rate": 5e-2})
    run = TrialRun(engine, spec)
    rates = {
        id(p): group["initial_lr"] for group in run._optimizer.param_groups for p in group["params"]
    }
    for name, parameter in run._parameters.items():
        assert rates[id(parameter)] == (5e-2 if "classifier" in name else 1e-3)
    run.close()


class _Recorded(Trainer):
    """Hugging Face's trainer, fed with given batches, keeping its losses."""

    batches: list[dict[str, torch.Tensor]]
    losses: list[float]

    def get_train_dataloader(self) -> list[dict[str, torch.Tensor]]:  # type: ignore[override]
        return self.batches

    def training_step(self, *args: object, **kwargs: object) -> torch.Tensor:
        loss = super().training_step(*args, **kwargs)  # type: ignore[arg-type]
        self.losses.append(float(loss))
        return loss


@pytest.mark.parametrize(
    ("family", "task", "layers"),
    [
        *(("bert", None, "all"), ("llama", None, "all"), ("t5", None, "all")),
        *(("llama", None, "last:1"), ("llama", WRITING, "last:1")),
        *(("llama", WRITING, "all"), ("gpt2", WRITING, "all"), ("t5", WRITING, "all")),
    ],
    ids=lambda value: getattr(value, "name", value),
)
def test_losses_are_those_of_the_hugging_face_trainer(
    family: str, task: TaskSpec | None, layers: str, tiny_data: Path, tmp_path: Path
) -> None:
    """Same configuration, seed, batches and schedule: the same loss at every step."""
    model = save_tiny(family, tmp_path / "model", task.kind if task else "classification")
    engine = tiny_engine(model, tiny_data, task=task)
    training = {"learning_rate": 5e-3, "weight_decay": 0.0}
    spec = trial(engine, layers=layers, training=training)
    ours = TrialRun(engine, spec)
    losses = ours._train_to(ours.total_steps)
    ours.close()

    split = engine.workload.train
    epochs = [epoch_batches(split, 16, 0, epoch) for epoch in (0, 1)]
    batches = [split.batch(rows, engine.device) for epoch in epochs for rows in epoch]
    torch.manual_seed(spec.seed)
    engine.reset_head()
    context = AttachContext(spec=engine.spec, total_steps=len(batches), seed=0)
    attachment = attach(engine.base, spec.configuration, context)
    arguments = TrainingArguments(
        output_dir=str(tmp_path),
        learning_rate=5e-3,
        max_steps=len(batches),
        warmup_steps=2,  # 0.1 of 12, rounded up
        lr_scheduler_type="linear",
        weight_decay=0.0,
        use_cpu=True,
        report_to=[],
        save_strategy="no",
        logging_strategy="no",
        disable_tqdm=True,
    )
    random_state = torch.get_rng_state()
    theirs = _Recorded(model=attachment.model, args=arguments, train_dataset=[0] * 96)
    theirs.batches, theirs.losses = batches, []
    torch.set_rng_state(random_state)  # the trainer seeds again; dropout goes on from the head
    theirs.args.seed = spec.seed
    theirs.train()
    engine.restore(attachment.detach())
    assert len(theirs.losses) == len(losses) == 12
    assert theirs.losses == pytest.approx(losses, rel=1e-5)


def test_b_of_lora_can_be_faster_than_a(engine: Engine) -> None:
    run = TrialRun(engine, trial(engine, b_rate_over_a=8.0, training={"learning_rate": 1e-3}))
    rates = {
        id(p): group["initial_lr"] for group in run._optimizer.param_groups for p in group["params"]
    }
    by_name = {name: rates[id(p)] for name, p in run._parameters.items()}
    run.close()
    assert {rate for name, rate in by_name.items() if "lora_B" in name} == {8e-3}
    assert {rate for name, rate in by_name.items() if "lora_B" not in name} == {1e-3}


def test_eva_starts_from_the_training_rows(engine: Engine) -> None:
    """A starts orthonormal, which only the rows can make it; the same rows give the same start."""
    starts = []
    for _ in range(2):
        run = TrialRun(engine, trial(engine, init="eva"))
        starts.append([p.detach().clone() for n, p in run._parameters.items() if "lora_A" in n])
        run.close()
    assert starts[0]
    for first, second in zip(*starts, strict=True):
        assert torch.allclose(first @ first.T, torch.eye(2), atol=1e-5)
        assert torch.equal(first, second)


def test_a_batch_keeps_to_its_tokens(engine: Engine) -> None:
    """Batches then differ in rows, and an epoch has more steps."""
    spec = trial(engine, training={"learning_rate": 1e-3, "max_tokens": 60})
    run = TrialRun(engine, spec)
    assert run.total_steps > 12
    batches = list(itertools.islice(run._epochs.after(0), run.total_steps))
    lengths = engine.workload.train.lengths
    assert all(len(rows) * max(lengths[rows]) <= 60 for rows in batches)
    assert sorted(i for rows in batches for i in rows) == sorted(2 * list(range(96)))
    run.close()
