"""The front of a study: its configurations compared by their mean qualities."""

import math
from collections.abc import Sequence

import numpy as np

from autopeft.study.objective import Objective, ReferencePoint
from autopeft.study.pareto import front, hypervolume
from autopeft.study.uncertainty import measured_configurations
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
