"""The first trials: what papers made known, at learning rates that suit short trainings."""

from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from itertools import islice, zip_longest
from typing import Any

from autopeft.cost.candidates import CandidateSpace
from autopeft.methods.registry import get_method
from autopeft.space.hyperparameter import Assignment, Choice, Hyperparameter, LayerMask
from autopeft.space.space import LEARNING_RATE
from autopeft.space.targets import expand
from autopeft.study.strategies.drawing import generator, untried_sobol
from autopeft.study.strategies.placing import nearest, place
from autopeft.study.strategies.portfolio import (
    known_configurations,
    strongest_first,
    width_factor,
)

#: Shares of the largest rank that fits, from the top rung of the ladder down.
RUNGS = (1.0, 0.2)
#: Parts of the budget that well-known configurations are scaled into.
PARTS = (1.0, 0.1, 0.01)
#: Multiple of a method's default learning rate. The defaults are for long trainings; a search
#: trains for a few hundred steps, which bear and need more.
MULTIPLE = 3.0
#: Quasi-random points that stand for all others.
DRAWN = 8


#: Entries of the portfolio that a ladder in a composite space can be made of, the widest first.
_PLAIN_LORA = ("lora-linear", "lora-qv")


def start_points(space: CandidateSpace, seed: int) -> dict[str, list[Assignment]]:
    """Return the first points of a search, by what they are, in the order to try them.

    A ladder of LoRA ranks, then the portfolio, then each method that it does not hold at its
    defaults, in an order that the seed decides.
    """
    known = portfolio_points(space)
    covered = {str(point["method"]) for point in known if "method" in point}
    return {
        "ladder": lora_ladder(space),
        "portfolio": known,
        "default": method_defaults(space, seed, without=covered),
    }


def representatives(space: CandidateSpace) -> list[Assignment]:
    """Return points of all kinds: the smallest, the largest, a start and some quasi-random ones."""
    started = [point for points in start_points(space, 0).values() for point in points]
    drawn = islice(untried_sobol(space, 0, set()), DRAWN)
    return [space.smallest(), space.largest(), *started, *drawn]


def portfolio_points(space: CandidateSpace) -> list[Assignment]:
    """Return the well-known configurations that a space holds, scaled into parts of the budget.

    One within the whole budget, one within a tenth of it, one within a hundredth, and again: a
    front is as much about its cheap end.
    """
    limits = [int(space.budget.limit * part) for part in PARTS]
    columns = [
        _strongest(space, limit, ladder=part == 1.0)
        for limit, part in zip(limits, PARTS, strict=True)
    ]
    points = [point for row in zip_longest(*columns) for point in row if point is not None]
    # Two entries can be one point of a coarse space.
    return [point for i, point in enumerate(points) if point not in points[:i]]


def _strongest(space: CandidateSpace, limit: int, *, ladder: bool) -> list[Assignment]:
    """Return the entries of the portfolio that a limit holds, the strongest of each method first.

    Then comes the second of each method; where LoRA has its ladder it joins in that round. What
    must lose most layers, or nearly all of its size, comes last.
    """
    ranked = []
    rounds: Counter[tuple[str, ...]] = Counter({("lora",): int(ladder)})
    for position, entry in enumerate(strongest_first(space.spec).values()):
        placed = place(entry, space, entry.multiple_on(space.spec, short=True), limit)
        if placed is not None:
            key = (not placed.whole, rounds[entry.methods], position)
            ranked.append((key, placed.point))
            rounds[entry.methods] += 1
    return [point for _, point in sorted(ranked, key=lambda item: item[0])]


def lora_ladder(space: CandidateSpace) -> list[Assignment]:
    """Return plain LoRA at LoRA's defaults on the widest targets that fit, at falling ranks.

    The curve of quality over rank is what other methods must beat. A wide decoder gets a lower
    learning rate. Empty if the space has no LoRA or none fits; fewer points than rungs if ranks
    coincide. In a composite space the other components are off.
    """
    columns = {h.name: h for h in space.space.hyperparameters}
    rank = next((h for h in columns.values() if _is_rank_of_lora(h)), None)
    if rank is None:
        return []
    if space.space.components:
        return _composite_ladder(space, rank)
    lowest = [
        {**point, rank.name: corner[rank.name]} for corner, point in _with_defaults(space, "lora")
    ]
    widest = _widest(space, [point for point in lowest if space.fits(point)])
    if widest is None:
        return []
    return _rungs(_highest(space, widest, rank), rank)


