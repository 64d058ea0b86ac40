"""`StudyFolder`: where everything of a study lies, who writes to it, and what it was asked."""

import contextlib
import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

from filelock import FileLock, Timeout

from autopeft.errors import StudyError
from autopeft.trials.database import is_writable
from autopeft.trials.manifest import check_manifest

MANIFEST = "study.json"
SCHEMA_VERSION = 1


class StudyFolder:
    """A study's folder.

    ::

        study.json        what was asked, versions, seed, data fingerprint; written once
        study.db          Optuna's storage: the one record of the trials
        space.yaml        the search space as it was read
        warm_start.json   what was taken from earlier studies, if anything was
        trials/0007/      adapter of a complete trial and what it kept, checkpoint of a running one
        derived.jsonl     adapters made of trials' weights, as they were measured
        report/           report.html, front.csv, front.json, pareto.html, pareto.png

    Attributes:
        path: The folder.
    """

    def __init__(self, path: Path) -> None:
        self.path = path.resolve()
        self._lock = FileLock(self.path / ".lock")
        self._made: Path | None = None

    @property
    def database(self) -> Path:
        """File of Optuna's storage.

        Raises:
            StudyError: If it is gone or empty while the weights of its trials are still there.
        """
        file = self.path / "study.db"
        if (self.path / "trials").exists():
            lost = None if file.exists() else "missing"
            if file.is_file() and file.stat().st_size == 0:
                lost = "empty"
            if lost is not None:
                raise StudyError(
                    f"'{file}' is {lost}, and with it the record of all trials: bring it back."
                )
        return file

    @property
    def report(self) -> Path:
        """Folder of figures and tables."""
        return self.path / "report"

    @property
    def space_file(self) -> Path:
        """The search space as it was read."""
        return self.path / "space.yaml"

    @property
    def warm_start_file(self) -> Path:
        """What was taken from earlier studies; those need not stay where they were."""
        return self.path / "warm_start.json"

    @property
    def manifest_file(self) -> Path:
        """What was asked, with the command, versions, seed and data fingerprint."""
        return self.path / MANIFEST

    @property
    def derived_file(self) -> Path:
        """Adapters that were made of trials' weights, as they were measured."""
        return self.path / "derived.jsonl"

    @property
    def exists(self) -> bool:
        """Whether the folder holds a study."""
        return self.manifest_file.is_file()

    @property
    def has_trained(self) -> bool:
        """Whether there is a folder of any trial."""
        return any((self.path / "trials").glob("*"))

    def trial(self, number: int) -> Path:
        """Return the folder of a trial."""
        return self.path / "trials" / f"{number:04d}"

    def drop_checkpoint(self, number: int) -> None:
        """Remove the checkpoint of a trial that has ended, and its folder if that was all."""
        folder = self.trial(number)
        shutil.rmtree(folder / "checkpoint", ignore_errors=True)
        with contextlib.suppress(OSError):
            folder.rmdir()

    def adapter(self, number: int) -> Path:
        """Return the folder of a complete trial's adapter."""
        return self.trial(number) / "adapter"

    def check_free(self) -> None:
        """Check that a new study can have this folder; nothing is written.

        Raises:
            StudyError: If the folder holds a study or something else, or is a file.
        """
        if self.exists:
            raise StudyError(
                f"'{self.path}' already holds a study: go on with --resume, or name another "
                "folder with --study."
            )
        if self.path.is_file():
            raise StudyError(f"'{self.path}' is a file: name a folder with --study.")
        if self.path.exists() and any(p.name != ".lock" for p in self.path.iterdir()):
            raise StudyError(f"'{self.path}' is not empty and holds no study: name another folder.")

    def check_writable(self) -> None:
        """Check that the study can go on where it lies; nothing is written.

        Raises:
            StudyError: If the folder, or what a search writes into it, cannot be written.
        """
        written = (self.path / name for name in (".lock", "study.db", "trials", "report"))
        if not all(map(is_writable, written)):
            raise StudyError(
                f"'{self.path}' cannot be written: copy the study to a folder of yours, and "
                "`chmod -R u+w` the copy."
            )

    def create(self, manifest: Mapping[str, Any], space_text: str) -> None:
        """Write what a new study was asked; the folder is locked.

        Raises:
            StudyError: If the folder holds a study, or something else.
        """
        self.check_free()
        self.path.mkdir(parents=True, exist_ok=True)
        self.space_file.write_text(space_text, encoding="utf-8")
        write_json(self.path / MANIFEST, {"schema_version": SCHEMA_VERSION, **manifest})

    def discard(self) -> None:
        """Remove what was made for a study that could not begin."""
        shutil.rmtree(self._made or self.path, ignore_errors=True)

    def manifest(self) -> dict[str, Any]:
        """Return what the study was asked.

        Raises:
            StudyError: If the folder holds no study, or one that cannot be read.
        """
        if not self.exists:
            raise StudyError(f"'{self.path}' holds no study.")
        try:
            data = json.loads((self.path / MANIFEST).read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise StudyError(
                f"Cannot read '{self.path / MANIFEST}': {error}. Bring the file back."
            ) from error
        if not isinstance(data, dict) or data.get("schema_version") != SCHEMA_VERSION:
            raise StudyError(
                f"'{self.path}' was not written by this version of autopeft: use the one that "
                "wrote it, or start a new study."
            )
        check_manifest(data, self.path / MANIFEST)
        return data

    def recorded_space(self) -> Path:
        """Return the file of the search space that the study was started with.

        Raises:
            StudyError: If it is gone.
        """
        if not self.space_file.is_file():
            raise StudyError(
                f"'{self.space_file}' is missing, the search space of the study: bring it back."
            )
        return self.space_file

    def __enter__(self) -> Self:
        """Become the only writer; the lock goes with the process, however it ends.

        Raises:
            StudyError: If another search is writing to the study.
        """
        try:
            missing = [p for p in (self.path, *self.path.parents) if not p.exists()]
            self._made = missing[-1] if missing else None
            self.path.mkdir(parents=True, exist_ok=True)
            self._lock.acquire(timeout=0)
        except Timeout as error:
            raise StudyError(
                f"Another search is writing to '{self.path}': wait for it, or name another folder "
                "with --study."
            ) from error
        except OSError as error:
            raise StudyError(f"Cannot write to '{self.path}': {error.strerror}.") from error
        return self

    def __exit__(self, *_: object) -> None:
        """Let others write."""
        self._lock.release()


def newest_study(parent: Path) -> StudyFolder:
    """Return the study that was started last in a folder of studies.

    Raises:
        StudyError: If there is none.
    """
    found = [p for p in parent.glob(f"*/{MANIFEST}") if p.is_file()] if parent.is_dir() else []
    if not found:
        raise StudyError(f"There is no study in '{parent}': run `autopeft search` first.")
    return StudyFolder(max(found, key=lambda p: (p.stat().st_mtime_ns, p.parent.name)).parent)


def write_json(path: Path, data: Any) -> None:
    """Write a JSON file in one step: a reader finds the old content or the new, never a part."""
    scratch = path.with_name(f".{path.name}.{os.getpid()}")
    text = json.dumps(data, indent=2, ensure_ascii=False) + "\n"
    with scratch.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    scratch.replace(path)
