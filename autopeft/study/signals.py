"""What a rung tells of the end: which of its numbers ranks trials as the end does, and how well."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from autopeft.study.objective import counts_for_front
from autopeft.trials.trial import RungReport, TrialRecord

Numbers = NDArray[np.float64]

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

#: Fewer trials than this have no correlation worth the name.
LEAST_TRIALS = 3


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
    def correlation(self) -> float:
        """Expected rank correlation of the signal with the end."""
        return self.expected[self.signal]

    def to_dict(self) -> dict[str, Any]:
        """Return plain data for the user's JSON."""
        return {
            "share": self.share,
            "trained_to_the_end": self.n_trials,
            "measured_correlation": {n: round(c, 3) for n, c in self.measured.items()},
            "expected_correlation": {n: round(c, 3) for n, c in self.expected.items()},
            "signal": self.signal,
            "stopping": self.trusted,
        }


def rung_evidence(records: Sequence[TrialRecord], rung: int) -> RungEvidence:
    """Return what the trials of a study tell of one of its rungs.

    A signal's expected correlation is the mean of what was measured, weighted by the number of
    trials, and of what is assumed, weighted by `ASSUMED_WEIGHT`: the first few trials cannot
    turn stopping off, or choose a signal, by chance. It follows from the records alone.

    Args:
        records: All trials of the study; at least one.
        rung: Index of the rung, from 0.
    """
    ended = [r for r in records if counts_for_front(r) and len(r.reports) > rung + 1]
    measured: dict[str, float] = {}
    if len(ended) >= LEAST_TRIALS:
        signals = signal_ranks([r.reports[rung] for r in ended], ended[0].quality_metric)
        end = mid_ranks(np.array([r.quality for r in ended]))
        measured = {name: correlation(ranks, end) for name, ranks in signals.items()}
    weight = len(ended) / (len(ended) + ASSUMED_WEIGHT) if measured else 0.0
    expected = {
        name: weight * measured.get(name, 0.0) + (1 - weight) * assumed
        for name, assumed in ASSUMED.items()
    }
    signal = max(expected, key=lambda name: expected[name])
    return RungEvidence(
        share=records[0].spec.rungs[rung],
        n_trials=len(ended),
        measured=measured,
        expected=expected,
        signal=signal,
        trusted=expected[signal] >= LEAST_CORRELATION,
    )


def signal_ranks(reports: Sequence[RungReport], metric: str) -> dict[str, Numbers]:
    """Return how each signal ranks reports of one rung: 1 is worst, equal ones share a mean rank.

    Args:
        reports: What trials measured at the same share of a training.
        metric: Name of the quality.
    """
    single = {
        "train_loss": mid_ranks(np.array([-r.train_loss for r in reports])),
        "quality": mid_ranks(np.array([r.metrics[metric] for r in reports])),
        "eval_loss": mid_ranks(np.array([-r.eval_loss for r in reports])),
    }
    blend = mid_ranks(np.sum(list(single.values()), axis=0))
    return {"blend": blend, **single}


def mid_ranks(values: Numbers) -> Numbers:
    """Return the ranks of numbers of shape (n,), from 1; equal ones get their mean rank.

    What is no number is worst.
    """
    known = np.where(np.isfinite(values), values, -math.inf)
    _, inverse, counts = np.unique(known, return_inverse=True, return_counts=True)
    ranks: Numbers = (np.cumsum(counts) - (counts - 1) / 2)[inverse]
    return ranks


def correlation(one: Numbers, other: Numbers) -> float:
    """Return the correlation of two lists of ranks; that with equal ranks alone is 0."""
    if np.ptp(one) == 0 or np.ptp(other) == 0:
        return 0.0
    return float(np.corrcoef(one, other)[0, 1])
