"""`Summary`: a study as the user's tables, files and figures show it."""

import csv
import io
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from autopeft.space.wording import layer_text, setting_text, target_text
from autopeft.study.front import front_hypervolume, pareto_front
from autopeft.study.objective import Objective, ReferencePoint, counts_for_front
from autopeft.study.pareto import knee
from autopeft.study.uncertainty import Estimate, estimates
from autopeft.tasks.metrics import METRICS
from autopeft.trials.derived import DerivedPoint
from autopeft.trials.trial import TrialRecord

#: Words of names that are not written small.
_UNITS = {"mib": "MiB", "gflop": "GFLOP", "percent": "%"}


@dataclass(frozen=True, kw_only=True)
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
        eval_rows: Number of rows that qualities are measured on.
        objectives: What was improved.
        reference: Where hypervolume is measured from.
        records: All trials, by number.
        memory_limit: Largest predicted memory in bytes, `None` for no limit.
        derived: Adapters made of trials' weights after the search. They are shown, and count for
            nothing that is said of the search: not for the front, hypervolume or the picks.
    """

    name: str
    task: str
    model: str
    metric: str
    budget_text: str
    budget_limit: int
    n_layers: int
    eval_rows: int
    objectives: tuple[Objective, ...]
    reference: ReferencePoint
    records: tuple[TrialRecord, ...]
    memory_limit: int | None = None
    derived: tuple[DerivedPoint, ...] = ()

    @cached_property
    def front(self) -> list[TrialRecord]:
        """The configurations that no other dominates, cheapest first.

        They are compared by their mean qualities; the first training stands for a configuration.
        """
        return pareto_front(self.records, self.objectives)

    @cached_property
    def estimates(self) -> dict[str, Estimate]:
        """What is known of each configuration with a complete training, by its digest."""
        error = METRICS[self.metric].error
        found = estimates(self.records, self.objectives, lambda q: error(q, self.eval_rows))
        return {e.measured.record.spec.configuration.digest: e for e in found}

    @property
    def repeated(self) -> bool:
        """Whether any configuration was trained with several seeds."""
        return any(e.n_seeds > 1 for e in self.estimates.values())

    @cached_property
    def digests(self) -> dict[int, str]:
        """The configuration of each trial, by number: every figure and table asks for it."""
        return {record.number: record.spec.configuration.digest for record in self.records}

    @cached_property
    def front_digests(self) -> frozenset[str]:
        """The configurations on the front."""
        return frozenset(self.digests[record.number] for record in self.front)

    def on_front(self, record: TrialRecord) -> bool:
        """Tell whether a complete trial is of a configuration on the front."""
        return self.digests[record.number] in self.front_digests and counts_for_front(record)

    @property
    def hypervolume(self) -> float:
        """Hypervolume of the front."""
        return front_hypervolume(self.records, self.objectives, self.reference)

    def estimate(self, record: TrialRecord) -> Estimate | None:
        """What is known of a trial's configuration, `None` without a complete training of it."""
        return self.estimates.get(self.digests[record.number])

    def best(self) -> TrialRecord | None:
        """The front's best trial.

        Where several seeds show the noise, the cheapest whose mean is within one standard error of
        the largest (the one-standard-error rule, Breiman et al. 1984, section 3.4.3): what lies
        closer was not told apart. Otherwise the one with the highest quality.
        """
        means = [self._known(record) for record in self.front]
        if not means:
            return None
        top = max(means, key=lambda e: e.measured.mean)
        slack = top.error if self.repeated else 0.0
        near = (e for e in means if e.measured.mean >= top.measured.mean - slack)
        return next(near).measured.record

    def smallest(self) -> TrialRecord | None:
        """The front's trial with the fewest adapter parameters."""
        return next(iter(self.front), None)

    def knee(self) -> TrialRecord | None:
        """The front's trial after which more parameters buy the least quality (`pareto.knee`)."""
        if not self.front:
            return None
        points = [self._known(record).measured.compared(self.objectives) for record in self.front]
        return self.front[knee(np.array(points))]

    def _known(self, record: TrialRecord) -> Estimate:
        return self.estimates[record.spec.configuration.digest]

    @cached_property
    def picks(self) -> dict[str, TrialRecord | None]:
        """The trials that have a name."""
        return {"best": self.best(), "knee": self.knee(), "smallest": self.smallest()}

    def marks(self, record: TrialRecord) -> str:
        """Return which of best, knee and smallest a trial is."""
        return ", ".join(name for name, pick in self.picks.items() if pick == record)

    def statuses(self) -> str:
        """Return how many trials ended how."""
        counts = Counter(record.status.value for record in self.records)
        return ", ".join(f"{n} {status}" for status, n in counts.most_common()) or "none"

    def rows(self, records: Sequence[TrialRecord]) -> list[dict[str, Any]]:
        """Return trials as flat rows, the columns in the order of their importance."""
        return [self._row(record) for record in records]

    def _row(self, record: TrialRecord) -> dict[str, Any]:
        configuration, noise = record.spec.configuration, self._noise(record)
        return {
            "trial": record.number,
            "pick": self.marks(record),
            "status": record.status.value,
            self.metric: None if record.quality is None else round(record.quality, 4),
            "mean": noise["mean"],
            "adapter_params": record.cost.adapter_params,
            "method": configuration.method,
            "standard_error": noise["standard_error"],
            "on_front": noise["on_front"],
            "seeds": noise["seeds"],
            "targets": target_text(configuration),
            "layers": layer_text(configuration, self.n_layers),
            "settings": setting_text(configuration),
            "learning_rate": configuration.training.learning_rate,
            "share_of_base_percent": record.cost.share_of_base_percent,
            "peak_memory_mib": round(record.cost.peak_memory_bytes / 2**20),
            "fidelity": round(record.fidelity, 3),
            "repeat_of": record.repeat_of,
            "seconds": round(record.seconds, 1),
        }

    def _noise(self, record: TrialRecord) -> dict[str, Any]:
        """Return mean and seeds where there are several, and the chance of being on the front."""
        found = self.estimate(record)
        if found is None or not counts_for_front(record):
            return dict.fromkeys(("mean", "standard_error", "seeds", "on_front"))
        many = self.repeated
        return {
            "mean": round(found.measured.mean, 4) if many else None,
            "standard_error": round(found.error, 4),
            "seeds": found.n_seeds if many else None,
            "on_front": round(found.probability, 2),
        }

    def front_csv(self) -> str:
        """Return the front as CSV text."""
        return to_csv(self.rows(self.front))


def column_title(name: str) -> str:
    """Return the name of a column as a table shows it."""
    return " ".join(_UNITS.get(word, word) for word in name.split("_"))


def to_csv(rows: Sequence[dict[str, Any]]) -> str:
    """Return rows as CSV text with a header; no rows give an empty text."""
    if not rows:
        return ""
    text = io.StringIO()
    writer = csv.DictWriter(text, fieldnames=list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()
