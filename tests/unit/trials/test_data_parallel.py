"""Two processes that share every batch train what one process does, up to rounding."""

import json
import multiprocessing
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import distributed, nn

from autopeft.api.device import check_devices
from autopeft.errors import RequestError
from autopeft.methods.compose import read_configuration
from autopeft.methods.registry import method_names
from autopeft.space.configuration import Component, Configuration, TrainingParams
from autopeft.tasks.task import TaskSpec
from autopeft.trials.data_parallel import ALONE, DataParallel
from autopeft.trials.engine import Engine
from autopeft.trials.training import TrialRun
from autopeft.trials.trial import TrialSpec
from tests.tiny import data_of, save_tiny
from tests.workload import WRITING, tiny_workload

SIZE = 2
#: 96 rows in batches of 19 leave one row to the last batch: the second process has none of it.
BATCH = 19


@dataclass(frozen=True)
class Job:
    """Configurations to train on one model and task.

    Attributes:
        model: Folder of the model.
        data: Folder of the data.
        task: The task, `None` for classes.
        configurations: Plain data of each.
        exact: Whether they are trained in float64: Adam blows gradients that are zero but for
            rounding up to whole steps.
    """

    model: Path
    data: Path
    task: TaskSpec | None
    configurations: Sequence[dict[str, Any]]
    exact: bool = True


def trained(job: Job, parallel: DataParallel) -> list[dict[str, Any]]:
    """Return reports and weights of each configuration of a job."""
    engine = Engine(tiny_workload(job.model, job.data, task=job.task), CPU, parallel)
    if job.exact:
        engine.base.double()
    found = []
    for data in job.configurations:
        torch.manual_seed(99 + parallel.rank)  # what was drawn before must not matter
        training = {"learning_rate": 1e-3, "batch_size": BATCH, **data.get("training", {})}
        configuration = read_configuration({**data, "training": training}, engine.spec)
        spec = TrialSpec(number=0, configuration=configuration, rungs=(0.5, 1.0), epochs=2, seed=0)
        run = TrialRun(engine, spec)
        reports = [run.advance().to_dict() for _ in spec.rungs]
        weights = {name: p.detach().clone() for name, p in run._parameters.items()}
        extra = {name: t.clone() for name, t in run._attachment.extra_state().items()}
        run.close()
        found.append({"reports": reports, "weights": weights, "extra": extra})
    return found


CPU = torch.device("cpu")
#: Imports everything once and is forked from: half of the time of two fresh interpreters.
PROCESSES = multiprocessing.get_context("forkserver")
PROCESSES.set_forkserver_preload([__name__])


def process(rank: int, jobs: Sequence[Job], folder: Path) -> None:
    torch.set_num_threads(1)
    place = (folder / "meeting").as_uri()
    distributed.init_process_group("gloo", init_method=place, rank=rank, world_size=SIZE)
    parallel = DataParallel(rank=rank, size=SIZE)
    torch.save([trained(job, parallel) for job in jobs], folder / f"{rank}.pt")
    distributed.destroy_process_group()


def trained_by_two(jobs: Sequence[Job], folder: Path) -> list[list[list[dict[str, Any]]]]:
    """Return what each of two processes has, by process, job and configuration."""
    folder.mkdir()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", os.pathsep.join(map(str, _paths())))
        workers = [
            PROCESSES.Process(target=process, args=(rank, jobs, folder)) for rank in range(SIZE)
        ]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
    assert [worker.exitcode for worker in workers] == [0] * SIZE
    return [torch.load(folder / f"{rank}.pt", weights_only=False) for rank in range(SIZE)]


def _paths() -> list[str]:
    return [str(Path(__file__).parents[3]), *filter(None, [os.environ.get("PYTHONPATH")])]


def check(jobs: Sequence[Job], folder: Path) -> None:
    first, second = trained_by_two(jobs, folder / "two")
    different = []
    for number, job in enumerate(jobs):
        alone = trained(job, ALONE)
        for data, one, two, other in zip(
            job.configurations, alone, first[number], second[number], strict=True
        ):
            try:
                check_one(one, two, other, 1e-5 if job.exact else 1e-3)
            except AssertionError as error:
                different.append(f"{job.model} {data}: {error}")
    assert not different, "\n".join(different)


def check_one(
    one: dict[str, Any], two: dict[str, Any], other: dict[str, Any], rounding: float
) -> None:
    """Compare what one process has with what each of two has, which is the same bit for bit."""
    assert one["weights"].keys() == two["weights"].keys()
    for kind in ("weights", "extra"):
        for name, tensor in one[kind].items():
            assert torch.equal(two[kind][name], other[kind][name])
            torch.testing.assert_close(two[kind][name], tensor, rtol=rounding, atol=rounding)
    for mine, yours in zip(one["reports"], two["reports"], strict=True):
        del mine["seconds"], yours["seconds"]
        assert yours.pop("metrics") == pytest.approx(mine.pop("metrics"))
        assert yours == pytest.approx(mine, rel=rounding)


