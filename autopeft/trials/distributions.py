"""Hyperparameters as Optuna's distributions: its samplers and dashboards read nothing else."""

from collections.abc import Mapping

from optuna import Trial
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)

from autopeft.errors import SpaceError
from autopeft.space.configuration import Value
from autopeft.space.hyperparameter import (
    Assignment,
    Choice,
    FloatRange,
    Hyperparameter,
    IntRange,
    LayerMask,
    Ordered,
)
from autopeft.space.space import SearchSpace


def distributions_of(
    space: SearchSpace, assignment: Mapping[str, Value]
) -> dict[str, BaseDistribution]:
    """Return the distributions of the hyperparameters that have values, a mask's by layer."""
    found: dict[str, BaseDistribution] = {}
    for h in space.hyperparameters:
        if h.name in assignment:
            found.update(distribution(h))
    return found


def distribution(h: Hyperparameter) -> dict[str, BaseDistribution]:
    """Return the Optuna parameters that stand for one hyperparameter."""
    if isinstance(h, FloatRange):
        return {h.name: FloatDistribution(h.low, h.high, log=h.log)}
    if isinstance(h, IntRange):
        return {h.name: IntDistribution(h.low, h.high, log=h.log)}
    if isinstance(h, Choice):
        return {h.name: CategoricalDistribution(h.choices)}
    if isinstance(h, Ordered):
        return {h.name: CategoricalDistribution(h.values)}
    assert isinstance(h, LayerMask)
    return {_switch(h.name, i): CategoricalDistribution((0, 1)) for i in range(h.n_layers)}


def optuna_values(
    assignment: Mapping[str, Value], distributions: Mapping[str, BaseDistribution]
) -> dict[str, Value]:
    """Return a point as Optuna's parameters."""
    values: dict[str, Value] = {}
    for name, value in assignment.items():
        if name in distributions:
            values[name] = value
        else:  # a mask
            values.update({_switch(name, i): int(bit) for i, bit in enumerate(str(value))})
    return values


def assignment_from(h: Hyperparameter, params: Mapping[str, Value]) -> Assignment:
    """Return the hyperparameter's value from Optuna's parameters, `{}` if it is none."""
    if not isinstance(h, LayerMask):
        return {h.name: params[h.name]}
    mask = "".join(str(params[_switch(h.name, i)]) for i in range(h.n_layers))
    return {h.name: mask} if h.contains(mask) else {}


def point_of(space: SearchSpace, params: Mapping[str, Value]) -> Assignment:
    """Return the point that Optuna's parameters stand for; further ones are left out.

    Raises:
        SpaceError: If one of them is missing or outside its range.
    """
    point: Assignment = {}
    for h in space.hyperparameters:
        if not h.active(point):
            continue
        missing = [name for name in distribution(h) if name not in params]
        if missing:
            raise SpaceError(
                f"These parameters are no point of the space '{space.name}': '{missing[0]}' is "
                f"missing ({h.describe()})."
            )
        value = assignment_from(h, params)
        if not value or not h.contains(value[h.name]):
            given = {name: params[name] for name in distribution(h)}
            raise SpaceError(
                f"These parameters are no point of the space '{space.name}': '{h.name}' takes "
                f"{h.describe()}, and is {given.get(h.name, given)!r}."
            )
        point.update(value)
    return point


def suggest_point(space: SearchSpace, trial: Trial) -> Assignment | None:
    """Ask a trial of Optuna for a point, `None` if its switches give no mask."""
    point: Assignment = {}
    for h in space.hyperparameters:
        if h.active(point):
            # The public calls want one method a type.
            params = {name: trial._suggest(name, d) for name, d in distribution(h).items()}  # noqa: SLF001
            value = assignment_from(h, params)
            if not value:
                return None
            point.update(value)
    return point


def _switch(name: str, layer: int) -> str:
    return f"{name}[{layer}]"
