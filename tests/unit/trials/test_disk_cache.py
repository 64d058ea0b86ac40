"""What is kept stays within its limit, and what was not used for the longest time goes first."""

import os
from pathlib import Path

import pytest

from autopeft.trials.disk_cache import CacheError, DiskCache


def keep(cache: DiskCache, key: str, content: bytes = b"x" * 100) -> Path:
    return cache.keep(key, {"file": len(content)}, lambda f: _write(f / "file", content))


def _write(path: Path, content: bytes) -> None:
    path.write_bytes(content)


def test_an_entry_is_made_once(tmp_path: Path) -> None:
    cache = DiskCache(tmp_path, 1000)
    assert cache.find("a") is None
    folder = keep(cache, "a")
    assert keep(cache, "a", b"other") == folder == cache.find("a")
    assert (folder / "file").read_bytes() == b"x" * 100


def test_the_longest_unused_goes_first(tmp_path: Path) -> None:
    cache = DiskCache(tmp_path, 300)
    for age, key in enumerate("abc"):
        os.utime(keep(cache, key), (age, age))
    cache.find("a")  # is used again
    keep(cache, "d")
    assert [key for key in "abcd" if cache.find(key)] == ["a", "c", "d"]
    held = sum(p.stat().st_size for p in tmp_path.rglob("file"))
    assert held <= cache.limit


def test_what_is_mapped_outlives_its_entry(tmp_path: Path) -> None:
    cache = DiskCache(tmp_path, 150)
    with (keep(cache, "a") / "file").open("rb") as file:
        keep(cache, "b")
        assert cache.find("a") is None
        assert file.read() == b"x" * 100


def test_there_is_room_or_it_says_so(tmp_path: Path) -> None:
    with pytest.raises(CacheError, match="more than its limit"):
        keep(DiskCache(tmp_path, 99), "a")
    with pytest.raises(CacheError, match="free on the disk"):
        DiskCache(tmp_path, 2**62).keep("a", {"file": 2**60}, lambda _: None)
    (tmp_path / "file").write_text("")
    with pytest.raises(CacheError, match="cannot write"):
        keep(DiskCache(tmp_path / "file", 1000), "a")


def test_what_fails_half_way_leaves_nothing(tmp_path: Path) -> None:
    def fail(_: Path) -> None:
        raise KeyboardInterrupt

    cache = DiskCache(tmp_path, 1000)
    with pytest.raises(KeyboardInterrupt):
        cache.keep("a", {"file": 10}, fail)
    assert [p for p in tmp_path.iterdir() if p.is_dir()] == []
    assert cache.find("a") is None
