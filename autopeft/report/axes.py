"""What a configuration costs, as an axis of figures and a column of tables."""

import itertools
from collections.abc import Callable
from dataclasses import dataclass

from autopeft.report.summary import Summary
from autopeft.trials.derived import DerivedPoint
from autopeft.trials.trial import TrialRecord


@dataclass(frozen=True, slots=True, kw_only=True)
class CostAxis:
    """A cost that figures show.

    Attributes:
        name: Short name, as in `params`.
        title: What stands at the axis.
        value: The cost of a trial in the axis' unit; `None` where it was not recorded.
        limit: The study's limit in the axis' unit, with its text; `None` if there is none.
        logarithmic: Whether twice as much is the same step anywhere on the axis.
        derived: The cost of what a derived point was made of, and its own; `None` where the axis
            is of a cost that it does not have.
    """

    name: str
    title: str
    value: Callable[[TrialRecord], float | None]
    limit: Callable[[Summary], tuple[float, str] | None] = lambda _: None
    logarithmic: bool = False
    derived: Callable[[DerivedPoint], tuple[float, float]] | None = None

    def position(self, record: TrialRecord) -> float:
        """Return where a trial stands on the axis."""
        value = self.value(record)
        assert value is not None, "only axes that are known for all trials are drawn"
        return max(value, 1) if self.logarithmic else value  # the head alone has 0 parameters

    def known(self, summary: Summary) -> bool:
        """Tell whether the cost was recorded for all trials that measured something."""
        measured = [r for r in summary.records if r.quality is not None]
        return bool(measured) and all(self.value(r) is not None for r in measured)

    def orders(self, summary: Summary) -> bool:
        """Tell whether the front rises along the axis, so that a line through it means something.

        It does where the axis is the one cost that the study improves.
        """
        front = sorted(summary.front, key=lambda r: (self.position(r), r.number))
        means = [e.measured.mean for r in front if (e := summary.estimate(r)) is not None]
        return all(a <= b for a, b in itertools.pairwise(means))


def _memory_limit(summary: Summary) -> tuple[float, str] | None:
    if summary.memory_limit is None:
        return None
    return summary.memory_limit / 2**20, f"limit {summary.memory_limit / 2**30:.3g} GiB"


def _operations(record: TrialRecord) -> float | None:
    flops = record.cost.flops_per_example
    return None if flops is None else flops / 1e9


PARAMS = CostAxis(
    name="params",
    title="adapter parameters",
    value=lambda r: r.cost.adapter_params,
    limit=lambda s: (max(s.budget_limit, 1), f"budget {s.budget_text}"),
    logarithmic=True,
    derived=lambda p: (max(p.params_before, 1), max(p.adapter_params, 1)),
)
MEMORY = CostAxis(
    name="memory",
    title="predicted training memory, MiB",
    value=lambda r: r.cost.peak_memory_bytes / 2**20,
    limit=_memory_limit,
)
OPERATIONS = CostAxis(
    name="operations",
    title="billion operations to train on one example",
    value=_operations,
)
COST_AXES = (PARAMS, MEMORY, OPERATIONS)