def _composite_ladder(space: CandidateSpace, rank: Hyperparameter) -> list[Assignment]:
    for name in _PLAIN_LORA:
        entry = known_configurations()[name]
        placed = place(entry, space, MULTIPLE * entry.width_factor(space.spec))
        if placed is not None:
            return _rungs(placed.point, rank)
    return []


def _highest(space: CandidateSpace, lowest: Assignment, rank: Hyperparameter) -> Assignment:
    """Return a point that fits with the highest rank with which it does."""
    if isinstance(rank, Choice):
        choices = sorted((int(value) for value in rank.choices), reverse=True)
        points = ({**lowest, rank.name: value} for value in choices)
        return next((point for point in points if space.fits(point)), lowest)
    top = space.shrunk({**lowest, rank.name: rank.from_unit([1.0])})
    assert top is not None, "with a lower rank it fits"
    return top


def _rungs(top: Assignment, rank: Hyperparameter) -> list[Assignment]:
    """Return a point at falling shares of its rank."""
    ranks = (nearest(rank, share * int(top[rank.name])) for share in RUNGS)
    return [{**top, rank.name: value} for value in dict.fromkeys(ranks)]


def method_defaults(
    space: CandidateSpace, seed: int, without: Collection[str] = ()
) -> list[Assignment]:
    """Return each method at its defaults on the widest targets, scaled into the budget.

    LoRA has its ladder; the others come in an order that the seed decides. A composite space
    has no such points.

    Args:
        space: The space.
        seed: Seed of the order.
        without: Methods to leave out.
    """
    if space.space.components:
        return []
    found = []
    for method in space.space.methods:
        if method == "lora" or method in without:
            continue
        fitting = (space.shrunk(point) for _, point in _with_defaults(space, method))
        widest = _widest(space, [point for point in fitting if point is not None])
        if widest is not None:
            found.append(widest)
    order = generator(seed, 0).permutation(len(found))
    return [found[i] for i in order]


def _with_defaults(space: CandidateSpace, method: str) -> Iterator[tuple[Assignment, Assignment]]:
    """Yield each choice of places of a method: at its smallest sizes, and at its defaults."""
    defaults = {p.domain.name: p.default for p in get_method(method).info.parameters}
    rate = MULTIPLE * width_factor([method], space.spec)
    for corner in space.corners_of(method, low=True):
        masks = {
            h.name: "1" * h.n_layers
            for h in space.space.hyperparameters
            if h.name in corner and isinstance(h, LayerMask)
        }
        if masks:  # its corner is one layer
            yield {**corner, **masks}, _at_defaults(space, {**corner, **masks}, defaults, rate)
        yield corner, _at_defaults(space, corner, defaults, rate)


def _at_defaults(
    space: CandidateSpace, corner: Assignment, defaults: Mapping[str, Any], rate: float
) -> Assignment:
    point = dict(corner)
    for h in space.space.hyperparameters:
        default = nearest(h, rate) if h.field == LEARNING_RATE else defaults.get(h.field)
        if h.name in point and default is not None and h.contains(default):
            point[h.name] = default
    return point


def _widest(space: CandidateSpace, points: list[Assignment]) -> Assignment | None:
    """Return the point with the most module kinds, then the most parameters."""
    return max(
        points,
        key=lambda p: (_n_kinds(space, p), space.adapter_params(p) or 0),
        default=None,
    )


def _n_kinds(space: CandidateSpace, point: Assignment) -> int:
    for h in space.space.hyperparameters:
        if h.field == "targets" and h.name in point and isinstance(h, Choice):
            return len(expand(str(point[h.name])))
    return 0


def _is_rank_of_lora(h: Hyperparameter) -> bool:
    return h.field == "lora.rank" or (h.field == "rank" and h.active({"method": "lora"}))
