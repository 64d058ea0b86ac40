import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from autopeft.errors import StudyError
from autopeft.trials import database
from autopeft.trials.database import log_ahead, memory_copy, sqlite_file, sqlite_url
from autopeft.trials.store import TrialStore, read_records
from tests.records import record
from tests.spaces import space_of
from tests.unprivileged import only_to_read, run_unprivileged

NAMES = ["plain", "two words", "what?", "no#1", "100%41", "{x}", "a?mode=ro&b", "ü"]


def begun(folder: Path) -> TrialStore:
    """Return the open store of a study with a trial, in its log."""
    folder.mkdir(parents=True)
    log_ahead(folder / "study.db")
    chosen = space_of("default")
    store = TrialStore(sqlite_url(folder / "study.db"), "s", chosen, {"quality": "maximize"})
    point = chosen.decode([0.3] * chosen.dimension)
    trial = record(0, [], 1000, None, assignment=point)
    store.add(trial.spec, trial.assignment, trial.cost, trial.quality_metric, trial.notes)
    return store


def ended(folder: Path) -> TrialStore:
    store = begun(folder)
    store._storage.engine.dispose()
    assert names(folder) == ["study.db"]
    return store


def killed(folder: Path) -> TrialStore:
    """Leave the log of a search that did not end, without the log's index."""
    store = begun(folder.parent / "running")
    folder.mkdir()
    for name in ("study.db", "study.db-wal"):
        shutil.copy(folder.parent / "running" / name, folder)
    return store


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def state(folder: Path) -> dict[str, tuple[int, bytes]]:
    return {p.name: (p.stat().st_mtime_ns, p.read_bytes()) for p in folder.iterdir()}


@pytest.mark.parametrize("name", NAMES)
def test_any_path(tmp_path: Path, name: str) -> None:
    folder = tmp_path / name
    store = ended(folder)
    assert sqlite_file(sqlite_url(folder / "study.db")) == folder / "study.db"
    assert read_records(sqlite_url(folder / "study.db"), "s") == store.records
    assert [p.name for p in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize(
    "url",
    [
        "sqlite://",
        "sqlite:///:memory:",
        "sqlite:///file:x.db?mode=ro&uri=true",
        "postgresql://u@h/x",
        "nonsense",
    ],
)
def test_what_is_no_plain_file(url: str) -> None:
    assert sqlite_file(url) is None


def test_the_writers_file_logs_ahead(tmp_path: Path) -> None:
    log_ahead(tmp_path / "study.db")
    with closing(sqlite3.connect(tmp_path / "study.db")) as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)


