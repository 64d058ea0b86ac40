"""Searches that begin with what earlier ones have learnt."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

import autopeft
from autopeft.api.problem import resolve
from autopeft.api.request import SearchRequest
from autopeft.api.result import SearchResult
from autopeft.api.search import resume_search
from autopeft.api.warm_start import read_past
from autopeft.api.wiring import build_strategy
from autopeft.errors import RequestError, StudyError
from autopeft.study.past import PastStudy
from autopeft.trials.folder import StudyFolder
from tests.command import as_options, run


def test_a_resumed_search_needs_no_source_and_asks_for_the_same(
    tiny_study: SearchResult, tiny_settings: dict[str, Any], tmp_path: Path
) -> None:
    source = tmp_path / "source"
    shutil.copytree(tiny_study.folder.path, source)
    # Named twice, and the same study in another folder: it counts once.
    names = (str(source), str(source), str(tiny_study.folder.path))
    asked = {**tiny_settings, "fidelity": "none", "trials": 7, "warm_start": names}
    problem = resolve(SearchRequest.build(**asked))
    past = read_past(problem, StudyFolder(tmp_path / "s"))
    begun = autopeft.search(study=tmp_path / "s", **{**asked, "trials": 4})
    shutil.rmtree(source)
    result = resume_search(begun.folder.path, {"trials": 7})

    straight = build_strategy(problem, problem.reference_point(), past)
    for number, trial in enumerate(result.trials):
        candidate = straight.ask(result.trials[:number], number)
        assert candidate is not None
        assert candidate.assignment == trial.assignment
    origins = [trial.notes["origin"] for trial in result.trials]
    assert origins[:3] == ["ladder", "ladder", "warm"]
    assert origins[-1] == "nehvi"

    [facts] = result.manifest["warm_start"]
    assert (facts["study_id"], facts["trials"]) == (tiny_study.manifest["study_id"], 8)
    [kept] = json.loads(result.folder.warm_start_file.read_text())
    assert [PastStudy.from_dict(kept)] == past
    result.folder.warm_start_file.unlink()
    with pytest.raises(StudyError, match="what the study took from earlier ones"):
        resume_search(result.folder.path, {"trials": 8})


def test_a_study_with_nothing_of_use_says_why(
    tiny_study: SearchResult, tiny_settings: dict[str, Any], tmp_path: Path
) -> None:
    asked = {**tiny_settings, "warm_start": (str(tiny_study.folder.path),), "space": "adapters"}
    with pytest.raises(RequestError, match=r"at least 3 .* none is \(.*which this search does not"):
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
