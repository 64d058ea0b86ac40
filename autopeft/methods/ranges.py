"""Whether a search space stays within what its methods take, said before a trial meets it."""

from collections.abc import Sequence

from autopeft.errors import SpaceError
from autopeft.methods.density import MASK_PARAMETERS
from autopeft.methods.registry import get_method
from autopeft.space.configuration import Value
from autopeft.space.hyperparameter import Choice, FloatRange, Hyperparameter, IntRange
from autopeft.space.space import SearchSpace


def check_ranges(space: SearchSpace) -> None:
    """Check the dimensions that set hyperparameters of methods.

    Raises:
        SpaceError: If one can have a value that a method of the space does not take, or if
            pruning could start after it is over.
    """
    for method in space.methods:
        info = get_method(method).info
        mask = {p.domain.name: p for p in MASK_PARAMETERS if info.maskable}
        known = {p.domain.name: p for p in info.parameters} | mask
        dimensions = [h for h in space.hyperparameters if h.possible(method) and h.field in known]
        for h in dimensions:
            domain = known[h.field].domain
            for value in _extremes(h):
                if not domain.contains(value):
                    raise SpaceError(
                        f"'{h.name}' of the space '{space.name}' can be {value!r}, but '{h.field}' "
                        f"of {method} must be {domain.describe()}."
                    )
        if mask:
            starts = _values(dimensions, "mask_start") or [float(mask["mask_start"].default)]
            ends = _values(dimensions, "mask_end") or [float(mask["mask_end"].default)]
            if max(starts) > min(ends):
                raise SpaceError(
                    f"In the space '{space.name}' 'mask_start' of {method} can be {max(starts):g} "
                    f"and 'mask_end' {min(ends):g}: pruning must start before it is over."
                )


def _values(dimensions: Sequence[Hyperparameter], field: str) -> list[float]:
    return [float(value) for h in dimensions if h.field == field for value in _extremes(h)]


def _extremes(h: Hyperparameter) -> tuple[Value, ...]:
    """Return the values that lie farthest out: all choices, both ends of a range."""
    if isinstance(h, Choice):
        return h.choices
    if isinstance(h, FloatRange | IntRange):
        return (h.low, h.high)
    return ()
