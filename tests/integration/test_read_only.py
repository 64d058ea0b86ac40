"""A study of someone else, of which nothing can be written: looked at and taken home."""

import json
from pathlib import Path
from shutil import copytree

import pytest

from autopeft.api.result import SearchResult
from autopeft.export.folder import check_target
from tests.unprivileged import only_to_read, run_unprivileged

_COMMANDS = """
import json, os, sys
from autopeft.cli.main import main

for command in json.loads(sys.argv[1]):
    print(f"== {command[0]}", flush=True)
    print(f"== {command[0]}", file=sys.stderr, flush=True)
    sys.argv = ["autopeft", *command]
    try:
        main()
    except SystemExit as end:
        if end.code:
            print(f"exit code {end.code}", file=sys.stderr)
"""


def outcomes(text: str) -> dict[str, str]:
    """Return what each command printed, by its name."""
    _, *parts = text.split("== ")
    return {name: told for name, _, told in (part.partition("\n") for part in parts)}


@pytest.fixture
def study(tiny_study: SearchResult, tmp_path: Path) -> Path:
    return copytree(tiny_study.folder.path, tmp_path / "share" / "their study?")


def test_a_study_that_can_only_be_read(study: Path, tmp_path: Path) -> None:
    pick = SearchResult.open(study).best().number
    commands = [
        ["pareto", str(study), "--format", "json"],
        ["report", str(study), "--to", "mine.html"],
        ["analyze", str(study)],
        ["export", str(study), "--to", "mine"],
        ["compare", str(study), str(copytree(study, tmp_path / "other"))],
        ["search", "--resume", "--study", str(study)],
        ["train", "--config", f"{study}:{pick}", "--to", f"{study}/mine"],
    ]
    before = {path: path.stat().st_mtime_ns for path in study.rglob("*")}
    with only_to_read(study.parent):
        done = run_unprivileged(_COMMANDS, json.dumps(commands))
    assert {path: path.stat().st_mtime_ns for path in study.rglob("*")} == before
    out, err = outcomes(done.stdout), outcomes(done.stderr)
    assert err["pareto"] == ""
    assert json.loads(out["pareto"])["study"] == str(study)
    assert "mine.html" in out["report"]
    assert Path("mine.html").is_file()
    assert "Which method wins" in out["analyze"]
    assert f"No page is written, because '{study / 'report'}' cannot be." in err["analyze"]
    assert "The picks" in out["compare"]
    assert f"Trial {pick} " in out["export"]
    for name in ("pareto", "report", "export", "compare"):
        assert err[name] == "", name
    assert err["search"] == (
        f"Error: '{study}' cannot be written: copy the study to a folder of yours, and "
        "`chmod -R u+w` the copy.\nexit code 2\n"
    )
    assert err["train"] == (
        f"Error: Cannot write to '{study}' (Permission denied): name another folder than "
        f"'{study}/mine'.\nexit code 2\n"
    )
    # What was taken home is the user's own, to change and to remove.
    assert all(path.stat().st_mode & 0o200 for path in (Path("mine"), *Path("mine").iterdir()))


def test_an_export_is_checked_before_the_work(tmp_path: Path) -> None:
    check_target(tmp_path / "new" / "deep")
    assert list(tmp_path.iterdir()) == []
    if Path("/proc/self").exists():
        # No right is missing there: a folder cannot be made, as if its name held a mistake.
        with pytest.raises(Exception, match=r"Cannot write to '/proc' \(.*name another folder"):
            check_target(Path("/proc/x/y"))
