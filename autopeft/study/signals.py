"""What trials can be compared by at a rung, as ranks."""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from autopeft.tasks.metrics import METRICS
from autopeft.trials.trial import RungReport

Numbers = NDArray[np.float64]

#: The signals, of which each is larger for a better trial: the mean of the ranks of both losses,
#: and of a gradual quality, at this rung and all before; the training loss, the quality and the
#: loss on the validation rows.
SIGNALS = ("blend", "train_loss", "quality", "eval_loss")
#: What a gradual quality counts in the blend: as much as both losses.
QUALITY_WEIGHT = 2.0


def signal_ranks(
    curves: Sequence[Sequence[RungReport]], metric: str, weights: Numbers | None = None
) -> dict[str, Numbers]:
    """Return how each signal ranks trials at a rung: 1 is worst, equal ones share a mean rank.

    Early measurements are noisy, and the noise of one rung is hardly that of the next. So the
    blend takes what the rungs before have shown as well, each counting as much. Of classes and
    texts it takes losses alone: they move with every step, an accuracy only where a row changes
    sides, which tells less early and is mostly luck where rows are few. A correlation moves with
    every step too, and the squared error of numbers falls at first because their mean is learned,
    of which a correlation knows nothing.

    Args:
        curves: What each trial measured up to the rung, first to last; equally many of each.
        metric: Name of the quality, one of `METRICS`.
        weights: How many trials each curve stands for; `None` if for one.
    """
    rungs = [_single_ranks(reports, metric, weights) for reports in zip(*curves, strict=True)]
    weights_in_blend = {"train_loss": 1.0, "eval_loss": 1.0}
    if METRICS[metric].gradual:
        weights_in_blend["quality"] = QUALITY_WEIGHT
    blend = np.sum(
        [weight * single[n] for single in rungs for n, weight in weights_in_blend.items()], axis=0
    )
    return {"blend": mid_ranks(blend, weights), **rungs[-1]}


def _single_ranks(
    reports: Sequence[RungReport], metric: str, weights: Numbers | None
) -> dict[str, Numbers]:
    """Return how each signal but the blend ranks reports of one rung."""
    return {
        "train_loss": mid_ranks(np.array([-r.train_loss for r in reports]), weights),
        "quality": mid_ranks(np.array([r.metrics[metric] for r in reports]), weights),
        "eval_loss": mid_ranks(np.array([-r.eval_loss for r in reports]), weights),
    }


def mid_ranks(values: Numbers, weights: Numbers | None = None) -> Numbers:
    """Return the ranks of numbers of shape (n,), from 1; equal ones get their mean rank.

    What is no number is worst. A number of weight w is ranked like w equal numbers.
    """
    known = np.where(np.isfinite(values), values, -math.inf)
    _, inverse = np.unique(known, return_inverse=True)
    counts = np.bincount(inverse, weights)
    ranks: Numbers = (np.cumsum(counts) - (counts - 1) / 2)[inverse]
    return ranks


def correlation(one: Numbers, other: Numbers, weights: Numbers) -> float:
    """Return the weighted correlation of two lists of numbers; 0 if all in one are equal."""
    if np.ptp(one) == 0 or np.ptp(other) == 0:
        return 0.0
    covariance = np.cov(one, other, aweights=weights, ddof=0)
    return float(covariance[0, 1] / math.sqrt(covariance[0, 0] * covariance[1, 1]))
