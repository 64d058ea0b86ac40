import json
import re
from pathlib import Path

import pytest

import autopeft
from autopeft.api.result import SearchResult
from autopeft.errors import RequestError, StudyError, UnknownNameError
from autopeft.trials.folder import StudyFolder


def test_a_study_reopens_as_it_was(tiny_study: SearchResult) -> None:
    reopened = autopeft.open_study(tiny_study.folder.path)
    assert reopened.to_dict() == tiny_study.to_dict()
    assert reopened.front == tiny_study.front
    assert reopened.best() == tiny_study.best()


def test_json_has_what_machines_ask_for(tiny_study: SearchResult) -> None:
    data = json.loads(json.dumps(tiny_study.to_dict()))
    assert [t["number"] for t in data["trials"]] == list(range(8))
    for trial in data["trials"]:
        assert trial.keys() >= {
            *("number", "status", "configuration", "quality", "adapter_params", "head_params"),
            *("base_params", "peak_memory_bytes", "seconds", "fidelity"),
        }
        assert trial["adapter_params"] <= data["budget"]["limit"]
    assert data["smallest"] == data["front"][0]
    assert data["best"] == data["front"][-1]


def test_picks(tiny_study: SearchResult) -> None:
    front = tiny_study.front
    assert tiny_study.pick("smallest") == front[0]
    assert tiny_study.pick("best") == front[-1]
    assert tiny_study.pick("knee") in front
    assert tiny_study.pick("5") == tiny_study.trials[5]


def test_picks_that_are_none(tiny_study: SearchResult) -> None:
    with pytest.raises(UnknownNameError, match="did you mean best"):
        tiny_study.pick("bset")
    with pytest.raises(StudyError, match="no trial 99: the study has 0 to 7"):
        tiny_study.pick("99")


def test_an_export_never_covers_the_study(tiny_study: SearchResult) -> None:
    for place in (tiny_study.folder.path, tiny_study.folder.path.parent):
        with pytest.raises(RequestError, match="holds the study itself"):
            tiny_study.export(place)
    assert tiny_study.folder.exists


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "holds no study"),
        ("{", "Cannot read"),
        ("[]", "not written by this version"),
        ('{"schema_version": 99}', "not written by this version"),
        ('{"schema_version": 1}', "is incomplete"),
    ],
)
def test_foreign_folders(tmp_path: Path, content: str | None, message: str) -> None:
    if content is not None:
        (tmp_path / "study.json").write_text(content)
    with pytest.raises(StudyError, match=message):
        SearchResult.open(tmp_path)


def test_a_folder_tells_how_it_was_made(tiny_study: SearchResult) -> None:
    manifest = StudyFolder(tiny_study.folder.path).manifest()
    assert manifest["request"]["seed"] == 3
    assert re.fullmatch(r"[0-9a-f]{16}", manifest["task"]["fingerprint"])
    assert manifest["versions"].keys() >= {"python", "torch", "peft", "transformers", "autopeft"}


def test_formats_that_cannot_be_written_leave_nothing(
    tiny_study: SearchResult, tmp_path: Path
) -> None:
    with pytest.raises(RequestError, match="TRL trains decoders that write text"):
        tiny_study.export(tmp_path / "out", formats=("trl",))
    assert not (tmp_path / "out").exists()
