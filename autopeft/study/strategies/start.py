"""The first trials: what everybody would try, at learning rates that suit short trainings."""

from collections.abc import Iterator

from autopeft.cost.candidates import CandidateSpace
from autopeft.methods.registry import get_method
from autopeft.space.hyperparameter import Assignment, Choice, Hyperparameter
from autopeft.space.space import LEARNING_RATE
from autopeft.space.targets import expand
from autopeft.study.strategies.drawing import generator

#: Shares of the largest rank that fits, from the top rung of the ladder down.
RUNGS = (1.0, 0.2)
#: Multiple of a method's default learning rate. The defaults are for long trainings; a search
#: trains for a few hundred steps, which bear and need more.
MULTIPLE = 3.0


def lora_ladder(space: CandidateSpace) -> list[Assignment]:
    """Return plain LoRA at LoRA's defaults on the widest targets that fit, at falling ranks.

    The curve of quality over rank is what other methods must beat. Empty if the space has no
    LoRA or none fits; fewer points than rungs if ranks coincide.
    """
    columns = {h.name: h for h in space.space.hyperparameters}
    rank = next((h for h in columns.values() if _is_rank_of_lora(h)), None)
    if space.space.components or rank is None:
        return []
    lowest = [
        {**point, rank.name: corner[rank.name]} for corner, point in _with_defaults(space, "lora")
    ]
    widest = _widest(space, [point for point in lowest if space.fits(point)])
    if widest is None:
        return []
    top = space.shrunk({**widest, rank.name: rank.from_unit([1.0])})
    assert top is not None
    low, high = int(rank.from_unit([0.0])), int(top[rank.name])
    ranks = [max(low, round(share * high)) for share in RUNGS]
    return [{**widest, rank.name: value} for value in dict.fromkeys(ranks)]


def method_defaults(space: CandidateSpace, seed: int) -> list[Assignment]:
    """Return each method at its defaults on the widest targets, scaled into the budget.

    LoRA has its ladder; the others come in an order that the seed decides. A composite space
    has no such points.
    """
    if space.space.components:
        return []
    found = []
    for method in space.space.methods:
        fitting = (space.shrunk(point) for _, point in _with_defaults(space, method))
        widest = _widest(space, [point for point in fitting if point is not None])
        if widest is not None and method != "lora":
            found.append(widest)
    order = generator(seed, 0).permutation(len(found))
    return [found[i] for i in order]


def _with_defaults(space: CandidateSpace, method: str) -> Iterator[tuple[Assignment, Assignment]]:
    """Yield each choice of places of a method: at its smallest sizes, and at its defaults."""
    defaults = {p.domain.name: p.default for p in get_method(method).info.parameters}
    defaults[LEARNING_RATE] = MULTIPLE
    for corner in space.corners_of(method, low=True):
        point = dict(corner)
        for h in space.space.hyperparameters:
            default = defaults.get(h.field)
            if h.name in point and default is not None and h.contains(default):
                point[h.name] = default
        yield corner, point


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
    return h.field == "rank" and h.active({"method": "lora"})
