"""Which method wins at which budget: the best that each reached within so many parameters."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from autopeft.trials.trial import TrialRecord

#: Budgets within a decade.
_STEPS = (1, 3)


@dataclass(frozen=True, slots=True, kw_only=True)
class Winner:
    """The best method within a budget.

    Attributes:
        budget: Largest number of adapter parameters.
        method: The method that reached most.
        trial: Number of its trial.
        quality: What it reached.
        error: Standard error of the quality.
        by_method: What each method reached, the best first.
    """

    budget: int
    method: str
    trial: int
    quality: float
    error: float
    by_method: dict[str, float]

    @property
    def runner_up(self) -> str | None:
        """The second method, `None` if there is but one."""
        return next(iter(list(self.by_method)[1:]), None)

    @property
    def clear(self) -> bool:
        """Whether the second is more than a standard error behind, or there is none."""
        second = self.runner_up
        return second is None or self.quality - self.by_method[second] > self.error


def winners(
    records: Sequence[TrialRecord], limit: int, error: Callable[[float], float]
) -> list[Winner]:
    """Return the winner at 1 and 3 times each power of ten, and at the budget of the study.

    Args:
        records: Complete trials with a quality.
        limit: The study's budget.
        error: Returns the standard error of a quality.
    """
    found = []
    for budget in _budgets(min(r.cost.adapter_params for r in records), limit):
        within = [r for r in records if r.cost.adapter_params <= budget]
        best: dict[str, TrialRecord] = {}
        for record in sorted(within, key=lambda r: (-(r.quality or 0.0), r.cost.adapter_params)):
            best.setdefault(record.spec.configuration.method, record)
        first = next(iter(best.values()))
        quality = first.quality or 0.0
        found.append(
            Winner(
                budget=budget,
                method=first.spec.configuration.method,
                trial=first.number,
                quality=quality,
                error=error(quality),
                by_method={method: r.quality or 0.0 for method, r in best.items()},
            )
        )
    return found


def _budgets(fewest: int, limit: int) -> Iterator[int]:
    decades = range(int(math.log10(max(fewest, 1))), int(math.log10(limit)) + 1)
    rounded = (step * 10**decade for decade in decades for step in _STEPS)
    yield from (budget for budget in rounded if fewest <= budget < limit)
    yield limit
