"""The best configurations of earlier studies as points of this search, to begin with."""

import math
from collections.abc import Iterator, Sequence
from itertools import zip_longest

import numpy as np
from numpy.typing import NDArray

from autopeft.cost.candidates import CandidateSpace
from autopeft.methods.compose import count_parameters
from autopeft.methods.registry import catalogue
from autopeft.models.spec import ModelSpec
from autopeft.space.catalogue import shared_learning_rate
from autopeft.space.configuration import Component, Configuration, TrainingParams, Value
from autopeft.space.hyperparameter import Assignment, Choice, FloatRange, Hyperparameter, IntRange
from autopeft.study.objective import Objective, compared
from autopeft.study.pareto import dominates, front, hypervolume
from autopeft.study.past import PastTrial
from autopeft.study.signals import correlation, mid_ranks
from autopeft.study.strategies.placing import place
from autopeft.study.strategies.portfolio import KnownComponent, KnownConfiguration
from autopeft.study.strategies.source import Source, Sources
from autopeft.trials.trial import TrialRecord

#: Origin, in its notes, of a trial of such a point.
WARM = "warm"
#: Fewer trials than this do not show that studies rank them wrong.
LEAST_TRIALS = 3
#: How far beyond the worst of a front its hypervolume is measured from, on either axis.
_MARGIN = 0.1


def warm_points(sources: Sources, space: CandidateSpace) -> list[Assignment]:
    """Return the points of the fronts of all sources by turns, what adds most first.

    A front is that of what a source's model expects of its trials, which is less a matter of luck
    than what they measured. What the space does not hold is left out.
    """
    columns = [list(_placed(source, space)) for source in sources.each]
    points = [point for row in zip_longest(*columns) for point in row if point is not None]
    by_digest = {space.configuration(point).digest: point for point in reversed(points)}
    return list(reversed(by_digest.values()))


def goes_on(
    records: Sequence[TrialRecord], objectives: Sequence[Objective], sources: Sources
) -> bool:
    """Tell whether more points of earlier studies are worth a trial.

    They are as long as none of those that were tried failed, or is dominated by a trial of another
    origin, and as the studies do not expect trials in the wrong order: one of something else
    should cost a trial, not half of the start.
    """
    values: dict[bool, list[NDArray[np.float64]]] = {True: [], False: []}
    for record in records:
        warm = record.notes.get("origin") == WARM
        if warm and record.status.failed:
            return False
        if record.result is not None and record.quality is not None:
            values[warm].append(np.array(compared(record, objectives)))
    if _misled(records, sources):
        return False
    return not any(dominates(cold, warm) for cold in values[False] for warm in values[True])


def _misled(records: Sequence[TrialRecord], sources: Sources) -> bool:
    """Tell whether the studies rank the trials so far worse than chance would."""
    ended = [r for r in records if r.result is not None and r.quality is not None]
    if len(ended) < LEAST_TRIALS:
        return False
    points, shares = [r.assignment for r in ended], [r.fidelity for r in ended]
    expected = mid_ranks(sources.expected(points, shares).mean(axis=1))
    found = mid_ranks(np.array([r.quality for r in ended]))
    return correlation(expected, found, np.ones(len(ended))) < 0


def _placed(source: Source, space: CandidateSpace) -> Iterator[Assignment]:
    for trial in _front(source):
        configuration = trial.configuration
        layers = {layer for part in configuration.components for layer in part.layers}
        known = _as_known(configuration, space.spec)
        here = stretched(layers, source.study.n_layers, space.spec.n_layers)
        found = place(known, space, layers=here)
        if found is not None:
            yield found.point


def _front(source: Source) -> list[PastTrial]:
    """Return the trials of a source's front, each adding most to those before it."""
    trials = source.study.trials
    sizes = [math.log10(max(trial.adapter_params, 1)) for trial in trials]
    values = np.column_stack([-source.expected_of_trials(), sizes])
    # Repeats expect the same of the same size, and only the first of them is on the front.
    left = front(values)
    reference = (values[left].max(axis=0) + _MARGIN).tolist()
    chosen: list[int] = []
    while left:
        best = max(left, key=lambda i: hypervolume(values[[*chosen, i]], reference))
        chosen.append(best)
        left.remove(best)
    return [trials[i] for i in chosen]


def stretched(layers: set[int], n_layers: int, n_here: int) -> frozenset[int]:
    """Return the layers of a model of `n_here` layers that lie where others lie in `n_layers`.

    At least one, if there is one.
    """
    same = {i for i in range(n_here) if int((i + 0.5) / n_here * n_layers) in layers}
    return frozenset(same or {int((i + 0.5) / n_layers * n_here) for i in layers})


def _as_known(configuration: Configuration, spec: ModelSpec) -> KnownConfiguration:
    """Return a configuration as an entry that can be placed in a space, as portfolios' are."""
    entries = [catalogue()[part.method] for part in configuration.components]
    default = shared_learning_rate(entry.learning_rate for entry in entries)
    return KnownConfiguration(
        about="",
        source="",
        multiple=configuration.training.learning_rate / default,
        components=tuple(_known_part(part, spec) for part in configuration.components),
    )


def _known_part(part: Component, spec: ModelSpec) -> KnownComponent:
    domains = catalogue()[part.method].domains
    sizes = {name: v for name, v in part.params if _is_size(part, name, domains[name], spec)}
    settings = {name: value for name, value in part.params if name not in sizes}
    targets = "+".join(part.targets)
    return KnownComponent(method=part.method, targets=targets, sizes=sizes, settings=settings)


def _is_size(part: Component, name: str, domain: Hyperparameter, spec: ModelSpec) -> bool:
    """Tell whether less of a setting takes fewer parameters, so that a budget may shrink it."""
    if isinstance(domain, Choice) or not isinstance(domain, IntRange | FloatRange):
        return False
    layers = tuple(range(spec.n_layers))

    def count(value: Value) -> int:
        params = tuple((n, value if n == name else v) for n, v in part.params)
        one = Component(method=part.method, targets=part.targets, layers=layers, params=params)
        training = TrainingParams(learning_rate=1.0)
        return count_parameters(Configuration(components=(one,), training=training), spec)

    return count(domain.low) != count(domain.high)
