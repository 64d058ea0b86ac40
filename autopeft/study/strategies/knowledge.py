"""What a user says of points without a trial: objectives, constraints, a reference; checked."""

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
    """What is known of objectives and of points before a trial.

    What a function raises goes on to the user: its traceback tells more than we could.

    Attributes:
        objectives: Numbers of the known objectives, rising.
        constrains: Whether there are constraints.
        reference: The worst value of each objective that is of interest, `None` if not said.
    """

    def __init__(
        self,
        objectives: Mapping[int, KnownObjective] | None,
        constraints: Constraints | None,
        reference: Sequence[float] | None = None,
    ) -> None:
        """Take the functions.

        Args:
            objectives: Functions of the known objectives, by their number from 0.
            constraints: Function of what must not be above 0.
            reference: The worst value of each objective that is of interest.

        Raises:
            RequestError: If they are not functions, or not by number, or the reference is not of
                finite numbers.
        """
        if objectives is not None and not isinstance(objectives, Mapping):
            raise RequestError(
                "known_objectives maps numbers of objectives to functions of the parameters, as in "
                f"{{1: function}}; {objectives!r} does not."
            )
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
        if reference is not None and not _are_finite(reference):
            raise RequestError(
                "reference must be a list with a finite number for each objective, not "
                f"{reference!r}."
            )
        self.objectives = sorted(known)
        self.reference = None if reference is None else tuple(map(float, reference))
        self.constrains = constraints is not None
        self._known = known
        self._constraints = constraints

    def check(self, n_objectives: int) -> None:
        """Check that a study has the known objectives and another one, and the reference's number.

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
        if self.reference is not None and len(self.reference) != n_objectives:
            raise RequestError(
                f"reference has {len(self.reference)} numbers, but the study has {n_objectives} "
                "objectives."
            )

    def values(self, point: Params) -> list[float]:
        """Return the known objectives of a point, in the order of their numbers.

        Raises:
            RequestError: If one of them is no finite number.
        """
        found: list[Any] = [self._known[number](dict(point)) for number in self.objectives]
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
        returned: Any = self._constraints(dict(point))
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


def _are_finite(values: Any) -> bool:
    try:
        return all(map(_is_finite, values))
    except TypeError:
        return False


def _is_finite(value: Any) -> bool:
    try:
        return math.isfinite(value)
    except TypeError:
        return False
