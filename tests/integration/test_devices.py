"""Trials over two processes: the same records and files, one writer, and one end for all."""

import dataclasses
import json
import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file
from torch.testing import assert_close

import autopeft
from autopeft.api.result import SearchResult
from autopeft.errors import StudyError
from autopeft.runners import device_group
from autopeft.runners.device_group import DeviceGroup
from autopeft.runners.device_process import READY
from autopeft.runners.devices import DevicesRunner, SharedExecution
from autopeft.runners.local import LocalRunner
from autopeft.trials.data_parallel import DataParallel
from autopeft.trials.engine import Workload
from autopeft.trials.ports import Decision, NoTrial
from autopeft.trials.trial import RungReport, TrialResult, TrialSpec, TrialStatus
from tests.command import as_options
from tests.integration.test_interruption import command, without_clock
from tests.tiny import save_tiny_bert
from tests.workload import tiny_engine, tiny_workload, trial


class Source:
    """Hands out trials, and does what a test wants at a rung."""

    def __init__(self, specs: Iterable[TrialSpec]) -> None:
        self._specs = list(specs)
        self.reports: dict[int, list[RungReport]] = {}
        self.results: dict[int, TrialResult] = {}

    def next_trial(self) -> TrialSpec | NoTrial:
        return self._specs.pop(0) if self._specs else NoTrial.FINISHED

    def report(self, number: int, report: RungReport) -> Decision:
        self.reports.setdefault(number, []).append(report)
        return self.decide(number, report)

    def decide(self, number: int, report: RungReport) -> Decision:
        return Decision.CONTINUE

    def finish(self, number: int, result: TrialResult) -> None:
        self.results[number] = result


def children() -> list[Any]:
    return multiprocessing.active_children()


@pytest.fixture(autouse=True)
def _nobody_is_left() -> Iterator[None]:
    yield
    assert not children()


def on_two_devices(workload: Workload, folder: Path, source: Source) -> Source:
    DevicesRunner(workload, lambda number: folder / str(number), 2).run(source)
    return source


def files(folder: Path) -> set[str]:
    return {str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file()}


