"""What a worker takes of its machine."""

import pytest
import torch

from autopeft.models.spec import inspect_model
from autopeft.trials.engine import EVAL_TOKENS_ON_CPU, evaluation_tokens
from tests.tiny import build


def test_an_evaluation_batch_follows_the_memory_of_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    spec = inspect_model(build("llama", "meta"))
    assert evaluation_tokens(spec, torch.device("cpu")) == EVAL_TOKENS_ON_CPU
    found = []
    for free in (0, 2**30, 2**31):
        monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _, free=free: (free, 2**32))
        found.append(evaluation_tokens(spec, torch.device("cuda", 0)))
    assert found[0] == EVAL_TOKENS_ON_CPU  # nothing free: it is tried all the same
    assert found[2] == pytest.approx(2 * found[1], abs=2)
