"""`Summary`: a study as the user's tables, files and figures show it."""

import csv
import io
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from autopeft.space.wording import layer_text, setting_text, target_text
from autopeft.study.objective import Objective, ReferencePoint, compared
from autopeft.study.pareto import knee
from autopeft.study.study import front_hypervolume, pareto_front
from autopeft.trials.trial import TrialRecord


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """A study at one moment.

    Attributes:
        name: Name of the study.
        task: Name of the task.
        model: Name of the model.
        metric: Name of the quality.
        budget_text: The parameter budget as the user wrote it.
        budget_limit: Largest number of adapter parameters.
        n_layers: Layers of the model.
        objectives: What was improved.
        reference: Where hypervolume is measured from.
        records: All trials, by number.
    """

    name: str
    task: str
    model: str
    metric: str
    budget_text: str
    budget_limit: int
    n_layers: int
    objectives: tuple[Objective, ...]
    reference: ReferencePoint
    records: tuple[TrialRecord, ...]

    @property
    def front(self) -> list[TrialRecord]:
        """The complete trials that no other dominates, cheapest first."""
        return pareto_front(self.records, self.objectives)

    @property
    def hypervolume(self) -> float:
        """Hypervolume of the front."""
        return front_hypervolume(self.records, self.objectives, self.reference)

    def best(self) -> TrialRecord | None:
        """The front's trial with the highest quality; of equal ones the cheapest."""
        return max(self.front, key=lambda r: r.quality or 0.0, default=None)

    def smallest(self) -> TrialRecord | None:
        """The front's trial with the fewest adapter parameters."""
        return next(iter(self.front), None)

    def knee(self) -> TrialRecord | None:
        """The front's trial after which more parameters buy the least quality (`pareto.knee`)."""
        front = self.front
        if not front:
            return None
        points = np.array([compared(r, self.objectives) for r in front])
        return front[knee(points)]

    def marks(self, record: TrialRecord) -> str:
        """Return which of best, knee and smallest a trial is."""
        picks = {"best": self.best(), "knee": self.knee(), "smallest": self.smallest()}
        return ", ".join(name for name, pick in picks.items() if pick == record)

    def statuses(self) -> str:
        """Return how many trials ended how."""
        counts = Counter(record.status.value for record in self.records)
        return ", ".join(f"{n} {status}" for status, n in counts.most_common()) or "none"

    def rows(self, records: Sequence[TrialRecord]) -> list[dict[str, Any]]:
        """Return trials as flat rows."""
        return [self._row(record) for record in records]

    def _row(self, record: TrialRecord) -> dict[str, Any]:
        configuration = record.spec.configuration
        return {
            "trial": record.number,
            "status": record.status.value,
            self.metric: None if record.quality is None else round(record.quality, 4),
            "adapter_params": record.cost.adapter_params,
            "share_of_base": f"{100 * record.cost.adapter_params / record.cost.base_params:.3g}%",
            "peak_memory_mib": round(record.cost.peak_memory_bytes / 2**20),
            "method": configuration.method,
            "targets": target_text(configuration),
            "layers": layer_text(configuration, self.n_layers),
            "settings": setting_text(configuration),
            "learning_rate": configuration.training.learning_rate,
            "fidelity": round(record.fidelity, 3),
            "seconds": round(record.seconds, 1),
            "pick": self.marks(record),
        }

    def front_csv(self) -> str:
        """Return the front as CSV text."""
        return to_csv(self.rows(self.front))


def to_csv(rows: Sequence[dict[str, Any]]) -> str:
    """Return rows as CSV text with a header; no rows give an empty text."""
    if not rows:
        return ""
    text = io.StringIO()
    writer = csv.DictWriter(text, fieldnames=list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()
