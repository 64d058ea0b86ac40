import pytest
from hypothesis import given
from hypothesis import strategies as st

from autopeft.api.device import default_memory
from autopeft.runners.ray_cluster import Crew
from autopeft.runners.share import USABLE, gpu_share, trials_a_gpu

GIB = 2**30


@pytest.mark.parametrize(
    ("n_workers", "n_gpus", "need", "memory", "share"),
    [
        (4, 0, GIB, None, 0),  # a CPU
        (2, 2, GIB, 24 * GIB, 1),  # a GPU each, however little a trial needs
        (1, 8, GIB, 24 * GIB, 1),
        (8, 2, GIB, 24 * GIB, 1 / 4),
        (3, 2, GIB, 24 * GIB, 1 / 2),  # 2 / 3 would let one trial on each
        (8, 1, 10 * GIB, 24 * GIB, 1 / 2),  # two go on it, six wait
        (4, 1, 30 * GIB, 24 * GIB, 1),  # what the user allows is more than there is
        (4, 2, None, 24 * GIB, 1 / 2),
        (4, 2, GIB, None, 1 / 2),
    ],
)
def test_shares(
    n_workers: int, n_gpus: int, need: int | None, memory: int | None, share: float
) -> None:
    assert gpu_share(n_workers, n_gpus, need, memory) == share


@given(
    n_workers=st.integers(1, 64),
    n_gpus=st.integers(1, 16),
    need=st.integers(1, 100 * GIB),
    memory=st.integers(GIB, 100 * GIB),
)
def test_what_shares_a_gpu_goes_into_it(
    n_workers: int, n_gpus: int, need: int, memory: int
) -> None:
    share = gpu_share(n_workers, n_gpus, need, memory)
    together = round(1 / share)
    assert share == 1 / together
    assert together == 1 or together * need <= USABLE * memory
    assert together <= trials_a_gpu(n_workers, n_gpus)
    # The limit that is taken where none is asked for leaves room for all workers.
    limit = default_memory(n_workers, n_gpus, memory)
    assert limit is not None
    assert gpu_share(n_workers, n_gpus, limit, memory) == 1 / trials_a_gpu(n_workers, n_gpus)
    assert default_memory(n_workers, 0, None) is None


def test_what_ray_is_asked_for() -> None:
    crew = Crew(size=4, trial_bytes=10 * GIB, gpu_bytes=24 * GIB)
    assert crew.resources(n_gpus=2, n_cpus=16) == {"cpu": 4, "gpu": 1 / 2}
    assert crew.resources(n_gpus=0, n_cpus=2) == {"cpu": 1, "gpu": 0}
