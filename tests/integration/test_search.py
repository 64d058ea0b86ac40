"""Whole searches on a tiny model: what the parts promise holds when they work together."""

import json
import logging
import shutil
import sqlite3
from pathlib import Path
from typing import Any

import pytest
from mlflow.tracking import MlflowClient

import autopeft
from autopeft.api.result import SearchResult
from autopeft.api.search import resume_search
from autopeft.errors import RequestError, StudyError
from autopeft.report.mlflow_runs import EXPERIMENT, local_place
from autopeft.study import rungs
from autopeft.trials.trial import TrialRecord, TrialStatus
from tests.command import as_options, run
from tests.tiny import save_tiny


def outcome(trials: list[TrialRecord]) -> list[dict[str, Any]]:
    """Return all of a study's trials that does not depend on the clock."""
    return [{k: v for k, v in t.to_dict().items() if k != "seconds"} for t in trials]


def test_a_seed_fixes_the_search(
    tiny_study: SearchResult, tiny_settings: dict[str, Any], tmp_path: Path
) -> None:
    again = autopeft.search(study=tmp_path / "s", **tiny_settings)
    assert outcome(again.trials) == outcome(tiny_study.trials)
    assert again.hypervolume == tiny_study.hypervolume


def test_another_seed_is_another_search(
    tiny_study: SearchResult, tiny_settings: dict[str, Any], tmp_path: Path
) -> None:
    other = autopeft.search(study=tmp_path / "s", **{**tiny_settings, "seed": 4, "trials": 3})
    assert outcome(other.trials) != outcome(tiny_study.trials[:3])


def test_no_trial_is_over_budget_and_complete_ones_have_weights(tiny_study: SearchResult) -> None:
    limit = tiny_study.summary.budget_limit
    assert len(tiny_study.trials) == 8
    for trial in tiny_study.trials:
        assert trial.cost.adapter_params <= limit
        has_weights = tiny_study.folder.adapter(trial.number).is_dir()
        assert has_weights is (trial.status is TrialStatus.COMPLETE)


def test_nothing_but_safetensors_is_kept(tiny_study: SearchResult) -> None:
    files = [p for p in tiny_study.folder.path.rglob("*") if p.is_file()]
    assert any(p.suffix == ".safetensors" for p in files)
    assert not [p for p in files if p.suffix in {".bin", ".pt", ".pth", ".pkl", ".ckpt"}]


@pytest.mark.parametrize("strategy", ["random", "tpe", "nsga2"])
def test_optunas_samplers(strategy: str, tiny_settings: dict[str, Any], tmp_path: Path) -> None:
    result = autopeft.search(
        study=tmp_path / "s", **{**tiny_settings, "trials": 4, "strategy": strategy}
    )
    assert len(result.trials) == 4
    assert result.front


