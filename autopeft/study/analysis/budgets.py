"""Which method wins at which budget: the best that each reached within so many parameters."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from autopeft.study.uncertainty import Measured

#: Budgets within a decade.
_STEPS = (1, 3)


@dataclass(frozen=True, slots=True, kw_only=True)
class Winner:
    """The best method within a budget.

    Attributes:
        budget: Largest number of adapter parameters.
        method: The method that reached most.
        trial: Number of its trial.
        mean: Mean quality over seeds that it reached.
        evaluation_error: Standard error that the choice of the validation rows gives the mean.
        by_method: Mean quality that each method reached, the best first.
    """

    budget: int
    method: str
    trial: int
    mean: float
    evaluation_error: float
    by_method: dict[str, float]

    @property
    def runner_up(self) -> str | None:
        """The second method, `None` if there is but one."""
        return next(iter(list(self.by_method)[1:]), None)

    @property
    def clear(self) -> bool | None:
        """Whether the second is more than an evaluation error behind; `None` without a second."""
        second = self.runner_up
        if second is None:
            return None
        return self.mean - self.by_method[second] > self.evaluation_error


def winners(found: Sequence[Measured], limit: int, error: Callable[[float], float]) -> list[Winner]:
    """Return the winner at 1 and 3 times each power of ten, and at the budget of the study.

    Args:
        found: Configurations with their complete trials; their means are compared.
        limit: The study's budget.
        error: Returns the standard error that its rows give a quality.
    """
    told = []
    for budget in _budgets(min(m.record.cost.adapter_params for m in found), limit):
        within = [m for m in found if m.record.cost.adapter_params <= budget]
        best: dict[str, Measured] = {}
        for measured in sorted(within, key=lambda m: (-m.mean, m.record.cost.adapter_params)):
            best.setdefault(measured.record.spec.configuration.method, measured)
        method, first = next(iter(best.items()))
        told.append(
            Winner(
                budget=budget,
                method=method,
                trial=first.record.number,
                mean=first.mean,
                evaluation_error=error(first.mean),
                by_method={name: measured.mean for name, measured in best.items()},
            )
        )
    return told


def _budgets(fewest: int, limit: int) -> Iterator[int]:
    decades = range(int(math.log10(max(fewest, 1))), int(math.log10(max(limit, 1))) + 1)
    rounded = (step * 10**decade for decade in decades for step in _STEPS)
    yield from (budget for budget in rounded if fewest <= budget < limit)
    yield limit
