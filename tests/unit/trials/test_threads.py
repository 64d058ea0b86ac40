"""How many threads a worker takes."""

import os
from collections.abc import Iterator

import pytest
import torch

from autopeft.trials import threads
from autopeft.trials.threads import ThreadShare, available_cores, one_thread


@pytest.fixture(autouse=True)
def _threads_as_before() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize(
    ("n_workers", "asked", "expected"),
    [
        (1, None, 8),
        (2, None, 4),
        (3, "", 2),
        (16, None, 1),
        (1, "1", 1),
        (2, "3", 3),
        (2, "16", 4),
        (1, "2,1", 2),
        (1, "0", 8),
        (1, "all", 8),
    ],
)
def test_every_worker_gets_its_share_of_the_cores_or_what_the_user_allows(
    n_workers: int, asked: str | None, expected: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(threads, "available_cores", lambda: 8)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    if asked is not None:
        monkeypatch.setenv("OMP_NUM_THREADS", asked)
    ThreadShare(n_workers).take()
    assert torch.get_num_threads() == expected


def test_a_share_keeps_what_the_user_allowed_where_it_was_made(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(threads, "available_cores", lambda: 8)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    share = ThreadShare(2)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")  # as Ray does in its workers
    share.take()
    assert torch.get_num_threads() == 4


def test_one_thread_ends_with_what_asked_for_it() -> None:
    def fail() -> None:
        with one_thread():
            assert torch.get_num_threads() == 1
            raise KeyError

    torch.set_num_threads(2)
    with pytest.raises(KeyError):
        fail()
    assert torch.get_num_threads() == 2


def test_no_more_cores_are_available_than_the_machine_has() -> None:
    assert 1 <= available_cores() <= (os.cpu_count() or 1)
