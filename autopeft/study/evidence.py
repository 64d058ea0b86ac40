"""What a rung tells of the end: which signal ranks trials as the end does, and how well."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from autopeft.study.objective import counts_for_front
from autopeft.study.rungs import kept_at_least
from autopeft.study.signals import Numbers, correlation, mid_ranks, signal_ranks
from autopeft.study.standing import Comparison
from autopeft.trials.trial import TrialRecord

#: Rank correlation with the end that is assumed of each signal, and how many trained trials the
#: assumption weighs as much as. Of equal signals the first is taken.
ASSUMED: Mapping[str, float] = {
    "blend": 0.6,
    "train_loss": 0.6,
    "quality": 0.5,
    "eval_loss": 0.5,
}
ASSUMED_WEIGHT = 6

#: Below this expected rank correlation no trial is stopped at the rung.
LEAST_CORRELATION = 0.3

#: Fewer trials than this tell nothing: in all, and of those that the rung would stop.
LEAST_TRIALS, LEAST_STOPPED = 4, 2

#: Standard deviation of shares that are spread evenly over 0-1.
_SPREAD = 12**-0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class RungEvidence:
    """What the trials of a study tell of a rung.

    Attributes:
        share: Share of a full training at the rung.
        n_trials: Trials that were trained to the end, and reported at the rung before.
        measured: Spearman's rank correlation of each signal with the quality at the end, over
            these trials; empty where they are too few.
        expected: The same, together with what is assumed before anything is measured.
        signal: The signal that trials are compared by: the one with the largest expectation.
        trusted: Whether the signal is good enough to stop trials by it.
    """

    share: float
    n_trials: int
    measured: Mapping[str, float]
    expected: Mapping[str, float]
    signal: str
    trusted: bool

    @property
    def doubt(self) -> float:
        """By how much the place at the end may differ from the signal's, as a share of the trials.

        The standard deviation that is left of evenly spread places once the signal is known.
        """
        return _SPREAD * float(np.sqrt(max(0.0, 1.0 - self.expected[self.signal] ** 2)))

    def to_dict(self) -> dict[str, Any]:
        """Return plain data for the user's JSON."""
        return {
            "share": self.share,
            "trained_to_the_end": self.n_trials,
            "measured_correlation": {n: round(c, 3) for n, c in self.measured.items()},
            "expected_correlation": {n: round(c, 3) for n, c in self.expected.items()},
            "signal": self.signal,
            "trusted": self.trusted,
        }


def rung_evidence(
    records: Sequence[TrialRecord], rung: int, comparison: Comparison
) -> RungEvidence:
    """Return what the trials of a study tell of one of its rungs.

    A signal's expected correlation is the mean of what was measured, weighted by the number of
    trials, and of what is assumed, weighted by `ASSUMED_WEIGHT`: the first few trials cannot
    turn stopping off, or choose a signal, by chance. It follows from the records alone.

    Args:
        records: All trials of the study; at least one.
        rung: Index of the rung, from 0.
        comparison: How trials are compared there.
    """
    reached = [r for r in records if len(r.reports) > rung]
    ended = np.array([counts_for_front(r) and len(r.reports) > rung + 1 for r in reached], bool)
    measured = _measured(reached, ended, rung, comparison)
    weight = ended.sum() / (ended.sum() + ASSUMED_WEIGHT) if measured else 0.0
    expected = {
        name: float(weight * measured.get(name, 0.0) + (1 - weight) * assumed)
        for name, assumed in ASSUMED.items()
    }
    signal = max(expected, key=lambda name: expected[name])
    return RungEvidence(
        share=records[0].spec.rungs[rung],
        n_trials=int(ended.sum()),
        measured=measured,
        expected=expected,
        signal=signal,
        trusted=expected[signal] >= LEAST_CORRELATION,
    )


def _measured(
    reached: Sequence[TrialRecord], ended: Numbers, rung: int, comparison: Comparison
) -> dict[str, float]:
    """Return the rank correlation of each signal with the end, over all that reached the rung.

    Only some were trained to the end, and they were chosen: good ones, and small ones. So the
    trials that are now seen to belong to the best share, and those that are not, each count as
    much as there are of them. Some of the latter have ended too, because they came early, when
    little was known, or because nothing dominated them then.
    """
    if ended.sum() < LEAST_TRIALS:
        return {}
    points = comparison.points(reached, rung, "blend")
    good = np.zeros(len(reached), dtype=bool)
    good[comparison.best(points, kept_at_least(len(reached)))] = True
    if (ended & ~good).sum() < LEAST_STOPPED:
        return {}
    weights = np.zeros(len(reached))
    for part in (good, ~good):
        weights[part & ended] = part.sum() / max(1, (part & ended).sum())
    done = [r for r, whole in zip(reached, ended, strict=True) if whole]
    weights = weights[ended]
    end = mid_ranks(np.array([r.quality for r in done]), weights)
    curves = [r.reports[: rung + 1] for r in done]
    signals = signal_ranks(curves, done[0].quality_metric, weights)
    return {name: correlation(ranks, end, weights) for name, ranks in signals.items()}
