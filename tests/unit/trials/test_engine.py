"""What a worker takes of its machine."""

import pytest
import torch

from autopeft.models.spec import inspect_model
from autopeft.trials import engine
from autopeft.trials.engine import EVAL_TOKENS_ON_CPU, evaluation_tokens, set_threads
from tests.tiny import build


@pytest.mark.parametrize(("n_workers", "threads"), [(1, 8), (2, 4), (3, 2), (16, 1)])
def test_every_worker_gets_its_share_of_the_cores(
    n_workers: int, threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "available_cores", lambda: 8)
    before = torch.get_num_threads()
    try:
        set_threads(n_workers)
        assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)


def test_an_evaluation_batch_follows_the_memory_of_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    spec = inspect_model(build("llama", "meta"))
    assert evaluation_tokens(spec, torch.device("cpu")) == EVAL_TOKENS_ON_CPU
    found = []
    for free in (0, 2**30, 2**31):
        monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _, free=free: (free, 2**32))
        found.append(evaluation_tokens(spec, torch.device("cuda", 0)))
    assert found[0] == EVAL_TOKENS_ON_CPU  # nothing free: it is tried all the same
    assert found[2] == pytest.approx(2 * found[1], abs=2)
