"""`DiskCache`: what was computed once and is needed again, in files that many processes map."""

import contextlib
import os
import shutil
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

from filelock import FileLock

#: Share of what is free on the disk that the cache may take.
SHARE_OF_FREE = 0.5


class CacheError(Exception):
    """There is no room for an entry; what it would hold is computed again instead."""


class DiskCache:
    """A bounded folder of entries; those that were not used for the longest time go first.

    An entry is a folder of files, named after a digest of everything that its content follows
    from, so that nothing ever has to be told to forget it. An entry that another process has
    mapped can be removed: its pages live until the last one lets go of them.

    Attributes:
        limit: Most bytes of all entries together.
    """

    def __init__(self, root: Path, limit: int) -> None:
        """Take a folder, which is made when there is something to keep.

        Args:
            root: The folder.
            limit: Most bytes of all entries together; 0 keeps nothing.
        """
        self.limit = limit
        self._root = root

    def find(self, key: str) -> Path | None:
        """Return an entry's folder, marked as used now; `None` if there is none."""
        folder = self._root / key
        try:
            os.utime(folder)
        except OSError:
            return None
        return folder

    def keep(self, key: str, sizes: Mapping[str, int], write: Callable[[Path], None]) -> Path:
        """Return an entry's folder; one that is not there is made, in one step.

        Args:
            key: Name of the entry.
            sizes: Bytes of each file by its name; that much is reserved before `write` is called,
                so that a full disk shows here and nowhere else.
            write: Puts the content into the files of a folder.

        Raises:
            CacheError: If there is no room.
        """
        if (found := self.find(key)) is not None:
            return found
        try:
            self._root.mkdir(parents=True, exist_ok=True)
            with FileLock(self._root / ".lock"):
                if (found := self.find(key)) is not None:  # another process was faster
                    return found
                self._make_room(sum(sizes.values()))
                return self._made(key, sizes, write)
        except OSError as error:
            raise CacheError(f"cannot write to '{self._root}': {error.strerror}") from error

    def _made(self, key: str, sizes: Mapping[str, int], write: Callable[[Path], None]) -> Path:
        scratch = Path(tempfile.mkdtemp(prefix=".making-", dir=self._root))
        try:
            for name, size in sizes.items():
                _reserve(scratch / name, size)
            write(scratch)
            return scratch.rename(self._root / key)
        except BaseException:
            shutil.rmtree(scratch, ignore_errors=True)
            raise

    def _make_room(self, n_bytes: int) -> None:
        """Remove the entries that were not used for the longest time until there is room."""
        if n_bytes > self.limit:
            raise CacheError(f"{_mib(n_bytes)} are more than its limit of {_mib(self.limit)}")
        entries = sorted((p for p in self._root.iterdir() if p.is_dir()), key=_last_use)
        held = {path: _size(path) for path in entries}
        while sum(held.values()) + n_bytes > self.limit and entries:
            oldest = entries.pop(0)
            del held[oldest]
            shutil.rmtree(oldest, ignore_errors=True)
        if n_bytes > SHARE_OF_FREE * shutil.disk_usage(self._root).free:
            raise CacheError(
                f"{_mib(n_bytes)} are more than half of what is free on the disk of '{self._root}'"
            )


def _reserve(path: Path, size: int) -> None:
    with path.open("wb") as file:
        if size and hasattr(os, "posix_fallocate"):
            os.posix_fallocate(file.fileno(), 0, size)
        else:
            file.truncate(size)


def _last_use(path: Path) -> int:
    with contextlib.suppress(OSError):  # another process has just removed it
        return path.stat().st_mtime_ns
    return 0


def _size(folder: Path) -> int:
    total = 0
    with contextlib.suppress(OSError):
        total = sum(path.stat().st_size for path in folder.iterdir())
    return total


def _mib(n_bytes: int) -> str:
    return f"{n_bytes / 2**20:,.0f} MiB"