@pytest.fixture(scope="module")
def steady_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model without dropout."""
    folder = save_tiny_bert(tmp_path_factory.mktemp("steady"))
    file = folder / "config.json"
    config = json.loads(file.read_text())
    config |= {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    file.write_text(json.dumps(config))
    return folder


def comparable(report: RungReport) -> RungReport:
    return dataclasses.replace(report, seconds=0)


@pytest.mark.slow
def test_files_and_reports_are_those_of_one_process(
    steady_model: Path, tiny_data: Path, tmp_path: Path
) -> None:
    """Then a trial that diverges on both, and one that the first device cannot write."""
    engine, workload = tiny_engine(steady_model, tiny_data), tiny_workload(steady_model, tiny_data)
    methods = ("lora", "bitfit", "serial_adapter")
    specs = [trial(engine, number, method=m) for number, m in enumerate(methods)]
    one = Source(specs)
    LocalRunner(workload, lambda number: tmp_path / "one" / str(number)).run(one)
    diverging = trial(engine, 3, method="full", training={"learning_rate": 1e30})
    (tmp_path / "two").mkdir()
    (tmp_path / "two" / "4").write_text("in the way")
    unwritten = dataclasses.replace(trial(engine, 4), rungs=(1.0,))
    pids = []

    class Watching(Source):
        def decide(self, number: int, report: RungReport) -> Decision:
            pids.append({child.pid for child in children()})
            return Decision.CONTINUE

    specs = [*specs, diverging, unwritten, trial(engine, 5)]
    two = on_two_devices(workload, tmp_path / "two", Watching(specs))
    assert len(pids[0]) == 2
    assert all(same == pids[0] for same in pids)  # what fails alike, or in writing, ends nobody
    for number, reports in one.reports.items():
        for mine, yours in zip(reports, two.reports[number], strict=True):
            assert yours.metrics == mine.metrics
            assert yours.eval_loss == pytest.approx(mine.eval_loss, rel=1e-3)
            assert (yours.step, yours.last) == (mine.step, mine.last)
        folders = [tmp_path / name / str(number) for name in ("one", "two")]
        assert files(folders[0]) == files(folders[1])
        first, second = (load_file(next(f.rglob("*.safetensors"))) for f in folders)
        assert first.keys() == second.keys()
        for name, tensor in first.items():  # float32, and Adam's first steps are of unit size
            assert_close(second[name], tensor, rtol=1e-3, atol=1e-3)
    assert two.results[3].status is TrialStatus.NAN
    assert "device" not in two.results[3].reason
    assert two.results[4].status is TrialStatus.CRASH
    assert two.results[4].reason.startswith("device 0: ")
    assert two.results[5].status is TrialStatus.COMPLETE
    assert two.results[5].seconds == two.reports[5][-1].seconds


@pytest.mark.slow
def test_a_paused_trial_goes_on_as_if_it_had_not_paused(
    tiny_model: Path, tiny_data: Path, tmp_path: Path
) -> None:
    """With dropout, bit for bit: the masks follow from seed, step and device."""
    engine, workload = tiny_engine(tiny_model, tiny_data), tiny_workload(tiny_model, tiny_data)
    straight = on_two_devices(workload, tmp_path / "a", Source([trial(engine)]))

    class Pausing(Source):
        def decide(self, number: int, report: RungReport) -> Decision:
            assert files(tmp_path / "b") == {
                "0/checkpoint/adapter.safetensors",
                "0/checkpoint/state.pt",
            }
            return Decision.PAUSE

    on_two_devices(workload, tmp_path / "b", Pausing([trial(engine)]))
    resumed = on_two_devices(workload, tmp_path / "b", Source([trial(engine)]))
    first, last = straight.reports[0]
    again, end = resumed.reports[0]
    assert comparable(again) == comparable(first)
    assert comparable(end) == comparable(last)
    assert files(tmp_path / "a") == files(tmp_path / "b")


@pytest.mark.slow
def test_a_process_that_is_killed_costs_its_trial_alone(
    tiny_model: Path, tiny_data: Path, tmp_path: Path
) -> None:
    engine, workload = tiny_engine(tiny_model, tiny_data), tiny_workload(tiny_model, tiny_data)

    class Killing(Source):
        def decide(self, number: int, report: RungReport) -> Decision:
            if number == 0:
                second = max(children(), key=lambda child: child._identity)
                os.kill(second.pid, signal.SIGKILL)
            return Decision.CONTINUE

    found = on_two_devices(workload, tmp_path, Killing([trial(engine), trial(engine, 1)]))
    assert found.results[0].status is TrialStatus.LOST
    assert found.results[0].reason == "the process of device 1 was ended by SIGKILL"
    assert found.results[1].status is TrialStatus.COMPLETE


@pytest.mark.slow
def test_a_model_that_is_gone(tiny_model: Path, tiny_data: Path, tmp_path: Path) -> None:
    model = tmp_path / "model"
    shutil.copytree(tiny_model, model)
    engine, workload = tiny_engine(model, tiny_data), tiny_workload(model, tiny_data)
    shutil.rmtree(model)
    with pytest.raises(StudyError, match=r"Device \d could not be set up: .*model"):
        on_two_devices(workload, tmp_path, Source([trial(engine)]))


FAILED = TrialResult(status=TrialStatus.OOM_GPU, reason="out of memory")


def half_stuck(parallel: DataParallel, _: object, __: str, connection: Connection) -> None:
    """Stand in for a process: the second fails, and the first waits for its gradients."""
    connection.send(READY)
    while True:
        name, _arguments = connection.recv()
        if name == "advance":
            if parallel.rank == 0:
                time.sleep(600)
            connection.send(FAILED)
        else:
            connection.send(None)


def dying(parallel: DataParallel, _: object, __: str, connection: Connection) -> None:
    """Stand in for a process: the second ends before it is ready."""
    if parallel.rank == 1:
        sys.exit(3)
    time.sleep(600)


@pytest.mark.slow
def test_those_who_wait_for_one_that_failed_are_ended(
    tiny_model: Path, tiny_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    workload = tiny_workload(tiny_model, tiny_data)
    monkeypatch.setattr(device_group, "GRACE", 0.5)
    monkeypatch.setattr(device_group, "work", half_stuck)
    spec = trial(tiny_engine(tiny_model, tiny_data))
    with DeviceGroup(workload, 2) as group:
        outcome = SharedExecution(group, spec, tmp_path).advance()
        assert not children()
        assert outcome == dataclasses.replace(FAILED, reason="device 1: out of memory")
        monkeypatch.setattr(device_group, "GRACE", 30.0)  # an interpreter takes a while to end
        monkeypatch.setattr(device_group, "work", dying)
        with pytest.raises(StudyError, match="process of device 1 ended with exit code 3"):
            group.ask("begin")
        assert not children()


def telling(_: DataParallel, __: object, ___: str, connection: Connection) -> None:
    """Stand in for a process: it tells whether Ctrl-C can reach it before it ignores it."""
    connection.send(READY)
    connection.recv()
    connection.send(signal.SIGINT in signal.pthread_sigmask(signal.SIG_BLOCK, []))


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(signal, "pthread_sigmask"), reason="signals cannot be blocked")
def test_ctrl_c_reaches_no_process_that_is_being_started(
    tiny_model: Path, tiny_data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(device_group, "work", telling)
    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, [])
    with DeviceGroup(tiny_workload(tiny_model, tiny_data), 2) as group:
        assert group.ask("begin") == {0: True, 1: True}
    assert signal.SIGINT not in blocked
    assert signal.pthread_sigmask(signal.SIG_BLOCK, []) == blocked


@pytest.fixture
def arguments(tiny_settings: dict[str, Any], steady_model: Path) -> list[object]:
    """Options of a training that takes a while."""
    settings = {k: v for k, v in tiny_settings.items() if k not in {"budget", "trials", "repeats"}}
    settings |= {"model": str(steady_model), "epochs": 8.0}
    return ["--config", "preset:lora-qv", *as_options(settings)]


def run(*parts: object) -> dict[str, Any]:
    done = subprocess.run(command(*parts, "--json"), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    data: dict[str, Any] = json.loads(done.stdout)
    return data


def group_of(leader: int) -> list[int]:
    """Return the processes that a process started, all generations, in its own session."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            if int(fields[3]) == leader and fields[0] != "Z":
                found.append(int(entry.name))
    return found


