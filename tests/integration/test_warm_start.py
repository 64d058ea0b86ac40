"""Searches that begin with what earlier ones have learnt."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

import autopeft
from autopeft.api.result import SearchResult
from autopeft.api.search import resume_search
from autopeft.errors import RequestError, StudyError
from autopeft.study.past import PastStudy
from tests.command import as_options, run
from tests.integration.test_search import outcome

WARM = {"seed": 9, "fidelity": "none", "epochs": 4.0}


def test_a_resumed_search_equals_an_uninterrupted_one_without_the_source(
    tiny_study: SearchResult, tiny_settings: dict[str, Any], tmp_path: Path
) -> None:
    source = tmp_path / "source"
    shutil.copytree(tiny_study.folder.path, source)
    # Named twice, and the same study in another folder: it counts once.
    names = (str(source), str(source), str(tiny_study.folder.path))
    asked = {**tiny_settings, **WARM, "warm_start": names}
    whole = autopeft.search(study=tmp_path / "whole", **{**asked, "trials": 7})
    begun = autopeft.search(study=tmp_path / "begun", **{**asked, "trials": 4})
    shutil.rmtree(source)
    gone_on = resume_search(begun.folder.path, {"trials": 7})
    assert outcome(gone_on.trials) == outcome(whole.trials)
    [facts] = whole.manifest["warm_start"]
    assert (facts["study_id"], facts["trials"]) == (tiny_study.manifest["study_id"], 8)
    origins = [trial.notes["origin"] for trial in whole.trials]
    assert origins[:3] == ["ladder", "ladder", "warm"]
    assert "nehvi" in origins
    [kept] = json.loads(whole.folder.warm_start_file.read_text())
    assert len(PastStudy.from_dict(kept).trials) == 8

    whole.folder.warm_start_file.unlink()
    with pytest.raises(StudyError, match="what the study took from earlier ones"):
        resume_search(whole.folder.path, {"trials": 8})


def test_a_study_with_nothing_of_use_says_why(
    tiny_study: SearchResult, tiny_settings: dict[str, Any], tmp_path: Path
) -> None:
    asked = {**tiny_settings, "warm_start": (str(tiny_study.folder.path),), "space": "adapters"}
    with pytest.raises(RequestError, match=r"at least 3 .* 0 is \(.*which this search does not"):
        autopeft.search(study=tmp_path / "s", **asked)
    assert not (tmp_path / "s").exists()


def test_the_plan_tells_what_would_be_taken(
    tiny_study: SearchResult, tiny_settings: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    options = as_options({**tiny_settings, "methods": "lora,bitfit,shira"})
    place = tiny_study.folder.path.parent / "mlflow.db"
    named = ["--warm-start", "mlflow:autopeft", "--mlflow-uri", f"sqlite:///{place}"]
    plan = run(capsys, "plan", *options, *named, "--format", "json")
    assert plan.code == 0
    [facts] = [
        facts
        for facts in json.loads(plan.out)["warm_start"]
        if facts["study_id"] == tiny_study.manifest["study_id"]
    ]
    used = {t.spec.configuration.method for t in tiny_study.trials} & {"lora", "bitfit", "shira"}
    mine = [t for t in tiny_study.trials if t.spec.configuration.method in used]
    assert facts["trials"] == len(mine)
    assert len(facts["left_out"]) == 8 - len(mine)
