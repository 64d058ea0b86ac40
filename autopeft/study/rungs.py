"""Where trials report, who may be stopped there, and what a search then costs at least."""

import math
from collections.abc import Sequence
from typing import Literal, get_args

import numpy as np

from autopeft.errors import UnknownNameError

Fidelity = Literal["asha", "hyperband", "shortlist", "none"]
FIDELITIES: tuple[str, ...] = get_args(Fidelity)

#: Ratio of the training at one rung to the one before, and one over the share that goes on where
#: nobody waits for a rung to fill.
ETA = 3

#: A short list has at least so many trials, if so many were started: a front has about as many
#: members, and what a rung tells of them is not exact.
LEAST_KEPT = 10

#: By the number of its rungs, at each but the end, one over the share that goes on in a short list.
#: A trial that goes on from 1/9 costs twice more what it has cost so far, so few do; what 1/3 tells
#: is better, but not so good that much may be left out by it. A rung before these tells little.
GOING_ON = {3: (5, 2), 4: (3, 3, 2)}

#: Where a rung before the usual ones comes after at least so many steps, trials are looked at there
#: too, up to `_MOST_RUNGS`: of trainings of 5,000 steps that saved up to half of the training
#: (docs/fidelity.md); after 7 steps a rung says next to nothing.
LEAST_STEPS = 100

_RUNGS = {"none": 1, "asha": 2, "hyperband": 3, "shortlist": 3}
_MOST_RUNGS = {**_RUNGS, "asha": 4, "shortlist": 4}

#: Trials of Hyperband's three brackets, from the one that stops at every rung to the one that
#: stops at none: for a full training of nine units, the table of Li et al. 2018 (arXiv 1603.06560).
_BRACKETS = (9, 5, 3)

#: Multiples of this, without their whole parts, fill 0-1 as evenly as can be at any length.
_GOLDEN = (math.sqrt(5) - 1) / 2


def rung_shares(fidelity: str, n_steps: int) -> tuple[float, ...]:
    """Return the shares of a full training after which trials report; the last is 1.

    `asha` and `shortlist` have earlier rungs too where trainings are long (`LEAST_STEPS`).

    Args:
        fidelity: One of `FIDELITIES`.
        n_steps: Optimiser steps of a full training.

    Raises:
        UnknownNameError: If the name is not one of `FIDELITIES`.
    """
    if fidelity not in _RUNGS:
        raise UnknownNameError("fidelity", fidelity, FIDELITIES)
    n_rungs = _RUNGS[fidelity]
    while n_rungs < _MOST_RUNGS[fidelity] and n_steps >= LEAST_STEPS * ETA**n_rungs:
        n_rungs += 1
    return tuple(float(ETA ** (i + 1 - n_rungs)) for i in range(n_rungs))


def bracket(number: int) -> int:
    """Return the first rung at which Hyperband may stop a trial.

    The brackets take turns by the trial's number alone, so that a resumed study goes on alike.
    """
    position = (number * _GOLDEN) % 1.0 * sum(_BRACKETS)
    return int(np.searchsorted(np.cumsum(_BRACKETS), position, side="right"))


def kept_at_least(n_trials: int) -> int:
    """Return how many of the trials at a rung go on."""
    return math.ceil(n_trials / ETA)


def kept_of(n_trials: int, rung: int, n_rungs: int) -> int:
    """Return how many of the trials at a rung a short list keeps, if no front has more members.

    Args:
        n_trials: Trials that have reached the rung.
        rung: Index of the rung, from 0; not that of the end.
        n_rungs: Rungs of a trial, the end among them.
    """
    return min(n_trials, max(LEAST_KEPT, math.ceil(n_trials / GOING_ON[n_rungs][rung])))


def full_trainings(fidelity: str, n_trials: int, shares: Sequence[float]) -> tuple[float, float]:
    """Return how many full trainings a search with rungs at `shares` costs, at least and at most.

    At least: at every rung as many trials stop as the rule wants to stop. At most: none stops,
    because all are on the front or no signal is trusted. A short list stops the others whatever
    the signal, and both are what it takes when no front has more members than it has places.
    """
    if fidelity == "none":
        return float(n_trials), float(n_trials)
    if fidelity == "shortlist":
        counts = [n_trials]
        for rung in range(len(shares) - 1):
            counts.append(kept_of(counts[-1], rung, len(shares)))
        return (_trained(counts, shares),) * 2
    brackets = _BRACKETS if fidelity == "hyperband" else (1,)
    least = 0.0
    for first, weight in enumerate(brackets):
        going = [ETA ** -max(0, rung - first) for rung in range(len(shares))]
        least += n_trials * weight / sum(brackets) * _trained(going, shares)
    return least, float(n_trials)


def _trained(going: Sequence[float], shares: Sequence[float]) -> float:
    """Return the full trainings of so many trials on their way to each of the shares."""
    steps = np.diff([0.0, *shares])
    return float(np.dot(going, steps))
