"""`Analysis`: all that is told of a study beyond its front."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from autopeft.errors import StudyError
from autopeft.space.wording import count_text
from autopeft.study.analysis.budgets import Winner, winners
from autopeft.study.analysis.facts import Fact, facts_of
from autopeft.study.analysis.importance import LEAST_TRIALS as LEAST_FOR_IMPORTANCE
from autopeft.study.analysis.importance import Importance, importances
from autopeft.study.analysis.response import FIDELITY, Curve, Response, near, predictability
from autopeft.study.analysis.response import LEAST_TRIALS as LEAST_FOR_CURVES
from autopeft.study.uncertainty import measured_configurations
from autopeft.trials.trial import TrialRecord

#: Rank correlation below which the surrogate has learned next to nothing.
LEAST_PREDICTABLE = 0.3


@dataclass(frozen=True, slots=True, kw_only=True)
class TenTimes:
    """What ten times the parameters of a pick buy.

    Attributes:
        pick: `knee` or `best`.
        start: Its adapter parameters.
        target: Ten times as many.
        trial: Trial of about so many parameters from which most is expected, `None` if nothing is
            known.
        quality: What is expected of it.
        gain: By how much it is expected to be better than the pick.
        error: Standard deviation of the gain.
        reason: Why nothing is known; empty otherwise.
    """

    pick: str
    start: int
    target: int
    trial: int | None = None
    quality: float | None = None
    gain: float | None = None
    error: float | None = None
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Analysis:
    """What a study tells.

    Attributes:
        n_trials: Configurations with a complete trial that it is about; seeds are averaged.
        winners: Which method wins at which budget.
        importances: How much each fact explains; empty with too few trials.
        curves: Expected quality over single facts; empty with too few trials.
        predictability: Rank correlation of quality with what is predicted without the trial;
            `None` with too few trials.
        ten_times: What ten times the parameters of a pick buy.
        notes: What the user should know, a sentence each.
    """

    n_trials: int
    winners: tuple[Winner, ...]
    importances: tuple[Importance, ...]
    curves: tuple[Curve, ...]
    predictability: float | None
    ten_times: tuple[TenTimes, ...]
    notes: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return plain data, for machines."""
        return asdict(self)


def analyze(
    records: Sequence[TrialRecord],
    picks: dict[str, TrialRecord],
    n_layers: int,
    limit: int,
    error: Callable[[float], float],
) -> Analysis:
    """Return what a study tells.

    Args:
        records: All trials.
        picks: Trials of the front of which it is asked what ten times their parameters buy.
        n_layers: Layers of the model.
        limit: The study's budget.
        error: Returns the standard error of a quality.

    Raises:
        StudyError: If no trial is complete.
    """
    complete = measured_configurations(records)
    if not complete:
        raise StudyError("No trial of the study is complete yet: there is nothing to analyze.")
    facts = {r.number: facts_of(r, n_layers) for r in records}
    known = {m.record.number: facts[m.record.number] for m in complete}
    rows, qualities = list(known.values()), [m.mean for m in complete]
    learnable = len(complete) >= LEAST_FOR_CURVES and len(set(qualities)) > 1
    response = _response(records, facts) if learnable else None
    ranked = learnable and len(complete) >= LEAST_FOR_IMPORTANCE
    predictable = predictability(rows, qualities) if learnable else None
    return Analysis(
        n_trials=len(complete),
        winners=tuple(winners(complete, limit, error)),
        importances=tuple(importances(rows, qualities)) if ranked else (),
        curves=response.curves(rows) if response else (),
        predictability=predictable,
        ten_times=tuple(
            _ten_times(name, record, limit, known, response) for name, record in picks.items()
        ),
        notes=tuple(_notes(len(complete), predictable)),
    )


def _response(records: Sequence[TrialRecord], facts: dict[int, dict[str, Fact]]) -> Response:
    """Return the surrogate of all that was measured, at whatever share of a training."""
    seen = [
        ({**facts[record.number], FIDELITY: report.fidelity}, quality)
        for record in records
        for report in record.reports
        if math.isfinite(quality := report.metrics[record.quality_metric])
    ]
    return Response([row for row, _ in seen], [quality for _, quality in seen])


def _ten_times(
    name: str,
    record: TrialRecord,
    limit: int,
    known: dict[int, dict[str, Fact]],
    response: Response | None,
) -> TenTimes:
    start = record.cost.adapter_params
    target = 10 * start
    about = near(known, target) if start else []
    if not start:
        reason = "not known: it has no parameters to take ten times as many"
    elif target > limit:
        reason = f"not known: {target:,} are beyond the {limit:,} parameters of the study's budget"
    elif response is None:
        reason = "not known: too few trials"
    elif not about:
        reason = "not known: no trial has about so many"
    else:
        others = [known[number] for number in about]
        best, quality, gain, spread = response.compared(known[record.number], others)
        return TenTimes(
            pick=name,
            start=start,
            target=target,
            trial=about[best],
            quality=quality,
            gain=gain,
            error=spread,
        )
    return TenTimes(pick=name, start=start, target=target, reason=reason)


def _notes(n_trials: int, predictable: float | None) -> Iterator[str]:
    few = f"{count_text(n_trials, 'complete trial')} {'is' if n_trials == 1 else 'are'}"
    if n_trials < LEAST_FOR_IMPORTANCE:
        yield f"{few} too few to say what matters: {LEAST_FOR_IMPORTANCE} are needed."
    if n_trials < LEAST_FOR_CURVES:
        yield (
            f"{few} too few for curves and for what more parameters buy: {LEAST_FOR_CURVES} are "
            "needed."
        )
    if predictable is not None and predictable < LEAST_PREDICTABLE:
        yield (
            f"The quality of a trial can hardly be told from the others (rank correlation "
            f"{predictable:.2f}): importances and curves may be chance."
        )
