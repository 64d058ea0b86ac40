"""Points of an Optuna study as rows of numbers, and where new points come from."""

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from scipy.stats import qmc

from autopeft.study.strategies.activity import (
    Params,
    conditions_of,
    parents_first,
    with_active_only,
)

Row = NDArray[np.float64]

#: Standard deviations of the steps to a neighbour along a number, as shares of its range.
STEPS = (0.2, 0.05, 0.01)
#: Place of a number that a point does not have.
NOWHERE = 0.5


class Columns:
    """Maps points to rows in [0, 1]^d.

    A number is at its place in its range (in the logarithm, where it is searched so), a choice is
    one column of 0 or 1 for each value. A parameter that a point does not have lies in the middle
    of its range with no value chosen; a column of its own says whether it is there, unless a
    choice says that already. A parameter with a single value has no column.

    Attributes:
        distributions: The parameters, every choice before what follows it.
    """

    def __init__(
        self, distributions: Mapping[str, BaseDistribution], seen: Sequence[Params] = ()
    ) -> None:
        """Take the parameters.

        Args:
            distributions: All parameters by name.
            seen: Points of trials, which show when parameters are there.
        """
        self._conditions = conditions_of(distributions, seen)
        order = parents_first(distributions, self._conditions)
        self.distributions = {name: distributions[name] for name in order}
        self._sometimes = [
            name
            for name in self.distributions
            if name not in self._conditions and any(name not in params for params in seen)
        ]
        #: Points that were seen, by the names of their parameters.
        self._shapes: dict[frozenset[str], set[str]] = {}
        for params in seen:
            self._shapes.setdefault(frozenset(params), set()).add(self.key(params))

    def row(self, params: Params) -> Row:
        """Return a point as a row, shape (d,)."""
        parts = [
            _columns(distribution, params.get(name), present=name in params)
            for name, distribution in self.distributions.items()
        ]
        present = [float(name in params) for name in self._sometimes]
        return np.array([*(x for part in parts for x in part), *present])

    def draw(self, seed: int) -> Iterator[dict[str, Any]]:
        """Yield points of a scrambled Sobol sequence, without end."""
        varied = [name for name, domain in self.distributions.items() if not domain.single()]
        engine = qmc.Sobol(len(varied), scramble=True, rng=seed)
        while True:
            for place in engine.random(64):
                places = dict(zip(varied, place, strict=True))
                yield self.active(
                    {
                        name: _value(distribution, places.get(name, NOWHERE))
                        for name, distribution in self.distributions.items()
                    }
                )

    def neighbours(self, params: Params, rng: np.random.Generator) -> list[dict[str, Any]]:
        """Return points that differ from one in one parameter, and in what comes with it."""
        full = self._completed(params, rng)
        found = []
        for name in params:
            distribution = self.distributions.get(name)
            if distribution is not None:
                values = _around(distribution, params[name], rng)
                found += [self.active({**full, name: v}) for v in values if v != params[name]]
        return found

    def nearby(self, params: Params, rng: np.random.Generator, step: float) -> dict[str, Any]:
        """Return a point that differs from one in all of its numbers, by little."""
        full = self._completed(params, rng)
        for name, distribution in self.distributions.items():
            if name in params and _has_place(distribution):
                place = _place(distribution, params[name]) + step * rng.standard_normal()
                full[name] = _value(distribution, float(np.clip(place, 0.0, 1.0)))
        return self.active(full)

    def active(self, params: Params) -> dict[str, Any]:
        """Return a point without the parameters that it does not have.

        Which it has may follow from numbers, which no condition says. Where a trial had a part of
        the point and asked for no more, that is the point.
        """
        active = with_active_only(params, self._conditions, self.distributions)
        for names, seen in self._shapes.items() if self._sometimes else ():
            if names < active.keys():
                part = {name: value for name, value in active.items() if name in names}
                if self.key(part) in seen:
                    return part
        return active

    def holds(self, params: Params) -> bool:
        """Tell whether a point has all the parameters that it is known to have."""
        return all(
            name in params or name in self._sometimes or not self._belongs(name, params)
            for name in self.distributions
        )

    def _belongs(self, name: str, params: Params) -> bool:
        condition = self._conditions.get(name)
        return condition is None or condition.holds(params)

    def key(self, params: Params) -> str:
        """Return what tells a point from others."""
        told = {name: _told(self.distributions[name], value) for name, value in params.items()}
        return json.dumps(told, sort_keys=True, default=str)

    def fixed(self, params: Params) -> list[int]:
        """Return the columns that are not numbers of a point."""
        free: set[int] = set()
        start = 0
        for name, distribution in self.distributions.items():
            width = len(_columns(distribution, None, present=False))
            if name in params and _has_place(distribution):
                free.add(start)
            start += width
        return [i for i in range(start + len(self._sometimes)) if i not in free]

    def moved(self, params: Params, row: Row) -> dict[str, Any]:
        """Return a point with the numbers that a row has in their columns."""
        point, start = dict(params), 0
        for name, distribution in self.distributions.items():
            if name in params and _has_place(distribution):
                point[name] = _value(distribution, float(row[start]))
            start += len(_columns(distribution, None, present=False))
        return self.active(point)

    def _completed(self, params: Params, rng: np.random.Generator) -> dict[str, Any]:
        """Return a point with values for the parameters that it does not have."""
        return {
            name: params[name] if name in params else _value(distribution, float(rng.random()))
            for name, distribution in self.distributions.items()
        }