def test_a_winner_that_cannot_be_logged_costs_a_warning(
    tiny_settings: dict[str, Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def full(*_: object) -> Path:
        raise StudyError("the disk is full")

    monkeypatch.setattr(SearchResult, "export", full)
    settings = {**tiny_settings, "trials": 1, "epochs": 1.0, "fidelity": "none"}
    with caplog.at_level(logging.WARNING, logger="autopeft"):
        result = autopeft.search(study=tmp_path / "s", **settings)
    assert len(result.trials) == 1
    assert "the disk is full" in caplog.text
    client = MlflowClient(local_place(tmp_path).uri)
    experiment = client.get_experiment_by_name(EXPERIMENT)
    assert {r.info.status for r in client.search_runs([experiment.experiment_id])} == {"FINISHED"}


def test_three_objectives(tiny_settings: dict[str, Any], tmp_path: Path) -> None:
    result = autopeft.search(
        study=tmp_path / "s",
        **{**tiny_settings, "trials": 8, "objectives": "quality,params,memory"},
        methods=("ln_tuning", "ia3", "lora"),  # few, as memory is predicted for each candidate
    )
    assert [o.name for o in result.summary.objectives] == ["quality", "params", "memory"]
    # What a search begins with is of interest: it lies before the reference, not beyond.
    _, _, memory = result.summary.objectives
    most = max(memory.minimised(memory.cost(r.cost)) for r in result.summary.records)
    assert most <= result.summary.reference.worst[2]
    assert 0 < result.hypervolume < 1


def test_no_trial_is_over_the_memory(tiny_settings: dict[str, Any], tmp_path: Path) -> None:
    settings = {"trials": 2, "strategy": "random", "max_memory": "1200KiB", "epochs": 1.0}
    what = {"methods": ("lora", "ia3"), "objectives": "quality,params,memory"}
    result = autopeft.search(study=tmp_path / "s", **{**tiny_settings, **settings, **what})
    assert max(t.cost.peak_memory_bytes for t in result.trials) <= 1200 * 2**10
    assert any(t.spec.configuration.training.micro_batch_size for t in result.trials)
    assert result.manifest["max_memory_bytes"] == 1200 * 2**10
    with pytest.raises(RequestError, match="--max-memory of a study cannot change"):
        resume_search(tmp_path / "s", {"max_memory": "2MiB"})


def test_own_data_without_a_task(tiny_model: Path, tmp_path: Path) -> None:
    rows = ["review,stars"]
    rows += [f"word{i % 30 + 30 * (i % 2)} word{i % 29},{1 + 4 * (i % 2)}" for i in range(60)]
    (tmp_path / "reviews.csv").write_text("\n".join(rows) + "\n")
    result = autopeft.search(
        study=tmp_path / "s",
        model=str(tiny_model),
        data=tmp_path / "reviews.csv",
        text_columns=("review",),
        label_column="stars",
        budget="8%",
        trials=1,
        epochs=1.0,
        fidelity="none",
    )
    # To say again what was asked is no change of it.
    again = {"data": tmp_path / "reviews.csv", "text_columns": ("review",), "trials": 2}
    assert len(resume_search(tmp_path / "s", again).trials) == 2
    manifest = result.manifest
    assert manifest["task"]["labels"] == ["1", "5"]
    assert (manifest["task"]["train_rows"], manifest["task"]["eval_rows"]) == (48, 12)
    assert result.best().status is TrialStatus.COMPLETE


def test_a_decoder_learns_to_write_own_data(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = save_tiny("llama", tmp_path / "model", "language_modeling")
    rows = [f"word{i % 9},word{i % 7},word{i % 9 + 1} word{i % 7}" for i in range(40)]
    (tmp_path / "own.csv").write_text("\n".join(["subject,verb,sentence", *rows]) + "\n")
    about = {"model": model, "data": tmp_path / "own.csv", "completion_column": "sentence"}
    columns = ["--text-column", "subject", "--text-column", "verb"]
    options = [*as_options({**about, "budget": "20%", "methods": "lora,ia3"}), *columns]
    plan = run(capsys, "plan", *options, "--max-length", 5)
    assert "quality is token_accuracy" in plan.out
    # [CLS], two columns, two words and [SEP]: the prompt and what is to be written.
    assert "32 of 32 training rows and 8 of 8 validation rows are longer than 5" in plan.err
    how = as_options({"study": tmp_path / "s", "epochs": 1, "trials": 1, "strategy": "random"})
    search = run(capsys, "search", *options, *how)
    assert search.code == 0, search.err
    assert "22,752 parameters, budget 20% = 4,550 adapter parameters, the head that" in search.err
    assert run(capsys, "search", "--resume", "--study", tmp_path / "s", "--trials", 2).code == 0
    shown = json.loads(run(capsys, "pareto", tmp_path / "s", "--all", "--format", "json").out)
    assert [(t["number"], t["status"]) for t in shown["trials"]] == [
        (0, "complete"),
        (1, "complete"),
    ]
    export = run(capsys, "export", tmp_path / "s", "--to", tmp_path / "out")
    # Where the model lies is said to the user here, and not in the folder.
    assert "predict.py --base-model /" in export.out
    assert export.out.endswith(' "a text" "its second text"\n')
    # Plain text has no columns to read, and a script takes its beginning.
    plain = [*as_options({**about, "config": "preset:lora-qv", "epochs": 1})]
    plain += ["--study", tmp_path / "t", "--to", tmp_path / "p"]
    assert run(capsys, "train", *plain).code == 0
    assert '"the beginning of a text"' in (tmp_path / "p" / "README.md").read_text()


def test_the_front_of_a_finished_study_is_trained_again(
    tiny_study: SearchResult, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "studies" / "s"
    shutil.copytree(tiny_study.folder.path, folder)
    asked = ["search", "--resume", "--study", folder, "--repeats", 2]
    ended = run(capsys, *asked)
    assert "[repeat] trial 8 complete" in ended.err
    assert "of them with further seeds" in ended.out
    result = SearchResult.open(folder)
    data = result.to_dict()
    assert outcome(result.trials[:8]) == outcome(tiny_study.trials)
    repeats = result.trials[8:]
    assert repeats
    # A seed alone makes another training, with an adapter of its own.
    assert {t.spec.seed for t in repeats} == {result.manifest["request"]["seed"] + 1}
    assert {t.repeat_of for t in repeats} >= set(data["front"])
    assert any(t.quality != result.trials[t.repeat_of or 0].quality for t in repeats)
    assert all(result.folder.adapter(t.number).is_dir() for t in repeats)
    by_first = {e["trials"][0]: e for e in data["estimates"]}
    assert all(len(by_first[number]["trials"]) == 2 for number in data["front"])
    card = result.export(tmp_path / "out", "smallest") / "README.md"
    assert "the mean of 2 seeds is" in card.read_text()
    # Nothing is left to do, and nothing is done twice.
    again = json.loads(run(capsys, *asked, "--json").out)
    assert len(again["trials"]) == len(data["trials"])
    table = run(capsys, "pareto", folder, "--all").out
    assert "repeat of" in table
    assert "on front" in table


def test_more_trials_for_a_study(tiny_settings: dict[str, Any], tmp_path: Path) -> None:
    first = autopeft.search(study=tmp_path / "s", **{**tiny_settings, "trials": 2})
    more = resume_search(tmp_path / "s", {"trials": 3})
    assert outcome(more.trials[:2]) == outcome(first.trials)
    assert len(more.trials) == 3


def test_a_resumed_study_keeps_its_rungs(
    tiny_settings: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another version of autopeft may look at trials earlier."""
    first = autopeft.search(study=tmp_path / "s", **{**tiny_settings, "trials": 1})
    monkeypatch.setattr(rungs, "LEAST_STEPS", 1)
    more = resume_search(tmp_path / "s", {"trials": 2})
    new = autopeft.search(study=tmp_path / "new", **{**tiny_settings, "trials": 1})
    shares = [t.spec.rungs for t in (*first.trials, *more.trials, *new.trials)]
    assert [len(one) for one in shares] == [2, 2, 2, 4]


def test_a_study_is_not_resumed_on_other_data(
    tiny_settings: dict[str, Any], tmp_path: Path
) -> None:
    data = tmp_path / "data"
    data.mkdir()
    for file in Path(tiny_settings["data"]).iterdir():
        (data / file.name).write_text(file.read_text())
    autopeft.search(study=tmp_path / "s", **{**tiny_settings, "data": data, "trials": 1})
    with (data / "train.jsonl").open("a") as file:
        file.write('{"sentence": "word1", "label": 0}\n')
    with pytest.raises(StudyError, match="rows are not those that the study was started with"):
        resume_search(tmp_path / "s", {})


def test_a_study_is_resumed_on_the_space_that_it_was_started_with(
    tiny_study: SearchResult, tiny_settings: dict[str, Any], tmp_path: Path
) -> None:
    space = tmp_path / "my.yaml"
    shutil.copy(tiny_study.folder.space_file, space)
    settings = {**tiny_settings, "space": str(space)}
    autopeft.search(study=tmp_path / "s", **{**settings, "trials": 4})
    space.write_text("name: other\n")
    more = resume_search(tmp_path / "s", {"trials": 8, "space": str(space)})
    assert outcome(more.trials) == outcome(tiny_study.trials)
    more.folder.space_file.unlink()
    with pytest.raises(StudyError, match=r"space.yaml' is missing"):
        resume_search(tmp_path / "s", {"trials": 9})


def test_time_is_a_limit_too(tiny_settings: dict[str, Any], tmp_path: Path) -> None:
    result = autopeft.search(study=tmp_path / "s", **{**tiny_settings, "time": "0.0000001s"})
    assert result.trials == []
    assert result.front == []


@pytest.mark.parametrize("family", ["gpt2", pytest.param("t5", marks=pytest.mark.slow)])
def test_decoders_and_encoder_decoders_are_searched(
    family: str, tiny_settings: dict[str, Any], tmp_path: Path
) -> None:
    model = save_tiny(family, tmp_path / "model")
    settings = {**tiny_settings, "model": str(model), "budget": "20%", "trials": 4, "epochs": 1.0}
    settings |= {"space": "everything", "strategy": "random", "max_length": 16}
    result = autopeft.search(study=tmp_path / "study", **settings)
    assert not [t for t in result.trials if t.status.failed]
    assert len({t.spec.configuration.method for t in result.trials}) > 1


def test_a_storage_without_the_study_is_no_new_study(
    tiny_study: SearchResult, tmp_path: Path
) -> None:
    """A relative path that was given in another folder, say: what was trained stays as it is."""
    folder = tmp_path / "s"
    shutil.copytree(tiny_study.folder.path, folder)
    (folder / "study.db").unlink()
    with sqlite3.connect(folder / "study.db") as connection:
        connection.execute("CREATE TABLE other (x)")
    connection.close()
    before = {p: p.stat().st_mtime_ns for p in (folder / "trials").rglob("*")}
    for look in (
        lambda: autopeft.open_study(folder).trials,
        lambda: resume_search(folder, {"trials": 9}),
    ):
        with pytest.raises(StudyError, match="has trials that its storage does not hold"):
            look()
    assert before == {p: p.stat().st_mtime_ns for p in (folder / "trials").rglob("*")}
