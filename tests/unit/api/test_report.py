"""The report of a study on disk, and the one of a search that still runs."""

import json
import logging
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from autopeft.api.comparison import compare_studies
from autopeft.api.live_report import INTERVAL, LiveReport
from autopeft.api.report import write_report_page, write_report_pictures
from autopeft.api.result import SearchResult
from autopeft.errors import StudyError
from autopeft.trials.folder import StudyFolder
from tests.command import run
from tests.records import record


class Clock:
    """A clock that the test sets."""

    def __init__(self) -> None:
        self.time = 0.0

    def now(self) -> float:
        return self.time


@pytest.fixture
def copied(tiny_study: SearchResult, tmp_path: Path) -> StudyFolder:
    """A copy of a finished study without its report."""
    folder = shutil.copytree(tiny_study.folder.path, tmp_path / "studies" / "copied")
    shutil.rmtree(folder / "report")
    return StudyFolder(folder)


def test_a_search_leaves_its_report_and_tracks_it(tiny_study: SearchResult) -> None:
    page = (tiny_study.folder.report / "report.html").read_text()
    assert tiny_study.manifest["task"]["fingerprint"] in page
    [kept] = tiny_study.folder.path.parent.glob("mlartifacts/**/report.html")
    assert kept.read_text() == page


def test_the_command_writes_what_the_library_writes(
    capsys: pytest.CaptureFixture[str], copied: StudyFolder, tmp_path: Path
) -> None:
    outcome = run(capsys, "report", copied.path, "--to", tmp_path / "mine.html")
    assert (outcome.code, outcome.err) == (0, "")
    assert not copied.report.exists()
    assert run(capsys, "report", copied.path).code == 0
    written = (copied.report / "report.html").read_text()
    assert "autopeft search --resume --study" in written
    assert f"{len(SearchResult(copied).trials)} trials" in written


def test_a_report_needs_no_weights(copied: StudyFolder) -> None:
    shutil.rmtree(copied.path / "trials")
    assert write_report_page(SearchResult(copied)).is_file()


@pytest.mark.parametrize(
    ("to", "sentence"), [("mine.pdf", "name a .html file"), ("no/mine.html", "no such folder")]
)
def test_where_no_page_can_be(
    to: str, sentence: str, capsys: pytest.CaptureFixture[str], copied: StudyFolder, tmp_path: Path
) -> None:
    outcome = run(capsys, "report", copied.path, "--to", tmp_path / to)
    assert outcome.code == 2
    assert sentence in outcome.err
    assert outcome.err.count("\n") == 1


def test_a_study_that_does_not_say_what_was_asked(copied: StudyFolder) -> None:
    data = json.loads(copied.manifest_file.read_text())
    del data["task"]["about"]
    copied.manifest_file.write_text(json.dumps(data))
    with pytest.raises(StudyError, match=r"is incomplete: 'task\.about' is missing"):
        write_report_page(SearchResult(copied))


def test_a_running_search_has_a_report_when_the_interval_is_over(copied: StudyFolder) -> None:
    clock, page = Clock(), copied.report / "report.html"
    kept: list[Path] = []
    observer = LiveReport(copied, kept.append, clock)
    observer.finished(record(0, [0.5, 0.6], 100))
    assert not page.exists()
    clock.time = INTERVAL
    observer.finished(record(1, [0.5, 0.6], 100))
    assert page.is_file()
    page.unlink()
    clock.time = 2 * INTERVAL - 1
    observer.finished(record(2, [0.5, 0.6], 100))
    assert not page.exists()
    assert kept == [page]


def test_a_report_that_cannot_be_written_costs_one_warning(
    copied: StudyFolder, caplog: pytest.LogCaptureFixture
) -> None:
    copied.report.write_text("a file where the folder should be")
    clock = Clock()
    kept: list[Path] = []
    observer = LiveReport(copied, kept.append, clock)
    with caplog.at_level(logging.WARNING, logger="autopeft"):
        for n in range(1, 4):
            clock.time = n * INTERVAL
            observer.finished(record(n, [0.5, 0.6], 100))
    assert [r.name for r in caplog.records] == ["autopeft.api.live_report"]
    assert kept == []


