import json
from pathlib import Path

import optuna
import pytest

from autopeft.errors import StudyError
from autopeft.space.space import SearchSpace
from autopeft.trials.database import sqlite_url
from autopeft.trials.folder import StudyFolder, newest_study, write_json
from autopeft.trials.store import TrialStore, read_records
from autopeft.trials.trial import TrialRecord, TrialResult, TrialStatus
from tests.records import record, report
from tests.spaces import space_of

OBJECTIVES = {"quality": "maximize", "params": "minimize"}


def space(name: str = "default") -> SearchSpace:
    return space_of(name)


def point(name: str, n: int) -> TrialRecord:
    chosen = space(name)
    assignment = chosen.decode([(0.1 + 0.17 * n + 0.07 * i) % 1 for i in range(chosen.dimension)])
    return record(n, [], 1000 + n, None, assignment=assignment, notes={"origin": "sobol"})


def add(store: TrialStore, trial: TrialRecord) -> None:
    store.add(trial.spec, trial.assignment, trial.cost, trial.quality_metric, trial.notes)


@pytest.fixture
def url(tmp_path: Path) -> str:
    return sqlite_url(tmp_path / "study.db")


@pytest.mark.parametrize("name", ["default", "lora"])
def test_records_survive(url: str, name: str) -> None:
    store = TrialStore(url, "s", space(name), OBJECTIVES)
    for number in range(4):
        add(store, point(name, number))
    store.record_rung(0, report(0, 0.5))
    store.record_rung(0, report(1, 0.6))
    store.finish(0, TrialResult(status=TrialStatus.COMPLETE, seconds=4.0), [0.6, 1000.0])
    store.record_rung(1, report(0, 0.4))
    store.finish(1, TrialResult(status=TrialStatus.STOPPED, seconds=2.0), None)
    store.finish(2, TrialResult(status=TrialStatus.NAN, reason="loss is nan"), None)
    assert read_records(url, "s") == store.records
    assert TrialStore(url, "s", space(name), OBJECTIVES).records == store.records
    statuses = [r.status.value for r in store.records]
    assert statuses == ["complete", "stopped", "nan", "running"]
    assert store.records[0].quality == 0.6


def test_a_trial_pauses_and_goes_on(url: str) -> None:
    """That it pauses is never recorded apart from the rung at which it does."""
    store = TrialStore(url, "s", space(), OBJECTIVES)
    trial = point("default", 0)
    store.add(trial.spec, trial.assignment, trial.cost, trial.quality_metric, trial.notes, pause=0)
    found = [store.records[0].status]
    steps = [
        lambda: store.record_rung(0, report(0, 0.5)),
        lambda: store.go_on(0),
        lambda: store.record_rung(0, report(0, 0.5)),  # said again after an interruption
        lambda: store.record_rung(0, report(1, 0.6)),
        lambda: store.finish(0, TrialResult(status=TrialStatus.COMPLETE), [0.6, 1000.0]),
    ]
    for step in steps:
        step()
        assert read_records(url, "s") == store.records
        found.append(store.records[0].status)
    paused, running = TrialStatus.PAUSED, TrialStatus.RUNNING
    assert found == [running, paused, running, running, running, TrialStatus.COMPLETE]


def test_optuna_reads_the_storage(url: str) -> None:
    store = TrialStore(url, "s", space(), OBJECTIVES)
    add(store, point("default", 0))
    store.record_rung(0, report(0, 0.5))
    store.record_rung(0, report(1, 0.7))
    store.finish(0, TrialResult(status=TrialStatus.COMPLETE), [0.7, 1000.0])
    study = optuna.load_study(study_name="s", storage=url)
    assert [d.name for d in study.directions] == ["MAXIMIZE", "MINIMIZE"]
    assert study.metric_names == ["quality", "params"]
    assert study.best_trials[0].values == [0.7, 1000.0]
    assert study.trials[0].intermediate_values == {10: 0.5, 20: 0.7}
    assert study.trials[0].params == store.records[0].assignment


