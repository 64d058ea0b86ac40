"""Sparsity budgets: how many parameters of an adapter may be non-zero, where, and from when on."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from autopeft.errors import SpaceError
from autopeft.methods.method import MethodInfo, choice_parameter, float_parameter
from autopeft.space.check import extremes
from autopeft.space.configuration import Component, Value
from autopeft.space.space import SearchSpace

#: What every method that can be masked takes beside its own hyperparameters. The schedule is that
#: of AdaLoRA here: a tenth of the steps untouched, then pruning, the last 30 % with what is left.
MASK_PARAMETERS = (
    float_parameter("density", 0.01, 1.0, 1.0, "share of the parameters that may be non-zero"),
    choice_parameter("mask", ("magnitude", "sensitivity"), "magnitude", "what decides which"),
    float_parameter("mask_start", 0.0, 1.0, 0.1, "share of the steps before pruning starts"),
    float_parameter("mask_end", 0.0, 1.0, 0.7, "share of the steps after which pruning is over"),
)
MASK_FIELDS = tuple(p.domain.name for p in MASK_PARAMETERS)
#: Bytes a masked parameter holds while it trains: the mask, and the smoothed score where there
#: is one.
_MASK_BYTES = {"magnitude": 1, "sensitivity": 1 + 4}


@dataclass(frozen=True, slots=True, kw_only=True)
class MaskSettings:
    """How a component is pruned while it trains.

    Attributes:
        density: Share in (0, 1) of the maskable parameters that is left at the end.
        criterion: `magnitude` or `sensitivity`.
        start: Share of the steps, in 0-1, up to which nothing is pruned.
        end: Share of the steps, in 0-1 and not before `start`, from which `density` is kept.
    """

    density: float
    criterion: str
    start: float
    end: float

    def n_left(self, n_maskable: int) -> int:
        """Return how many of `n_maskable` parameters may be non-zero after training.

        That is round(density * n_maskable), halves to the even neighbour, but at least 1.
        """
        return min(n_maskable, max(1, round(self.density * n_maskable)))

    def mask_bytes(self, n_maskable: int) -> int:
        """Return the bytes that masks and scores hold beside the parameters."""
        return _MASK_BYTES[self.criterion] * n_maskable


def mask_settings(component: Component, info: MethodInfo) -> MaskSettings | None:
    """Return how a component of a method is pruned; `None` if nothing of it is."""
    params = dict(component.params)
    if not info.maskable or params.get("density", 1.0) == 1:
        return None
    return MaskSettings(
        density=float(params["density"]),
        criterion=str(params["mask"]),
        start=float(params["mask_start"]),
        end=float(params["mask_end"]),
    )


def complete_mask(params: Mapping[str, Value], info: MethodInfo) -> dict[str, Value]:
    """Return a component's hyperparameters with the defaults of its mask, or without any mask.

    A density of 1 masks nothing, so it is left out with all that comes with it, and the
    configuration is that of the method without a mask. A mask without a density stays as it is:
    `check_configuration` names what is missing.
    """
    if not info.maskable or "density" not in params:
        return dict(params)
    if params["density"] == 1:
        return {name: value for name, value in params.items() if name not in MASK_FIELDS}
    return {p.domain.name: p.default for p in MASK_PARAMETERS} | dict(params)


def check_schedules(space: SearchSpace, maskable: Collection[str]) -> None:
    """Check that in no point of a space pruning starts after it is over.

    Args:
        space: The space, each dimension within its method's domain.
        maskable: The methods that a mask can prune.

    Raises:
        SpaceError: If in one it does.
    """
    for method in space.methods:
        if method not in maskable:
            continue
        start = max(_values(space, method, "mask_start"))
        end = min(_values(space, method, "mask_end"))
        if start > end:
            raise SpaceError(
                f"In the space '{space.name}' 'mask_start' of {method} can be {start:g} and "
                f"'mask_end' {end:g}: pruning must start before it is over."
            )


def _values(space: SearchSpace, method: str, field: str) -> list[float]:
    """Return the extremes of what a space sets a field to, or the field's default."""
    found = [
        float(value)
        for h in space.hyperparameters
        if h.field in {field, f"{method}.{field}"} and h.possible(method)
        for value in extremes(h)
    ]
    default = next(p.default for p in MASK_PARAMETERS if p.domain.name == field)
    return found or [float(default)]


def share_to_prune(progress: float, start: float, end: float) -> float:
    """Return the share, in 0-1, of what is to be pruned that is still there.

    (1 - (t - t0) / (t1 - t0))^3 between t0 and t1, equation 1 of Zhu and Gupta 2017, arXiv
    1710.01878: fast while much is redundant, slow near the end.

    Args:
        progress: Share t of the steps that are done, in 0-1.
        start: Share t0, up to which the result is 1.
        end: Share t1, from which the result is 0; where both are equal, the end counts.
    """
    if progress >= end:
        return 0.0
    if progress <= start:
        return 1.0
    return float((1 - (progress - start) / (end - start)) ** 3)


def apportion(total: int, sizes: Sequence[int]) -> list[int]:
    """Return how many non-zeros each tensor keeps, `total` of all together.

    One a tensor as long as they last, the largest tensors first: a factor that is all zero would
    silence the others of its product and end their gradients. The rest in proportion to the sizes
    by the method of largest remainders; among equals the earlier tensor comes first.

    Args:
        total: Non-zeros to share out, at most the sum of `sizes`.
        sizes: Number of entries of each tensor, at least 1.
    """
    assert 0 <= total <= sum(sizes)
    n_tensors = len(sizes)
    if total <= n_tensors:
        largest = sorted(range(n_tensors), key=lambda i: -sizes[i])[:total]
        return [int(i in largest) for i in range(n_tensors)]
    # Whole numbers alone, so that no rounding makes the sum differ from `total`.
    spare, entries = total - n_tensors, sum(sizes) - n_tensors
    shares = [divmod(spare * (size - 1), entries) for size in sizes]
    missing = spare - sum(whole for whole, _ in shares)
    favoured = sorted(range(n_tensors), key=lambda i: -shares[i][1])[:missing]
    return [1 + whole + int(i in favoured) for i, (whole, _) in enumerate(shares)]
