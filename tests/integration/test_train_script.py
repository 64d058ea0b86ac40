"""`train.py` of an export gives the weights of the search again, without autopeft."""

import random
import runpy
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from safetensors.torch import load_file

from autopeft.errors import RequestError
from autopeft.export.facts import ExportFacts, Writing
from autopeft.export.rows import write_rows
from autopeft.export.train_script import train_script
from autopeft.models.head import TaskHead
from autopeft.models.registry import resolve_model
from autopeft.space.configuration import Configuration
from autopeft.tasks.data import Split, TaskData, load_data
from autopeft.tasks.metrics import METRICS
from autopeft.tasks.task import find_task
from autopeft.trials.engine import Engine, Workload
from autopeft.trials.training import TrialRun
from autopeft.trials.trial import TrialRecord
from tests.records import record
from tests.tiny import VOCABULARY, save_tiny
from tests.unit.export.test_folder import FACTS
from tests.workload import WRITING, trial

MAX_LENGTH = 16
PARTS = {"learning_rate": 1e-2, "micro_batch_size": 3, "max_tokens": 70, "head_learning_rate": 0.02}
CASES: dict[str, tuple[str, str, dict[str, Any]]] = {
    "upper layer in parts": (
        "bert",
        "sst2",
        {"layers": [1], "dropout": 0.1, "b_rate_over_a": 4.0, "training": PARTS},
    ),
    "all weights": ("bert", "sst2", {"method": "full", "training": {"learning_rate": 1e-3}}),
    "a number": ("bert", "stsb", {"method": "ia3"}),
    "a decoder": ("llama", "writing", {"variant": "dora", "targets": "linear"}),
    "an encoder-decoder": ("t5", "writing", {"init": "pissa"}),
}


def data_for(task: str, folder: Path) -> TaskData:
    if task == "writing":
        return load_data(WRITING, folder)
    if task == "sst2":
        return load_data(find_task("sst2"), folder)
    rng = random.Random(0)
    texts = [tuple(" ".join(rng.choices(VOCABULARY, k=5)) for _ in "ab") for _ in range(60)]
    labels = [len(set(a.split()) & set(b.split())) + rng.random() for a, b in texts]
    rows = Split(texts=tuple(texts), labels=tuple(labels))
    train, validation = rows.take(range(40)), rows.take(range(40, 60))
    return TaskData(task=find_task(task), train=train, validation=validation, origin="made up")


def trained(
    model: Path, data: TaskData, changes: dict[str, Any], to: Path
) -> tuple[TrialRecord, ExportFacts]:
    """Train a trial to the end, write its adapter, and return what an export knows of it."""
    reference = resolve_model(str(model))
    workload = Workload.prepare(reference, data, MAX_LENGTH, precision="float32")
    engine = Engine(workload, torch.device("cpu"))
    run = TrialRun(engine, replace(trial(engine, **changes), rungs=(1.0,)))
    report = run.advance()
    run.save_adapter(to)
    run.close()
    task = data.task
    output = workload.train.output
    writing = Writing(output=output, text_columns=task.text_columns, prompt=task.prompt_template)
    facts = replace(
        FACTS,
        reference=reference,
        metric=task.quality,
        labels=data.labels,
        max_length=MAX_LENGTH,
        writing=None if output == "labels" else writing,
    )
    done = record(0, [0.0], 1)
    return replace(done, spec=run.spec, reports=(report,), quality_metric=task.quality), facts


@pytest.mark.timeout(60)
@pytest.mark.parametrize("case", CASES)
def test_the_script_gives_the_weights_again(
    case: str,
    tiny_data: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    family, task, changes = CASES[case]
    kind = "language_modeling" if task == "writing" else "classification"
    model = save_tiny(family, tmp_path / "model", kind)
    data, folder = data_for(task, tiny_data), tmp_path / "export"
    done, facts = trained(model, data, changes, folder)
    (folder / "train.py").write_text(train_script(done, facts, data.head, precision="float32"))
    write_rows(folder, data)

    monkeypatch.setitem(sys.modules, "autopeft", None)  # an import of it fails
    arguments = ["--out", str(tmp_path / "again"), "--base-model", str(model)]
    monkeypatch.setattr(sys, "argv", ["train.py", *arguments])
    capsys.readouterr()  # what was said of the model that the test has made
    runpy.run_path(str(folder / "train.py"), run_name="__main__")

    weights = "model" if "full" in changes.values() else "adapter_model"
    first, again = (load_file(f / f"{weights}.safetensors") for f in (folder, tmp_path / "again"))
    assert first.keys() == again.keys()
    assert [n for n, t in first.items() if not torch.equal(t, again[n])] == []
    said = capsys.readouterr()
    assert f"{done.quality:.6f} (recorded: {done.quality:.6f})" in said.out
    assert said.err == ""  # no bars of others


@pytest.fixture(scope="module")
def scores() -> dict[str, Any]:
    file = Path(__file__).parents[2] / "autopeft/export/templates/train/scores.py.txt"
    space: dict[str, Any] = {"np": np}
    exec(file.read_text(), space)
    found: dict[str, Any] = space["SCORES"]
    return found


def test_every_metric_has_a_score(scores: dict[str, Any]) -> None:
    assert scores.keys() == METRICS.keys()


ROWS = st.lists(st.tuples(st.integers(0, 2), st.integers(0, 2)), min_size=2, max_size=20)


@given(rows=ROWS)
def test_scores_are_those_of_the_search(
    scores: dict[str, Any], rows: list[tuple[int, int]]
) -> None:
    right, predicted = (np.array(column, dtype=np.float64) for column in zip(*rows, strict=True))
    assume(len(set(right) | set(predicted)) > 1)  # scikit-learn warns of a single class
    for name, metric in METRICS.items():
        if name == "f1" and set(right) <= {0.0, 1.0} and predicted.max() > 1:
            continue  # a class that the task does not have
        expected = metric.function(right, predicted)
        assert scores[name](right, predicted) == pytest.approx(expected, abs=1e-12), name


REFUSED: dict[str, dict[str, Any]] = {
    "eva": {"init": "eva"},
    "kasa": {"variant": "kasa"},
    "density": {"density": 0.5},
    "adalora": {"method": "adalora"},
    "parallel_adapter": {"method": "parallel_adapter"},
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_peft_alone_cannot_train_is_refused(
    case: str, tiny_model: Path, tiny_data: Path
) -> None:
    workload = Workload.prepare(
        resolve_model(str(tiny_model)), data_for("sst2", tiny_data), MAX_LENGTH
    )
    engine = Engine(workload, torch.device("cpu"))
    done = replace(record(4, [0.5, 0.6], 1), spec=trial(engine, 4, **REFUSED[case]))
    with pytest.raises(RequestError, match=f"cannot train trial 4 .*{case}"):
        train_script(done, FACTS, TaskHead(), precision="float32")
    both = Configuration(
        components=done.spec.configuration.components * 2,
        training=done.spec.configuration.training,
    )
    several = replace(done, spec=replace(done.spec, configuration=both))
    with pytest.raises(RequestError, match="several components, or none"):
        train_script(several, FACTS, TaskHead(), precision="float32")