@pytest.mark.parametrize(
    ("make", "query"), [(ended, "mode=ro&immutable=1"), (begun, "mode=ro"), (killed, "mode=rw")]
)
def test_reading_without_writing(
    make: Callable[[Path], TrialStore],
    query: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Whatever is beside the file, all that was committed is read and nothing is written."""
    folder = tmp_path / "my study?"
    store = make(folder)
    before = state(folder)
    monkeypatch.setattr(database, "is_writable", lambda _: False)
    with database._opened_to_read(folder / "study.db", may_write=False) as uri:
        assert uri.endswith(f"/study.db?{query}")
        assert (str(tmp_path) in uri) == (make is not killed)
    found = read_records(sqlite_url(folder / "study.db"), "s")
    assert len(found) == 1
    assert found == store.records
    after = state(folder)
    after.pop("study.db-shm", None)  # holds the readers' locks while a search writes
    assert after == {name: held for name, held in before.items() if name != "study.db-shm"}


def test_a_reader_leaves_nothing_where_it_may_write(tmp_path: Path) -> None:
    ended(tmp_path / "s")
    before = state(tmp_path / "s")
    assert len(read_records(sqlite_url(tmp_path / "s" / "study.db"), "s")) == 1
    assert state(tmp_path / "s") == before


def test_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """There is the right to write a log, and no place for it."""
    store = ended(tmp_path / "s")
    connect, asked = sqlite3.connect, []

    def without_place(place: str, **settings: object) -> sqlite3.Connection:
        asked.append(place.rpartition("?")[2])
        if asked[-1] == "mode=rw":
            raise sqlite3.OperationalError("disk I/O error")
        return connect(place, **settings)

    monkeypatch.setattr(database.sqlite3, "connect", without_place)
    assert read_records(sqlite_url(tmp_path / "s" / "study.db"), "s") == store.records
    assert asked == [":memory:", "mode=rw", "mode=ro&immutable=1"]


def test_a_reader_makes_no_database(tmp_path: Path) -> None:
    assert read_records(sqlite_url(tmp_path / "study.db"), "s") == []
    (tmp_path / "study.db").touch()
    assert read_records(sqlite_url(tmp_path / "study.db"), "s") == []
    assert (tmp_path / "study.db").stat().st_size == 0


_READ = """
import sys
from pathlib import Path
from autopeft.errors import StudyError
from autopeft.trials.database import is_writable, sqlite_url
from autopeft.trials.folder import StudyFolder
from autopeft.trials.store import TrialStore, read_records
from tests.spaces import space_of

for folder in map(Path, sys.argv[1:]):
    url = sqlite_url(folder / "study.db")
    print(is_writable(folder / "study.db"), len(read_records(url, "s")))
    for write in (
        StudyFolder(folder).check_writable,
        lambda: TrialStore(url, "s", space_of("default"), {"quality": "maximize"}),
    ):
        try:
            write()
        except StudyError as error:
            print(error)
"""


def test_where_nothing_may_be_written(tmp_path: Path) -> None:
    """The modes of files themselves, for a study that has ended, runs, or was killed."""
    share = tmp_path / "share"
    share.mkdir()
    folders = [share / name for name in ("ended", "runs", "killed")]
    stores = [make(f) for make, f in zip((ended, begun, killed), folders, strict=True)]
    assert all(len(store.records) == 1 for store in stores)
    with only_to_read(share):
        before = [names(folder) for folder in folders]
        done = run_unprivileged(_READ, *folders)
        assert [names(folder) for folder in folders] == before
    assert done.stderr == ""
    expected = []
    for folder in folders:
        expected += [
            "False 1",
            f"'{folder}' cannot be written: copy the study to a folder of yours, and "
            "`chmod -R u+w` the copy.",
            f"The storage '{folder / 'study.db'}' cannot be written: --storage names a file in a "
            "folder of yours.",
        ]
    assert done.stdout.splitlines() == expected


@pytest.mark.parametrize("writable", [True, False])
def test_what_is_no_database(
    tmp_path: Path, writable: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "study.db"
    file.write_text("not a database, but long enough to be looked at" * 30)
    monkeypatch.setattr(database, "is_writable", lambda _: writable)
    with pytest.raises(StudyError, match="is not a study database: file is not a database"):
        memory_copy(file)
    with pytest.raises(StudyError, match="is not a study database: file is not a database"):
        log_ahead(file)


@pytest.mark.parametrize("kept", [5_000, 50_000])
def test_a_damaged_database(tmp_path: Path, kept: int) -> None:
    """The table of contents is gone, or only rows are."""
    ended(tmp_path / "s")
    file = tmp_path / "s" / "study.db"
    whole = file.read_bytes()
    assert len(whole) > kept
    file.write_bytes(whole[:kept] + b"\xff" * (len(whole) - kept))
    with pytest.raises(StudyError, match=r"study\.db' is not a study database"):
        read_records(sqlite_url(file), "s")


def test_a_database_of_another_program(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "study.db")) as connection:
        connection.execute("CREATE TABLE studies (title TEXT)")
    with pytest.raises(StudyError, match=r"study\.db' is not a study database: .*no such column"):
        read_records(sqlite_url(tmp_path / "study.db"), "s")
