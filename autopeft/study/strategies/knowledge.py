"""What a user's functions say of a point without a trial: objectives and constraints, checked."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from autopeft.errors import RequestError
from autopeft.study.strategies.activity import Params

#: Value of a known objective at a point.
KnownObjective = Callable[[Params], float]
#: What must not be above 0 at a point.
Constraints = Callable[[Params], Sequence[float]]


class Knowledge:
    """Objectives and constraints of points that are known before a trial.

    What a function raises goes on to the user: its traceback tells more than we could.

    Attributes:
        objectives: Numbers of the known objectives, rising.
        constrains: Whether there are constraints.
    """

    def __init__(
        self, objectives: Mapping[int, KnownObjective] | None, constraints: Constraints | None
    ) -> None:
        """Take the functions.

        Args:
            objectives: Functions of the known objectives, by their number from 0.
            constraints: Function of what must not be above 0.

        Raises:
            RequestError: If they are not functions, or not by number.
        """
        known = dict(objectives or {})
        for number, function in known.items():
            if type(number) is not int or not callable(function):
                raise RequestError(
                    "known_objectives maps numbers of objectives to functions of the parameters; "
                    f"{number!r}: {function!r} is no such pair."
                )
        if constraints is not None and not callable(constraints):
            raise RequestError(
                f"constraints must be a function of the parameters, not {constraints!r}."
            )
        self.objectives = sorted(known)
        self.constrains = constraints is not None
        self._known = known
        self._constraints = constraints

    def check(self, n_objectives: int) -> None:
        """Check that a study has the known objectives, and another one.

        Raises:
            RequestError: If it does not.
        """
        for number in self.objectives:
            if not 0 <= number < n_objectives:
                raise RequestError(
                    f"known_objectives names objective {number}, but the study has {n_objectives}, "
                    "numbered from 0."
                )
        if len(self.objectives) == n_objectives:
            raise RequestError("known_objectives must leave at least one objective to measure.")

    def values(self, point: Params) -> list[float]:
        """Return the known objectives of a point, in the order of their numbers.

        Raises:
            RequestError: If one of them is no finite number.
        """
        found: list[Any] = [self._known[number](point) for number in self.objectives]
        for number, value in zip(self.objectives, found, strict=True):
            if not _is_finite(value):
                raise RequestError(
                    f"known_objectives[{number}] returned {value!r} for {dict(point)}: it must "
                    "return a finite number for every point."
                )
        return [float(value) for value in found]

    def violation(self, point: Params) -> float:
        """Return by how much a point breaks the constraints, 0 if it keeps them.

        Raises:
            RequestError: If what the function returns is not numbers.
        """
        if self._constraints is None:
            return 0.0
        returned: Any = self._constraints(point)
        try:
            values = np.atleast_1d(np.asarray(returned, dtype=float))
        except (TypeError, ValueError):
            values = np.array([math.nan])
        if np.isnan(values).any():
            raise RequestError(
                f"constraints returned {returned!r} for {dict(point)}: it must return numbers, "
                "which are above 0 where a point is not wanted."
            )
        return float(np.maximum(values, 0.0).sum())


def _is_finite(value: Any) -> bool:
    try:
        return math.isfinite(value)
    except TypeError:
        return False