def test_a_rung_measured_again_replaces_the_old_one(url: str) -> None:
    store = TrialStore(url, "s", space(), OBJECTIVES)
    add(store, point("default", 0))
    store.record_rung(0, report(0, 0.5))
    store.record_rung(0, report(0, 0.55))
    assert [r.metrics["accuracy"] for r in store.records[0].reports] == [0.55]


def test_studies_share_a_storage(url: str) -> None:
    for name in ("a", "b"):
        add(TrialStore(url, name, space(), OBJECTIVES), point("default", 0))
    assert len(read_records(url, "a")) == len(read_records(url, "b")) == 1
    assert read_records(url, "c") == []


def test_a_second_writer_is_noticed(url: str) -> None:
    one, other = (TrialStore(url, "s", space(), OBJECTIVES) for _ in range(2))
    add(one, point("default", 0))
    with pytest.raises(StudyError, match="Another search has written"):
        add(other, point("default", 0))


def test_a_foreign_storage(url: str) -> None:
    study = optuna.create_study(study_name="s", storage=url)
    study.add_trial(optuna.trial.create_trial(value=1.0))
    with pytest.raises(StudyError, match="was not written by autopeft"):
        read_records(url, "s")


def test_a_folder_has_one_writer(tmp_path: Path) -> None:
    first, second = StudyFolder(tmp_path / "s"), StudyFolder(tmp_path / "s")
    with first, pytest.raises(StudyError, match="Another search is writing"):
        second.__enter__()
    with second:
        pass


def test_a_folder_is_made_once(tmp_path: Path) -> None:
    folder = StudyFolder(tmp_path / "s")
    folder.create({"study_id": "x"}, "name: x\n")
    assert json.loads(folder.manifest_file.read_text())["study_id"] == "x"
    assert folder.space_file.read_text() == "name: x\n"
    with pytest.raises(StudyError, match="already holds a study"):
        folder.create({}, "")


def test_foreign_and_broken_folders(tmp_path: Path) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.tex").write_text("x")
    with pytest.raises(StudyError, match="is not empty and holds no study"):
        StudyFolder(tmp_path / "full").create({}, "")
    with pytest.raises(StudyError, match="holds no study"):
        StudyFolder(tmp_path / "nothing").manifest()
    with pytest.raises(StudyError, match=r"thesis\.tex' is a file"):
        StudyFolder(tmp_path / "full" / "thesis.tex").check_free()
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "study.json").write_text("{")
    with pytest.raises(StudyError, match="Cannot read"):
        StudyFolder(broken).manifest()
    (broken / "study.json").write_text('{"schema_version": 99}')
    with pytest.raises(StudyError, match="this version of autopeft"):
        StudyFolder(broken).manifest()


def test_the_newest_study(tmp_path: Path) -> None:
    with pytest.raises(StudyError, match="There is no study in"):
        newest_study(tmp_path / "studies")
    for name in ("b", "a"):
        StudyFolder(tmp_path / "studies" / name).create({}, "")
    assert newest_study(tmp_path / "studies").path.name == "a"


def test_json_is_written_in_one_step(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    write_json(path, {"a": 1})
    with pytest.raises(TypeError):
        write_json(path, {"a": object()})
    assert path.read_text() == '{\n  "a": 1\n}\n'
    assert [p.name for p in tmp_path.iterdir()] == ["x.json"]


def test_a_lost_storage_is_not_taken_for_a_study_that_has_not_begun(tmp_path: Path) -> None:
    folder = StudyFolder(tmp_path / "s")
    folder.create({"study_id": "x"}, "name: x\n")
    assert not folder.database.exists()
    folder.trial(0).mkdir(parents=True)
    with pytest.raises(StudyError, match="is missing, and with it the record"):
        _ = folder.database