def _has_place(distribution: BaseDistribution) -> bool:
    """Tell whether a parameter is a number that may move."""
    return not isinstance(distribution, CategoricalDistribution) and not distribution.single()


def _told(distribution: BaseDistribution, value: Any) -> Any:
    """Return a value so that equal ones are told alike: 3 * 0.1 and 0.3 are one step."""
    if isinstance(distribution, FloatDistribution) and distribution.step is not None:
        return round((value - distribution.low) / distribution.step)
    return value


def _columns(distribution: BaseDistribution, value: Any, *, present: bool) -> list[float]:
    if distribution.single():
        return []
    if isinstance(distribution, CategoricalDistribution):
        chosen = distribution.to_internal_repr(value) if present else -1
        return [float(i == chosen) for i in range(len(distribution.choices))]
    return [_place(distribution, value) if present else NOWHERE]


def _place(distribution: BaseDistribution, value: float) -> float:
    low, high = _ends(distribution)
    x = math.log(value) if _is_log(distribution) else float(value)
    return min(max((x - low) / (high - low), 0.0), 1.0)


def _value(distribution: BaseDistribution, place: float) -> Any:
    """Return the value at a place in [0, 1]; all values of a choice or of a step are as wide."""
    if isinstance(distribution, CategoricalDistribution):
        n = len(distribution.choices)
        return distribution.choices[min(int(place * n), n - 1)]
    low, high = _ends(distribution)
    x = low + place * (high - low)
    if _is_log(distribution):
        x = math.exp(x)
    assert isinstance(distribution, FloatDistribution | IntDistribution)
    if isinstance(distribution, IntDistribution):
        # Optuna keeps floats, and refuses one that an end of many digits is rounded up to.
        end = float(distribution.high)
        end = end if end <= distribution.high else math.nextafter(end, 0.0)
        n = (int(end) - distribution.low) // distribution.step
        k = min(max(round((x - distribution.low) / distribution.step), 0), n)
        return distribution.low + k * distribution.step
    if distribution.step is not None:
        n = math.floor((distribution.high - distribution.low) / distribution.step + 1e-9)
        k = min(max(round((x - distribution.low) / distribution.step), 0), n)
        x = distribution.low + k * distribution.step
    return float(min(max(x, distribution.low), distribution.high))


def _ends(distribution: BaseDistribution) -> tuple[float, float]:
    """Return the ends of a number's range on its scale; those of steps are half a step wider."""
    assert isinstance(distribution, FloatDistribution | IntDistribution)
    low, high, step = float(distribution.low), float(distribution.high), distribution.step
    half = 0.0 if step is None else step / 2
    if distribution.log:
        return math.log(low - half), math.log(high + half)
    return low - half, high + half


def _is_log(distribution: BaseDistribution) -> bool:
    return isinstance(distribution, FloatDistribution | IntDistribution) and distribution.log


def _around(distribution: BaseDistribution, value: Any, rng: np.random.Generator) -> list[Any]:
    if distribution.single():
        return []
    if isinstance(distribution, CategoricalDistribution):
        return list(distribution.choices)
    place = _place(distribution, value)
    steps = [place + step * rng.standard_normal() for step in STEPS]
    found = [_value(distribution, float(np.clip(x, 0.0, 1.0))) for x in steps]
    if isinstance(distribution, IntDistribution):
        ends = distribution.low, distribution.high
        found += [
            v
            for v in (value - distribution.step, value + distribution.step)
            if ends[0] <= v <= ends[1]
        ]
    return list(dict.fromkeys(found))