def without_dropout(family: str, folder: Path, task: TaskSpec | None = None) -> Path:
    """Write a tiny model in which nothing drops out: masks fall differently in two processes."""
    path = save_tiny(family, folder / family, task.kind if task else "classification")
    file = path / "config.json"
    config = json.loads(file.read_text())
    file.write_text(json.dumps({k: 0.0 if _drops(k, v) else v for k, v in config.items()}))
    return path


def _drops(name: str, value: Any) -> bool:
    return isinstance(value, float) and (
        "dropout" in name or name.endswith(("_pdrop", "_drop", "layerdrop"))
    )


def test_of_one_process_nothing_is_asked() -> None:
    parameter = nn.Parameter(torch.ones(2))
    assert ALONE.share([3, 1, 2]) == [3, 1, 2]
    assert ALONE.gathered("mine") == ["mine"]
    assert ALONE.summed({"weight": parameter}, 2.5) == 2.5
    assert parameter.grad is None


@pytest.mark.parametrize("size", [1, 2, 3, 5])
def test_shares_are_all_there_is_and_alike_in_size(size: int) -> None:
    rows = list(range(13))
    shares = [DataParallel(rank=rank, size=size).share(rows) for rank in range(size)]
    assert sorted(row for share in shares for row in share) == rows
    assert max(map(len, shares)) - min(map(len, shares)) <= 1


FEW: list[dict[str, Any]] = [
    {"method": "lora", "training": {"micro_batch_size": 4}},
    {"method": "adalora", "training": {"max_tokens": 40}},
    {"method": "lora", "density": 0.4, "mask": "sensitivity"},
]
SHORT: list[dict[str, Any]] = [{"method": "lora"}]


def test_weights_and_reports_are_those_of_one_process(tiny_data: Path, tmp_path: Path) -> None:
    """An encoder that gives labels, and a decoder that writes: its rows differ in tokens."""
    bert = without_dropout("bert", tmp_path)
    writer = without_dropout("llama", tmp_path, WRITING)
    jobs = [Job(bert, tiny_data, None, FEW), Job(writer, tiny_data, WRITING, SHORT)]
    check(jobs, tmp_path)


#: Starts from data, penalties, frozen factors, several rates, schedules and several components.
SPECIAL: list[dict[str, Any]] = [
    *({"method": "lora", "init": i} for i in ("eva", "lora_ga")),
    *({"method": "lora", "variant": v} for v in ("rslora", "dora", "fa")),
    {"method": "lora", "b_rate_over_a": 8.0},
    {"components": [{"method": "lora"}, {"method": "ia3", "targets": "mlp.down"}]},
    {"method": "prefix", "density": 0.3},
]


#: psoft is compared in float32, lily is refused, and pvera samples: each process its own numbers.
APART = {"psoft", "lily", "pvera"}
#: What peft does not make in float64, or takes singular vectors of in float32; and hidden states
#: that are kept, which no training has in float64.
SINGLE: list[dict[str, Any]] = [
    {"method": "lora", "layers": "last:1", "training": {"max_tokens": 60}},
    {"method": "psoft"},
    *({"method": "lora", "init": i} for i in ("pissa", "olora", "mica", "corda")),
    {"method": "lora", "variant": "kasa"},
]


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_every_method_on_an_encoder(tiny_data: Path, tmp_path: Path) -> None:
    methods = [data_of(method) for method in method_names() if method not in APART]
    bert = without_dropout("bert", tmp_path)
    jobs = [
        Job(bert, tiny_data, None, [*methods, *SPECIAL]),
        Job(bert, tiny_data, None, SINGLE, exact=False),
    ]
    check(jobs, tmp_path)


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_other_models_and_tasks(tiny_data: Path, tmp_path: Path) -> None:
    several: list[dict[str, Any]] = [
        *({"method": m} for m in ("lora", "adalora", "prefix", "prompt_tuning", "full")),
        {"method": "lora", "training": {"micro_batch_size": 3}},
    ]
    places = [("gpt2", None), ("llama", None), ("t5", None), ("gpt2", WRITING), ("t5", WRITING)]
    jobs = []
    for number, (family, task) in enumerate(places):
        folder = tmp_path / str(number)
        jobs.append(Job(without_dropout(family, folder, task), tiny_data, task, several))
    check(jobs, tmp_path)


def test_what_has_to_stay_together_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is learned from a batch by these is no sum over its rows."""
    monkeypatch.setattr(os, "cpu_count", lambda: 2)

    def configuration(method: str, **params: Any) -> Configuration:
        chosen = tuple(params.items())
        part = Component(method=method, targets=("attn.q",), layers=(0,), params=chosen)
        return Configuration(components=(part,), training=TrainingParams(learning_rate=1e-3))

    check_devices(2, configuration("lora", variant="plain"))
    check_devices(1, configuration("lora", variant="velora"))
    with pytest.raises(RequestError, match=r"'velora' projects on .*train it with --devices 1"):
        check_devices(2, configuration("lora", variant="velora"))
    with pytest.raises(RequestError, match=r"lily weighs .*train it with --devices 1"):
        check_devices(2, configuration("lily"))
    with pytest.raises(RequestError, match=r"--devices 3 are too many: .* no GPU, and 2 cores"):
        check_devices(3, configuration("lora", variant="plain"))
