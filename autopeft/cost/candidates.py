"""`CandidateSpace`: a search space bound to a model and a budget, so that costs are known."""

import itertools
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from autopeft.cost.budget import ParamBudget
from autopeft.errors import BudgetError, SpaceError
from autopeft.methods.compose import (
    added_tokens,
    complete,
    conflict,
    count_parameters,
    no_room,
    obstacle,
    refusal,
)
from autopeft.methods.density import MASK_FIELDS, check_schedules
from autopeft.methods.registry import catalogue, get_method
from autopeft.models.spec import ModelSpec
from autopeft.space.configuration import TRAINING_FIELDS, Configuration, Value
from autopeft.space.hyperparameter import (
    Assignment,
    Choice,
    FloatRange,
    Hyperparameter,
    IntRange,
    LayerMask,
    Ordered,
)
from autopeft.space.space import LEARNING_RATE, SearchSpace, is_method_param

_BISECTIONS = 24


class CandidateSpace:
    """The points of a search space that a model can take within a budget.

    Every point that leaves this class fits the budget, so no trial ever starts over it.

    Attributes:
        space: The search space, without the methods that the model refuses.
        refused: Why, for each method of the space that the model refuses.
        spec: Structure of the model.
        budget: The limit on adapter parameters.
    """

    def __init__(
        self,
        space: SearchSpace,
        spec: ModelSpec,
        budget: ParamBudget,
        training: Mapping[str, Value] | None = None,
        input_length: int = 0,
    ) -> None:
        """Bind a space.

        Args:
            space: The search space.
            spec: Structure of the model.
            budget: The limit on adapter parameters.
            training: Fields of `TrainingParams` where the space does not choose them.
            input_length: Longest input in tokens.

        Raises:
            SpaceError: If the model takes none of the methods, or pruning could start after it
                is over.
            BudgetError: If nothing fits the budget.
        """
        reasons = {m: refusal(get_method(m), spec, input_length) for m in space.methods}
        self.refused = {m: reason for m, reason in reasons.items() if reason}
        usable = [m for m in space.methods if m not in self.refused]
        if not usable:
            raise SpaceError(f"The model takes no method of the space '{space.name}'.")
        self.space = space.restricted_to(usable)
        self.spec = spec
        self.budget = budget
        self._catalogue = catalogue()
        self._training = dict(training or {})
        self._input_length = input_length
        self._counts: dict[tuple[object, ...], int | None] = {}
        check_schedules(space, [m for m in space.methods if get_method(m).info.maskable])
        self.smallest()  # or say that nothing fits

    def configuration(self, assignment: Mapping[str, Value]) -> Configuration:
        """Return the configuration that a point stands for, with all defaults filled in."""
        return complete(
            self.space.configuration(assignment, self._catalogue, self._training), self.spec
        )

    def adapter_params(self, assignment: Mapping[str, Value]) -> int | None:
        """Return the adapter parameters of a point, `None` if it cannot be attached."""
        key = tuple((name, value) for name, value in assignment.items() if name not in WITHOUT_COST)
        if key not in self._counts:
            configuration = self.configuration(assignment)
            blocked = self._obstacle(configuration)
            count = None if blocked else count_parameters(configuration, self.spec)
            self._counts[key] = count
        return self._counts[key]

    def fits(self, assignment: Mapping[str, Value]) -> bool:
        """Tell whether a point can be attached and keeps the budget."""
        count = self.adapter_params(assignment)
        return count is not None and count <= self.budget.limit

    def at(self, unit: Sequence[float]) -> Assignment | None:
        """Return the point at unit-cube coordinates, its sizes scaled into the budget.

        A size (rank, density, ...) has the whole range of its coordinate mapped to the part of
        its domain that fits, so that points spread over all sizes rather than pile up at the
        budget. `None` if the point does not fit even with its smallest sizes.
        """
        coordinates = list(unit)
        point = self.space.decode(coordinates)
        wanted = {start: coordinates[start] for start in self._sizes(point)}
        coordinates = [0.0 if i in wanted else u for i, u in enumerate(coordinates)]
        if not self.fits(self.space.decode(coordinates)):
            return None
        # What wants most chooses first, so that no component is always left with the rest.
        for start, u in sorted(wanted.items(), key=lambda item: -item[1]):
            coordinates[start] = u * self._largest_fitting(coordinates, start)
        return self.space.decode(coordinates)

    def shrunk(self, assignment: Mapping[str, Value]) -> Assignment | None:
        """Return the point with its sizes lowered until it fits, or `None` if none fits."""
        if self.fits(assignment):
            return dict(assignment)
        coordinates = self.space.encode(assignment)
        for start in self._sizes(assignment):
            wanted, coordinates[start] = coordinates[start], 0.0
            if self.fits(self.space.decode(coordinates)):
                coordinates[start] = min(wanted, self._largest_fitting(coordinates, start))
                return self.space.decode(coordinates)
        return None

    def neighbours(
        self, assignment: Mapping[str, Value], rng: np.random.Generator
    ) -> list[Assignment]:
        """Return fitting points that differ in one choice, switch or step from a point."""
        spare = [float(u) for u in rng.random(self.space.dimension)]
        found: list[Assignment] = []
        for h in self.space.hyperparameters:
            if h.name not in assignment:
                continue
            for value in _steps(h, assignment[h.name], rng):
                changed = self.space.completed({**assignment, h.name: value}, spare)
                fitting = self.shrunk(changed)
                if fitting is not None and fitting != dict(assignment):
                    found.append(fitting)
        return found

    def smallest(self) -> Assignment:
        """Return the point with the fewest adapter parameters.

        Raises:
            BudgetError: If even that one is over the budget; the message names its cost.
        """
        best = min(
            (p for p in self.corners(low=True) if self.adapter_params(p) is not None),
            key=lambda p: (self.adapter_params(p), str(p)),
            default=None,
        )
        if best is None:
            reason = self._obstacle(self.configuration(next(self.corners(low=True))))
            raise SpaceError(
                f"No point of the space '{self.space.name}' goes on this model, the first because "
                f"{reason}."
            )
        count = self.adapter_params(best)
        assert count is not None
        if count > self.budget.limit:
            share = 100 * count / self.spec.base_params
            raise BudgetError(
                f"Nothing in the space '{self.space.name}' fits {self.budget.limit:,} parameters "
                f"({self.budget.text}): the smallest configuration, "
                f"{self.configuration(best).method}, has "
                f"{count:,} ({share:.3g}% of the base model)."
            )
        return best

    def largest(self) -> Assignment:
        """Return a point with the most adapter parameters that fit the budget.

        Among the sizes of a composite the choice is greedy, so that a few more may be possible.
        """
        shrunk = (self.shrunk(corner) for corner in self.corners(low=False))
        fitting = (point for point in shrunk if point is not None)
        return max(
            (self._raised(point) for point in fitting) if self.space.components else fitting,
            key=lambda point: (self.adapter_params(point) or 0, str(point)),
            default=self.smallest(),
        )

    def corners(self, *, low: bool) -> Iterator[Assignment]:
        """Yield the points with all sizes at an end of their ranges, over all choices."""
        for method in self.space.methods[:1] if self.space.components else self.space.methods:
            yield from self.corners_of(method, low=low)

    def corners_of(self, method: str, *, low: bool) -> Iterator[Assignment]:
        """Yield the corners of one method; in a composite space, those of all together."""
        u = 0.0 if low else 1.0
        options = [_corner_coordinates(h, method, u) for h in self.space.hyperparameters]
        for combination in itertools.product(*options):
            yield self.space.decode([c for part in combination for c in part])

    def _obstacle(self, configuration: Configuration) -> str | None:
        """Return why a configuration cannot be attached, or `None` if it can."""
        alone = (obstacle(component, self.spec) for component in configuration.components)
        return (
            next((problem for problem in alone if problem), None)
            or conflict(configuration.components, self.spec)
            or no_room(added_tokens(configuration), self.spec, self._input_length)
        )

    def _sizes(self, assignment: Mapping[str, Value]) -> Iterator[int]:
        """Yield the columns of the point's sizes."""
        start = 0
        for h in self.space.hyperparameters:
            if h.name in assignment and _is_size(h):
                yield start
            start += h.width

    def _raised(self, assignment: Assignment) -> Assignment:
        """Return a point that fits with each of its sizes, in turn, as large as fits."""
        coordinates = self.space.encode(assignment)
        for start in self._sizes(assignment):
            highest = self._largest_fitting(coordinates, start)
            coordinates[start] = max(coordinates[start], highest)
        return self.space.decode(coordinates)

    def _largest_fitting(self, coordinates: Sequence[float], column: int) -> float:
        """Return the largest coordinate of `column` that fits, the others held (0 fits)."""
        trial = list(coordinates)
        trial[column] = 1.0
        if self.fits(self.space.decode(trial)):
            return 1.0
        low, high = 0.0, 1.0
        for _ in range(_BISECTIONS):  # parameters never fall when a size grows
            trial[column] = (low + high) / 2
            if self.fits(self.space.decode(trial)):
                low = trial[column]
            else:
                high = trial[column]
        return low


