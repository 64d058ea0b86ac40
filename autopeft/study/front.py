"""The front of a study: its configurations compared by their mean qualities."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from autopeft.study.objective import Objective, ReferencePoint, counts_for_front
from autopeft.study.pareto import Points, front, hypervolume
from autopeft.study.uncertainty import Measured, measured_configurations
from autopeft.trials.trial import TrialRecord


def pareto_front(
    records: Sequence[TrialRecord], objectives: Sequence[Objective]
) -> list[TrialRecord]:
    """Return the configurations that no other dominates, cheapest first.

    A configuration is compared by its mean quality over its complete trials, and returned as the
    first of them.
    """
    found = measured_configurations(records)
    if not found:
        return []
    values = np.array([m.compared(objectives) for m in found])
    chosen = [found[i].record for i in front(values)]
    return sorted(chosen, key=lambda r: (r.cost.adapter_params, r.number))


def front_hypervolume(
    records: Sequence[TrialRecord], objectives: Sequence[Objective], reference: ReferencePoint
) -> float:
    """Return the hypervolume of the configurations' means, as a share of the largest possible."""
    found = measured_configurations(records)
    if not found:
        return 0.0
    points = np.stack([reference.scaled(m.compared(objectives)) for m in found])
    return hypervolume(points, reference.position) / math.prod(reference.position)


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far a search was after a trial.

    Attributes:
        n_trials: Trials so far, by number.
        trainings: Full trainings that they are worth.
        hypervolume: Hypervolume of their front.
    """

    n_trials: int
    trainings: float
    hypervolume: float


def hypervolume_history(
    records: Sequence[TrialRecord], objectives: Sequence[Objective], reference: ReferencePoint
) -> list[Progress]:
    """Return the hypervolume after each trial, in the order of their numbers.

    The same as `front_hypervolume` of each beginning of the study; it may fall where a repeat shows
    that a configuration was lucky.
    """
    trainings, volume = 0.0, 0.0
    known: dict[str, Measured] = {}
    points: dict[str, Points] = {}
    history = []
    for n_trials, record in enumerate(sorted(records, key=lambda r: r.number), start=1):
        trainings += record.fidelity
        if counts_for_front(record):
            digest = record.spec.configuration.digest
            before = known[digest].trials if digest in known else ()
            known[digest] = Measured((*before, record))
            points[digest] = reference.scaled(known[digest].compared(objectives))
            outer = _undominated(np.stack(list(points.values())))
            volume = hypervolume(outer, reference.position) / math.prod(reference.position)
        history.append(Progress(n_trials=n_trials, trainings=trainings, hypervolume=volume))
    return history


def _undominated(points: Points) -> Points:
    """Return the points of shape (n, m) that none dominates, of equal ones the first.

    The one with the smallest sum is never dominated; what it dominates is dropped before the next
    is looked for, so that a thousand points with a short front take a few passes.
    """
    chosen = []
    while len(points):
        best = points[points.sum(axis=1).argmin()]
        chosen.append(best)
        points = points[~(points >= best).all(axis=1)]
    return np.stack(chosen)
