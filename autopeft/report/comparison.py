"""Several studies side by side: their picks, and what each reaches within a share of the base."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from autopeft.report.summary import Summary
from autopeft.space.wording import layer_text, target_text
from autopeft.trials.trial import TrialRecord

#: Shares of the base at which studies are compared.
SHARES = (0.0001, 0.0003, 0.001, 0.003, 0.01, 0.03, 0.1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """A study of a comparison.

    Attributes:
        label: What it is called; no two are called the same.
        summary: The study.
        fingerprint: Of the data that qualities were measured on.
    """

    label: str
    summary: Summary
    fingerprint: str

    def share(self, record: TrialRecord) -> float:
        """Return a trial's adapter parameters as a share of the base; at least one of them."""
        return max(record.cost.adapter_params, 1) / record.cost.base_params

    def mean(self, record: TrialRecord) -> float:
        """Return the mean quality of a member of the front."""
        found = self.summary.estimate(record)
        assert found is not None
        return found.measured.mean

    def reached(self, share: float) -> float | None:
        """Return the best mean quality within a share of the base, `None` if nothing is as small.

        With a third objective that is not always the largest member's.
        """
        within = [self.mean(r) for r in self.summary.front if self.share(r) <= share]
        return round(max(within), 4) if within else None


def pick_rows(studies: Sequence[Compared]) -> list[dict[str, Any]]:
    """Return each study's picks as flat rows, one a trial; a study without any has an empty one."""
    return [row for study in studies for row in _pick_rows(study)]


def share_rows(studies: Sequence[Compared]) -> list[dict[str, Any]]:
    """Return the best mean quality of each study within shares of the base.

    Shares at which no study has anything are left out, and those beyond the first that holds all.
    """
    rows = []
    for share in SHARES:
        reached = {study.label: study.reached(share) for study in studies}
        if any(quality is not None for quality in reached.values()):
            rows.append({"share_of_base_percent": float(f"{100 * share:g}"), **reached})
        if all(study.share(r) <= share for study in studies for r in study.summary.front):
            break
    return rows


def notes(studies: Sequence[Compared]) -> list[str]:
    """Return what has to be known before qualities of the studies are compared."""
    found = []
    metrics = {study.summary.metric for study in studies}
    tasks = {study.summary.task for study in studies}
    if len(metrics) > 1:
        found.append(
            f"Quality is {' or '.join(sorted(metrics))}, by study: heights do not compare, shapes "
            "do."
        )
    elif len(tasks) > 1:
        found.append("The studies are of different tasks: heights do not compare, shapes do.")
    elif len({study.fingerprint for study in studies}) > 1:
        found.append(
            "The studies measured the same task on different rows: small differences may come from "
            "these."
        )
    if len({study.summary.objectives for study in studies}) > 1:
        found.append(
            f"The studies have different objectives ({_objectives(studies)}): their fronts, picks "
            "and hypervolumes do not compare."
        )
    elif len({study.summary.reference for study in studies}) > 1:
        found.append(
            "Hypervolume is measured from references that differ, as they follow from model, task, "
            "space and budget: it does not compare."
        )
    if len({r.cost.base_params for s in studies for r in s.summary.front}) > 1:
        found.append("The base models differ in size: parameters are shares of each one's own.")
    return found


def _objectives(studies: Sequence[Compared]) -> str:
    named = [" and ".join(o.name for o in study.summary.objectives) for study in studies]
    return "; ".join(dict.fromkeys(named))


def _pick_rows(study: Compared) -> Iterator[dict[str, Any]]:
    summary = study.summary
    about = {
        "hypervolume": round(summary.hypervolume, 4),
        "trials": len(summary.records),
        "task": summary.task,
        "model": summary.model,
    }
    picks = {r.number: r for r in summary.picks.values() if r is not None}
    for record in picks.values() or [None]:
        yield {"study": study.label, **_row(study, record), **about}


def _row(study: Compared, record: TrialRecord | None) -> dict[str, Any]:
    names = ("pick", "trial", "metric", "mean", "adapter_params", "method", "standard_error")
    places = ("seeds", "targets", "layers", "share_of_base_percent", "peak_memory_mib")
    if record is None:
        return dict.fromkeys((*names, *places)) | {"metric": study.summary.metric}
    found = study.summary.estimate(record)
    assert found is not None
    configuration = record.spec.configuration
    return {
        "pick": study.summary.marks(record),
        "trial": record.number,
        "metric": study.summary.metric,
        "mean": round(found.measured.mean, 4),
        "adapter_params": record.cost.adapter_params,
        "method": configuration.method,
        "standard_error": round(found.error, 4),
        "seeds": found.n_seeds,
        "targets": target_text(configuration),
        "layers": layer_text(configuration, study.summary.n_layers),
        "share_of_base_percent": record.cost.share_of_base_percent,
        "peak_memory_mib": round(record.cost.peak_memory_bytes / 2**20),
    }
