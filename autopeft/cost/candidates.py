"""`CandidateSpace`: a search space bound to a model and limits, so that costs are known."""

import itertools
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from autopeft.cost.budget import ParamBudget
from autopeft.cost.memory_limit import MemoryLimit
from autopeft.cost.remembered import Remembered
from autopeft.cost.variation import WITHOUT_COST, corner_coordinates, is_size, steps_around
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
from autopeft.methods.density import check_schedules
from autopeft.methods.registry import catalogue, get_method
from autopeft.models.spec import ModelSpec
from autopeft.space.configuration import Configuration, Value
from autopeft.space.hyperparameter import Assignment
from autopeft.space.space import SearchSpace

_BISECTIONS = 24
#: Spaces of so many points have the memory of each predicted; in larger ones there are bounds.
_FEW_POINTS = 64
#: What is tried of a point's sizes, on their own scales, where memory does not hold them.
_SHARES = (1.0, 0.5, 0.25, 0.0)
#: Points whose configurations are kept, and points without what costs nothing, whose counts are.
_KEPT, _COUNTED = 2**12, 2**15
_Items = tuple[tuple[str, Value], ...]


class CandidateSpace:
    """The points of a search space that a model can take within a budget and a memory.

    Every point that leaves this class fits both, so no trial ever starts over them. Memory is met
    by micro-batches; a point does not fit where not even one example at a time does.

    Attributes:
        space: The search space, without the methods that the model refuses.
        refused: Why, for each method of the space that the model refuses.
        spec: Structure of the model.
        budget: The limit on adapter parameters.
        memory: The limit on memory, `None` for none.
    """

    def __init__(
        self,
        space: SearchSpace,
        spec: ModelSpec,
        budget: ParamBudget,
        training: Mapping[str, Value] | None = None,
        input_length: int = 0,
        memory: MemoryLimit | None = None,
    ) -> None:
        """Bind a space.

        Args:
            space: The search space.
            spec: Structure of the model.
            budget: The limit on adapter parameters.
            training: Fields of `TrainingParams` where the space does not choose them.
            input_length: Longest input in tokens.
            memory: The limit on the memory of a training step, `None` for none.

        Raises:
            SpaceError: If the model takes none of the methods, or pruning could start after it
                is over.
            BudgetError: If nothing fits the budget, or nothing the memory.
        """
        reasons = {m: refusal(get_method(m), spec, input_length) for m in space.methods}
        self.refused = {m: reason for m, reason in reasons.items() if reason}
        usable = [m for m in space.methods if m not in self.refused]
        if not usable:
            raise SpaceError(f"The model takes no method of the space '{space.name}'.")
        self.space = space.restricted_to(usable)
        self.spec = spec
        self.budget = budget
        self.memory = memory
        self._catalogue = catalogue()
        self._training = dict(training or {})
        self._input_length = input_length
        self._predicts_each = self.space.n_points() <= _FEW_POINTS
        self._completed = Remembered(self._complete, _KEPT)
        self._counted = Remembered(self._count, _COUNTED)
        check_schedules(space, [m for m in space.methods if get_method(m).info.maskable])
        self.smallest()  # or say that nothing fits

    def configuration(self, assignment: Mapping[str, Value]) -> Configuration:
        """Return the configuration that a point stands for, with all defaults filled in.

        Its batch is whole; `trained` says in what parts it goes through the model.
        """
        return self._completed(tuple(assignment.items()))

    def trained(self, assignment: Mapping[str, Value]) -> Configuration | None:
        """Return the configuration that a trial of a point trains.

        It has the largest micro-batch with which its predicted memory is within the limit. The
        prediction is exact here, where `fits` takes bounds: `None` if it is over the limit after
        all.
        """
        configuration = self.configuration(assignment)
        return configuration if self.memory is None else self.memory.met(configuration)

    def adapter_params(self, assignment: Mapping[str, Value]) -> int | None:
        """Return the adapter parameters of a point, `None` if it cannot be attached."""
        return self._counted(tuple(i for i in assignment.items() if i[0] not in WITHOUT_COST))

    def keeps_budget(self, assignment: Mapping[str, Value]) -> bool:
        """Tell whether a point can be attached and keeps the budget."""
        count = self.adapter_params(assignment)
        return count is not None and count <= self.budget.limit

    def fits(self, assignment: Mapping[str, Value]) -> bool:
        """Tell whether a point can be attached, keeps the budget and goes into the memory."""
        if not self.keeps_budget(assignment) or self.memory is None:
            return self.keeps_budget(assignment)
        configuration = self.configuration(assignment)
        if self._predicts_each:
            return self.memory.least(configuration) <= self.memory.limit
        return self.memory.admits(configuration)

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
        if not self.keeps_budget(self.space.decode(coordinates)):
            return None
        # What wants most chooses first, so that no component is always left with the rest.
        for start, u in sorted(wanted.items(), key=lambda item: -item[1]):
            coordinates[start] = u * self._largest_in_budget(coordinates, start)
        return self._into_memory(coordinates, list(wanted))

    def shrunk(self, assignment: Mapping[str, Value]) -> Assignment | None:
        """Return the point with its sizes lowered until it fits, or `None` if none fits."""
        if self.fits(assignment):
            return dict(assignment)
        coordinates = self.space.encode(assignment)
        sizes = list(self._sizes(assignment))
        if self.keeps_budget(assignment):
            return self._into_memory(coordinates, sizes)
        for start in sizes:
            wanted, coordinates[start] = coordinates[start], 0.0
            if self.keeps_budget(self.space.decode(coordinates)):
                coordinates[start] = min(wanted, self._largest_in_budget(coordinates, start))
                return self._into_memory(coordinates, sizes)
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
            for value in steps_around(h, assignment[h.name], rng):
                changed = self.space.completed({**assignment, h.name: value}, spare)
                fitting = self.shrunk(changed)
                if fitting is not None and fitting != dict(assignment):
                    found.append(fitting)
        return found

    def smallest(self) -> Assignment:
        """Return the point with the fewest adapter parameters.

        Raises:
            BudgetError: If even that one is over the budget, or every one over the memory; the
                message names its cost.
        """
        corners = [p for p in self.corners(low=True) if self.adapter_params(p) is not None]
        if not corners:
            reason = self._obstacle(self.configuration(next(self.corners(low=True))))
            raise SpaceError(
                f"No point of the space '{self.space.name}' goes on this model, the first because "
                f"{reason}."
            )
        corners.sort(key=lambda p: (self.adapter_params(p), str(p)))
        if not self.keeps_budget(corners[0]):
            raise self._over_budget(corners[0])
        within = [p for p in corners if self.keeps_budget(p)]
        found = next((p for p in within if self.fits(p)), None)
        if found is None:
            assert self.memory is not None
            raise self.memory.nothing_fits(self.space.name, map(self.configuration, within))
        return found

    def largest(self) -> Assignment:
        """Return a point with the most adapter parameters that fit the budget.

        Among the sizes of a composite the choice is greedy, so that a few more may be possible.
        """
        shrunk = (self.shrunk(corner) for corner in self.corners(low=False))
        fitting = [point for point in shrunk if point is not None]
        if self.space.components:
            raised = [self._raised(point) for point in fitting]
            fitting += [point for point in raised if self.fits(point)]
        return max(
            fitting,
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
        options = [corner_coordinates(h, method, u) for h in self.space.hyperparameters]
        for combination in itertools.product(*options):
            yield self.space.decode([c for part in combination for c in part])

    def _complete(self, items: _Items) -> Configuration:
        configuration = self.space.configuration(dict(items), self._catalogue, self._training)
        return complete(configuration, self.spec)

    def _count(self, items: _Items) -> int | None:
        configuration = self._complete(items)
        return None if self._obstacle(configuration) else count_parameters(configuration, self.spec)

    def _into_memory(self, coordinates: Sequence[float], sizes: Sequence[int]) -> Assignment | None:
        """Return a point within the budget with its sizes lowered until it goes into the memory."""
        if self.memory is None:
            return self.space.decode(coordinates)
        for share in _SHARES:
            lowered = [u * share if i in sizes else u for i, u in enumerate(coordinates)]
            point = self.space.decode(lowered)
            if self.fits(point):
                return point
        return None

    def _over_budget(self, point: Assignment) -> BudgetError:
        count = self.adapter_params(point) or 0
        share = 100 * count / self.spec.base_params
        return BudgetError(
            f"Nothing in the space '{self.space.name}' fits {self.budget.limit:,} parameters "
            f"({self.budget.text}): the smallest configuration, "
            f"{self.configuration(point).method}, has "
            f"{count:,} ({share:.3g}% of the base model)."
        )

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
        columns = self.space.columns()
        yield from (start for h, start in columns if h.name in assignment and is_size(h))

    def _raised(self, assignment: Assignment) -> Assignment:
        """Return a point with each of its sizes, in turn, as large as the budget allows."""
        coordinates = self.space.encode(assignment)
        for start in self._sizes(assignment):
            highest = self._largest_in_budget(coordinates, start)
            coordinates[start] = max(coordinates[start], highest)
        return self.space.decode(coordinates)

    def _largest_in_budget(self, coordinates: Sequence[float], column: int) -> float:
        """Return the largest coordinate of `column` within the budget, the others held (0 is)."""
        trial = list(coordinates)
        size = next(h for h, start in self.space.columns() if start == column)
        known: dict[Value, bool] = {}

        def keeps(place: float) -> bool:
            value, trial[column] = size.from_unit([place]), place
            if value not in known:  # many places of a rank are one
                known[value] = self.keeps_budget(self.space.decode(trial))
            return known[value]

        if keeps(1.0):
            return 1.0
        low, high = 0.0, 1.0
        for _ in range(_BISECTIONS):  # parameters never fall when a size grows
            middle = (low + high) / 2
            low, high = (middle, high) if keeps(middle) else (low, middle)
        return low
