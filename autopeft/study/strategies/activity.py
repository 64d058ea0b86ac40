"""Which of a study's parameters there are at a point, as its trials show."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from optuna.distributions import BaseDistribution, CategoricalDistribution

Params = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Condition:
    """A parameter is there where a choice has one of some values.

    Attributes:
        name: Name of the choice.
        values: The values.
    """

    name: str
    values: tuple[Any, ...]

    def holds(self, params: Params) -> bool:
        """Tell whether the parameter is there beside these ones."""
        return self.name in params and params[self.name] in self.values


def conditions_of(
    distributions: Mapping[str, BaseDistribution], seen: Sequence[Params]
) -> dict[str, Condition]:
    """Return the condition of each parameter that not all points have, as far as they show one.

    A parameter follows a choice if the choice is there whenever the parameter is, and at other
    times too, and no value of it comes both with and without the parameter; with values that no
    trial had, it is taken to be there. Of several such choices the one that holds for the fewest
    trials is taken: the parameter's own parent rather than a grandparent.

    Args:
        distributions: All parameters.
        seen: Points of trials, each with the parameters that it had.
    """
    conditions = {}
    for name in distributions:
        present = [params for params in seen if name in params]
        absent = [params for params in seen if name not in params]
        if not absent:
            continue
        found = [
            condition
            for choice, distribution in distributions.items()
            if choice != name and isinstance(distribution, CategoricalDistribution)
            if (condition := _condition(choice, distribution, present, absent)) is not None
        ]
        if found:
            conditions[name] = min(found, key=lambda condition: _holding(condition, seen))
    return conditions


def _condition(
    choice: str,
    distribution: CategoricalDistribution,
    present: Iterable[Params],
    absent: Iterable[Params],
) -> Condition | None:
    without = [params[choice] for params in absent if choice in params]
    if not without:  # both come and go together, and neither is the other's parent
        return None
    values = tuple(value for value in distribution.choices if value not in without)
    condition = Condition(choice, values)
    return condition if all(condition.holds(params) for params in present) else None


def _holding(condition: Condition, seen: Sequence[Params]) -> int:
    return sum(condition.holds(params) for params in seen)


def with_active_only(
    params: Params, conditions: Mapping[str, Condition], order: Iterable[str]
) -> dict[str, Any]:
    """Return a point without the parameters that are not there.

    Args:
        params: Values of parameters; where one is missing, what follows it is not there.
        conditions: Those of parameters that are not always there.
        order: Names, parents before what follows them.
    """
    active: dict[str, Any] = {}
    for name in order:
        condition = conditions.get(name)
        if name in params and (condition is None or condition.holds(active)):
            active[name] = params[name]
    return active


def parents_first(names: Iterable[str], conditions: Mapping[str, Condition]) -> list[str]:
    """Return names in an order in which every choice comes before what follows it."""
    ordered: dict[str, None] = {}

    def place(name: str, above: tuple[str, ...]) -> None:
        condition = conditions.get(name)
        if condition is not None and condition.name not in above:
            place(condition.name, (*above, name))
        ordered.setdefault(name)

    for name in names:
        place(name, (name,))
    return list(ordered)