def test_compare_prints_studies_side_by_side_and_writes_a_page(
    capsys: pytest.CaptureFixture[str],
    copied: StudyFolder,
    tiny_study: SearchResult,
    tmp_path: Path,
) -> None:
    both = (copied.path, tiny_study.folder.path)
    outcome = run(capsys, "compare", *both)
    assert (outcome.code, outcome.err) == (0, "")
    for text in ("Best mean quality within a share", "The picks", "copied", "tiny"):
        assert text in outcome.out
    to = tmp_path / "wall.html"
    machine = run(capsys, "compare", *both, "--format", "json", "--to", to)
    data = json.loads(machine.out)
    assert {row["study"] for row in data["picks"]} == {"copied", "tiny"}
    assert data["shares"][-1]["copied"] == data["shares"][-1]["tiny"]
    assert to.is_file()
    assert "wall.html" in machine.err


def test_studies_of_one_name_are_told_apart_by_their_folders(
    copied: StudyFolder, tmp_path: Path
) -> None:
    twin = shutil.copytree(copied.path, tmp_path / "elsewhere" / "copied")
    labels = [study.label for study in compare_studies([copied.path, twin]).studies]
    assert labels == [str(copied.path), str(twin)]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["copied"], "at least two studies"),
        (["copied", "copied/../copied"], "is named twice"),
        (["copied", "nowhere"], "nowhere' holds no study"),
        (["copied", "nowhere", "--to", "x.txt"], "name a .html file"),
        (["copied", "nowhere", "--open"], "Name the page to open with --to"),
    ],
)
def test_what_cannot_be_compared(
    arguments: list[str],
    sentence: str,
    capsys: pytest.CaptureFixture[str],
    copied: StudyFolder,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(copied.path.parent)
    outcome = run(capsys, "compare", *arguments)
    assert outcome.code == 2
    assert sentence in outcome.err
    assert outcome.err.count("\n") == 1


@pytest.mark.parametrize("command", ["report", "analyze", "compare"])
def test_pictures_that_cannot_be_are_refused_before_anything_is_written(
    command: str,
    capsys: pytest.CaptureFixture[str],
    copied: StudyFolder,
    tiny_study: SearchResult,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    studies = (copied.path, tiny_study.folder.path)[: 2 if command == "compare" else 1]
    to, file = tmp_path / "pictures", tmp_path / "file"
    file.write_text("not a folder")
    monkeypatch.setitem(sys.modules, "kaleido", None)
    for options, sentence in (
        (("--pictures", to), "pip install 'autopeft[pictures]'"),
        (("--pictures", file), "name a folder for the pictures"),
        (("--pictures-format", "svg"), "Name the folder of the pictures with --pictures"),
    ):
        outcome = run(capsys, command, *studies, *options)
        assert outcome.code == 2
        assert sentence in outcome.err
        assert outcome.err.count("\n") == 1
        assert not outcome.out
    assert not to.exists()
    assert not copied.report.exists()


def test_pictures_of_a_study_without_a_measured_trial(copied: StudyFolder, tmp_path: Path) -> None:
    result = SearchResult(copied)
    result.summary = replace(result.summary, records=())
    with pytest.raises(StudyError, match="nothing to draw"):
        write_report_pictures(result, tmp_path / "pictures")


def test_a_place_that_cannot_be_written_is_one_sentence(
    capsys: pytest.CaptureFixture[str], copied: StudyFolder
) -> None:
    copied.report.write_text("a file where the folder should be")
    outcome = run(capsys, "analyze", copied.path)
    assert outcome.code == 2
    assert outcome.err.startswith(f"Error: Cannot use '{copied.report}'")
    assert outcome.err.count("\n") == 1
