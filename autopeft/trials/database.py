"""A study's storage as a file of SQLite: opened to be written, or read and left as it is."""

import os
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.parse import quote

from sqlalchemy import make_url
from sqlalchemy.exc import ArgumentError

from autopeft.errors import StudyError

#: What SQLAlchemy takes for the URL's own, and Optuna for a place to fill in. Nothing more: before
#: it opens a file, MLflow makes the folder that the URL names as it is written.
_QUOTED = str.maketrans({mark: quote(mark) for mark in "%?{}"})


def sqlite_url(path: Path) -> str:
    """Return the SQLAlchemy URL of a SQLite file, whatever letters its path has."""
    return f"sqlite:///{str(path).translate(_QUOTED)}"


def sqlite_file(url: str) -> Path | None:
    """Return the file that a SQLAlchemy URL names, `None` where it names no plain SQLite file."""
    if not url.startswith("sqlite"):
        return None
    parts = make_url(url)
    if parts.query or not parts.database or parts.database == ":memory:":
        return None
    return Path(parts.database)


def check_storage_url(url: str) -> None:
    """Check that a URL names a database that a study can be recorded in; none is opened.

    Raises:
        ValueError: If it does not, with what to write instead.
    """
    instead = (
        "write sqlite:///FILE or postgresql+psycopg://USER@HOST/NAME, or leave it out for a file "
        "in the study's folder"
    )
    try:
        parts = make_url(url)
        parts.get_dialect()  # looks for SQLAlchemy's part of it, not for the driver
    except (ArgumentError, ValueError) as error:
        raise ValueError(f"'{url}' is no URL of a database: {instead}") from error
    if parts.drivername.startswith("sqlite") and parts.database in {None, "", ":memory:"}:
        raise ValueError(f"'{url}' is lost with the process: {instead}")


def is_writable(path: Path) -> bool:
    """Tell whether a file, or a folder, can be written, or else made.

    SQLite makes files beside the one that it writes, so that the folder has to be writable, too.
    """
    folder = path if path.is_dir() else path.parent
    return os.access(folder, os.W_OK | os.X_OK) and (
        not path.exists() or os.access(path, os.R_OK | os.W_OK)
    )


def check_takes_writes(path: Path, patience: float) -> None:
    """Check that a SQLite file of another program can be written, or made; nothing is.

    Args:
        path: The file.
        patience: Seconds to wait for a program that writes.

    Raises:
        OSError: If it cannot, by SQLite's own reason.
    """
    above = next(place for place in (path, *path.absolute().parents) if place.exists())
    if not is_writable(above):
        raise PermissionError(f"'{path}' cannot be written")
    if above != path:
        return
    try:
        with closing(sqlite3.connect(_uri(path, "mode=rw"), patience, uri=True)) as connection:
            connection.execute("BEGIN IMMEDIATE")
    except sqlite3.Error as error:
        raise OSError(f"'{path}' cannot be written: {error}") from error


def log_ahead(path: Path) -> None:
    """Switch a SQLite file to write-ahead logging, making it at the first time.

    Readers (dashboards) and the writer then do not wait for each other. The switch stays in the
    file.

    Raises:
        StudyError: If the file is no database, or cannot be opened.
    """
    with _errors(path), closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA journal_mode=WAL")


def memory_copy(path: Path) -> sqlite3.Connection:
    """Return what a SQLite file holds at this moment, as a database in memory.

    Optuna makes what tables it misses in whatever it opens: here it may. Nothing is written where
    the file lies if that is not allowed.

    Raises:
        StudyError: If the file is no database, or cannot be read.
    """
    copy = sqlite3.connect(":memory:", check_same_thread=False)
    try:
        with _errors(path):
            try:
                _fill(copy, path, may_write=is_writable(path))
            except sqlite3.OperationalError:
                # On a full disk nothing can be written either, whatever the rights say.
                _fill(copy, path, may_write=False)
            [found, *_] = copy.execute("PRAGMA quick_check").fetchone()
            if found != "ok":
                raise sqlite3.DatabaseError(found)
    except BaseException:
        copy.close()
        raise
    return copy


def _fill(copy: sqlite3.Connection, path: Path, *, may_write: bool) -> None:
    with (
        _opened_to_read(path.resolve(), may_write=may_write) as uri,
        closing(sqlite3.connect(uri, uri=True)) as source,
    ):
        source.backup(copy)


@contextmanager
def _opened_to_read(path: Path, *, may_write: bool) -> Iterator[str]:
    """Yield the URI by which SQLite reads a file, with all that was committed."""
    wal, shared, journal = (
        path.with_name(path.name + ending) for ending in ("-wal", "-shm", "-journal")
    )
    if may_write:
        # The last to close the file removes the log; a reader with mode=ro would leave one there.
        yield _uri(path, "mode=rw")
    elif _holds_something(wal) and shared.exists():
        # There may be a search that writes. Its locks and its log count for this reader, too.
        yield _uri(path, "mode=ro")
    elif _holds_something(wal) or _holds_something(journal):
        # Left by a search that was killed, or copied without the index of the log: nobody writes.
        # SQLite has to put the two together first, which it does elsewhere.
        with TemporaryDirectory(prefix="autopeft-study-") as scratch:
            for file in (path, wal, journal):
                if file.exists():
                    shutil.copyfile(file, Path(scratch) / file.name)
            yield _uri(Path(scratch) / path.name, "mode=rw")
    else:
        # Without anything in a log the file is all there is; SQLite would make a log to read it.
        yield _uri(path, "mode=ro&immutable=1")


def _uri(path: Path, query: str) -> str:
    return f"file:{quote(str(path))}?{query}"


def _holds_something(path: Path) -> bool:
    return path.exists() and path.stat().st_size > 0


@contextmanager
def _errors(path: Path) -> Iterator[None]:
    try:
        yield
    except sqlite3.OperationalError as error:
        raise StudyError(f"Cannot open the study's storage '{path}': {error}.") from error
    except sqlite3.DatabaseError as error:
        raise StudyError(f"'{path}' is not a study database: {error}.") from error