def begin(*parts: object) -> subprocess.Popen[str]:
    """Start a training and return it when two processes train."""
    process = subprocess.Popen(
        command(*parts),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    while len(group_of(process.pid)) < 3:  # beside these, multiprocessing's own helper
        assert process.poll() is None, process.communicate()
        time.sleep(0.2)
    return process


def ends(leader: int) -> bool:
    deadline = time.monotonic() + 60
    while group_of(leader) and time.monotonic() < deadline:
        time.sleep(0.2)
    return not group_of(leader)


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc").is_dir(), reason="looks at processes in /proc")
@pytest.mark.timeout(900)
def test_interrupted_and_killed_trainings_go_on(arguments: list[object], tmp_path: Path) -> None:
    """The same weights and records as without any of it, with two seeds and a place to go."""
    one = run("train", *arguments, "--seeds", 2, "--study", "one", "--to", "home", "--devices", 1)
    parts = ["train", *arguments, "--seeds", 2, "--study", "two", "--devices", 2]
    process = begin(*parts)
    os.killpg(process.pid, signal.SIGINT)
    _, err = process.communicate()
    assert process.returncode == 130
    assert "Traceback" not in err
    assert "Go on with: autopeft search --resume" in err
    assert ends(process.pid)
    process = begin("search", "--resume", "--study", "two")
    os.kill(process.pid, signal.SIGKILL)  # of all processes the first alone
    assert ends(process.pid)
    process.communicate()
    two = run("search", "--resume", "--study", "two")
    assert [t["seed"] for t in two["trials"]] == [t["seed"] for t in one["trials"]]
    assert [t["status"] for t in two["trials"]] == ["complete"] * 2
    for mine, yours in zip(without_clock(one), without_clock(two), strict=True):
        assert yours["quality"] == pytest.approx(mine["quality"], abs=0.03)  # one row of 48
        assert yours["configuration"] == mine["configuration"]
    assert json.loads(Path("two/study.json").read_text())["request"]["devices"] == 2
    folders = (SearchResult.open(Path(name)) for name in ("one", "two"))
    adapters = [
        load_file(next(result.folder.trial(0).rglob("adapter_model.safetensors")))
        for result in folders
    ]
    for name, tensor in adapters[0].items():
        assert_close(adapters[1][name], tensor, rtol=1e-2, atol=1e-2)
    assert autopeft.open_study("two").export(tmp_path / "again").is_dir()
