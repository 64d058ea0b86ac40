"""The LoRA rank ladder: what everybody would try first, and the curve that others must beat."""

from autopeft.cost.candidates import CandidateSpace
from autopeft.methods.registry import get_method
from autopeft.space.hyperparameter import Assignment, Choice, Hyperparameter
from autopeft.space.space import LEARNING_RATE
from autopeft.space.targets import expand

#: Shares of the largest rank that fits, from the top rung down.
RUNGS = (1.0, 0.2)


def lora_ladder(space: CandidateSpace) -> list[Assignment]:
    """Return plain LoRA at LoRA's defaults on the widest targets that fit, at falling ranks.

    Empty if the space has no LoRA or none fits; fewer points than rungs if ranks coincide.
    """
    if "lora" not in space.space.methods:
        return []
    columns = {h.name: h for h in space.space.hyperparameters}
    rank = next((h for h in columns.values() if _is_rank_of_lora(h)), None)
    point = _widest(space)
    if point is None or rank is None:
        return []
    top = space.shrunk({**point, rank.name: rank.from_unit([1.0])})
    assert top is not None
    low, high = int(rank.from_unit([0.0])), int(top[rank.name])
    ranks = [max(low, round(share * high)) for share in RUNGS]
    return [{**point, rank.name: value} for value in dict.fromkeys(ranks)]


def _widest(space: CandidateSpace) -> Assignment | None:
    """Return the LoRA point of lowest rank with the most parameters that fits."""
    fitting = (
        _with_defaults(space, corner)
        for corner in space.corners(low=True)
        if corner["method"] == "lora"
    )
    return max(
        (point for point in fitting if space.fits(point)),
        key=lambda p: (_n_kinds(space, p), space.adapter_params(p) or 0),
        default=None,
    )


def _with_defaults(space: CandidateSpace, corner: Assignment) -> Assignment:
    """Set a corner's other hyperparameters to LoRA's defaults; places and rank stay."""
    defaults = {p.domain.name: p.default for p in get_method("lora").info.parameters}
    defaults[LEARNING_RATE] = 1.0
    point = dict(corner)
    for h in space.space.hyperparameters:
        default = defaults.get(h.field)
        if h.name in point and not _is_rank_of_lora(h) and h.contains(default):
            assert default is not None
            point[h.name] = default
    return point


def _n_kinds(space: CandidateSpace, point: Assignment) -> int:
    for h in space.space.hyperparameters:
        if h.field == "targets" and h.name in point and isinstance(h, Choice):
            return len(expand(str(point[h.name])))
    return 0


def _is_rank_of_lora(h: Hyperparameter) -> bool:
    return h.field == "rank" and h.active({"method": "lora"})