WITHOUT_COST = {LEARNING_RATE, *TRAINING_FIELDS, *MASK_FIELDS} - {"density"}


def _is_size(h: Hyperparameter) -> bool:
    field = h.field.rpartition(".")[2]
    return is_method_param(field) and isinstance(h, FloatRange | IntRange | Ordered)


def _corner_coordinates(h: Hyperparameter, method: str, u: float) -> list[tuple[float, ...]]:
    if h.name == "method":
        return [h.to_unit(method)]
    if not h.possible(method) or h.field in WITHOUT_COST:
        return [(0.5,) * h.width]
    if isinstance(h, Choice):
        return [h.to_unit(choice) for choice in h.choices]
    if isinstance(h, LayerMask):
        if u == 1.0:
            last = [tuple(float(j >= i) for j in range(h.width)) for i in range(h.width)]
            return last if h.empty else last[:1]
        lowest = [tuple(float(i == j) for j in range(h.width)) for i in range(h.width)]
        return [(0.0,) * h.width] if h.empty else lowest
    return [(u,)]


def _steps(h: Hyperparameter, value: Value, rng: np.random.Generator) -> list[Value]:
    """Return nearby values: other choices, one flipped switch, steps up and down, the ends."""
    if isinstance(h, Choice):
        return [choice for choice in h.choices if choice != value]
    if isinstance(h, LayerMask):
        bits = str(value)
        flipped = [
            bits[:i] + ("0" if bits[i] == "1" else "1") + bits[i + 1 :] for i in range(h.width)
        ]
        return [mask for mask in flipped if h.contains(mask)]
    if isinstance(h, Ordered):
        index = h.values.index(value)
        near = [h.values[i] for i in (index - 1, index + 1) if 0 <= i < len(h.values)]
        return [*near, *(v for v in (h.values[0], h.values[-1]) if v not in {value, *near})]
    here = h.to_unit(value)[0]
    steps = (0.05, 0.2) * rng.uniform(0.5, 1.5, size=2)
    values = [h.from_unit([min(max(here + sign * s, 0.0), 1.0)]) for s in steps for sign in (-1, 1)]
    if isinstance(h, IntRange):
        values += [int(value) - 1, int(value) + 1]
    return [v for v in dict.fromkeys(values) if v != value and h.contains(v)]
