"""Dominance, Pareto front, hypervolume and knee; all values are minimised. NumPy only."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Points = NDArray[np.float64]


def dominates(a: Points, b: Points) -> bool:
    """Tell whether `a` of shape (m,) is at least as good as `b` everywhere, better somewhere."""
    return bool((a <= b).all() and (a < b).any())


def front(points: Points) -> list[int]:
    """Return the indices of the points of shape (n, m) that no other dominates, in order.

    Of equal points the first is on the front.
    """
    chosen: list[int] = []
    for i, point in enumerate(points):
        better = (points <= point).all(axis=1) & (points < point).any(axis=1)
        same_before = (points[:i] == point).all(axis=1)
        if not better.any() and not same_before.any():
            chosen.append(i)
    return chosen


def ranks(points: Points) -> NDArray[np.int64]:
    """Return the non-dominated rank of each point of shape (n, m): 0 on the front.

    Rank k is the front of what is left without the ranks below (Deb et al. 2002, NSGA-II).
    """
    result = np.full(len(points), -1, dtype=np.int64)
    first, second = points[:, None, :], points[None, :, :]
    dominated = (first <= second).all(axis=2) & (first < second).any(axis=2)
    rank, left = 0, np.ones(len(points), dtype=bool)
    while left.any():
        chosen = left & ~(dominated & left[:, None]).any(axis=0)
        result[chosen] = rank
        left &= ~chosen
        rank += 1
    return result


def hypervolume(points: Points, reference: Sequence[float]) -> float:
    """Return the volume between points of shape (n, m) and the reference of shape (m,).

    Slices along the last objective and sums the volumes below, exact for any m; meant for the
    few dozen points and two or three objectives of a study.
    """
    ref = np.asarray(reference, dtype=float)
    inside = np.asarray(points, dtype=float).reshape(-1, len(ref))
    inside = inside[(inside < ref).all(axis=1)]
    return _volume(inside, ref)


def _volume(points: Points, ref: Points) -> float:
    if len(points) == 0:
        return 0.0
    if points.shape[1] == 1:
        return float(ref[0] - points.min())
    order = points[points[:, -1].argsort()]
    levels = np.append(order[:, -1], ref[-1])
    total = 0.0
    for i in range(len(order)):
        height = levels[i + 1] - levels[i]
        if height > 0:
            total += height * _volume(order[: i + 1, :-1], ref[:-1])
    return total


def contributions(points: Points, reference: Sequence[float]) -> Points:
    """Return what the hypervolume would lose without each point, shape (n,)."""
    whole = hypervolume(points, reference)
    lost = [
        whole - hypervolume(np.delete(points, i, axis=0), reference) for i in range(len(points))
    ]
    return np.asarray(lost)


def knee(points: Points) -> int:
    """Return the index of the knee of a front of shape (n, m).

    The point farthest below the plane through the extreme points, each objective scaled to the
    front's own range (Das 1999, "normal-boundary intersection"); with two objectives, the chord.
    With fewer than three points, the best compromise is the smallest sum of scaled values.
    """
    low, high = points.min(axis=0), points.max(axis=0)
    span = np.where(high > low, high - low, 1.0)
    scaled = (points - low) / span
    # The plane through the corners of the unit simplex is sum(x) = const, so the distance below
    # it grows as the sum falls.
    return int(scaled.sum(axis=1).argmin())
