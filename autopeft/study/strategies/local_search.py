"""Where the next point is looked for: in a pool, then by steps from the best of it."""

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

Point = Mapping[str, Any]
#: Points with what they are worth, the best first.
Ranking = list[tuple[float, dict[str, Any]]]
#: Returns points, or the best of them, ranked.
Ranker = Callable[[Sequence[dict[str, Any]]], Ranking]

#: Quasi-random points of the pool.
POOL = 512
STARTS = 4
ROUNDS = 4
#: Points of the pool around each of the best trials, and how far away they are.
NEARBY, NEARBY_STEPS = 4, (0.1, 0.03)
#: Best trials that the pool has points around.
BEST = 8


class Domain(Protocol):
    """Points that may be tried: as rows of numbers, and where new ones come from."""

    def row(self, point: Point, /) -> NDArray[np.float64]:
        """Return a point as numbers in [0, 1], shape (d,)."""

    def key(self, point: Point, /) -> str:
        """Return what tells a point from others."""

    def draw(self, seed: int, /) -> Iterator[dict[str, Any]]:
        """Yield points of a scrambled Sobol sequence."""

    def neighbours(self, point: Point, rng: np.random.Generator, /) -> list[dict[str, Any]]:
        """Return points that differ from one in one parameter, and in what comes with it."""

    def nearby(
        self, point: Point, rng: np.random.Generator, step: float, /
    ) -> dict[str, Any] | None:
        """Return a point that differs from one in all of its numbers, by little."""


def best_points(
    domain: Domain,
    ranked: Ranker,
    around: Sequence[Point],
    rng: np.random.Generator,
    pool: int = POOL,
) -> Ranking:
    """Return the best points that were found, the best first; none if the ranker takes none.

    Args:
        domain: Where points come from.
        ranked: Ranks points; it may leave out some that are not wanted.
        around: The best trials, at most `BEST` of which the pool has points around.
        rng: Where points are drawn from.
        pool: Quasi-random points to look at.
    """
    best = ranked(_pool(domain, around[:BEST], rng, pool))[:STARTS]
    for _ in range(ROUNDS if best else 0):
        better = ranked([n for _, point in best for n in domain.neighbours(point, rng)])
        joined = sorted([*best, *better], key=lambda item: -item[0])[:STARTS]
        if joined[0][0] <= best[0][0]:
            break
        best = joined
    return best


def _pool(
    domain: Domain, around: Sequence[Point], rng: np.random.Generator, size: int
) -> list[dict[str, Any]]:
    points = list(itertools.islice(domain.draw(int(rng.integers(2**31))), size))
    for point in around:
        points += domain.neighbours(point, rng)
        near = (domain.nearby(point, rng, step) for step in NEARBY_STEPS for _ in range(NEARBY))
        points += [found for found in near if found is not None]
    return points
