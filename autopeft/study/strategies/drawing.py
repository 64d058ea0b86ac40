"""Random and quasi-random candidates: valid, within the budget, not yet tried."""

from collections.abc import Iterator, Sequence

import numpy as np

from autopeft.cost.candidates import CandidateSpace
from autopeft.space.hyperparameter import Assignment
from autopeft.trials.trial import TrialRecord


def generator(seed: int, number: int) -> np.random.Generator:
    """Return the random generator of a trial: the same for a seed and a number."""
    return np.random.default_rng(np.random.SeedSequence([seed, number]))


def tried_digests(records: Sequence[TrialRecord]) -> set[str]:
    """Return the digests of all configurations that have a trial."""
    return {record.spec.configuration.digest for record in records}


def sobol_points(dimension: int, seed: int) -> Iterator[list[float]]:
    """Yield the points of a scrambled Sobol sequence in the unit cube, without end."""
    from scipy.stats import qmc

    sampler = qmc.Sobol(dimension, scramble=True, rng=np.random.default_rng(seed))
    while True:
        yield from sampler.random(64).tolist()


def untried_sobol(
    space: CandidateSpace, seed: int, tried: set[str], *, most_draws: int = 4096
) -> Iterator[Assignment]:
    """Yield fitting points of a Sobol sequence whose configurations are not in `tried`.

    Args:
        space: The space.
        seed: Seed of the scrambling.
        tried: Digests to leave out; what is yielded is not yielded again.
        most_draws: Points of the sequence to look at.
    """
    seen = set(tried)
    points = sobol_points(space.space.dimension, seed)
    for _ in range(most_draws):
        assignment = space.at(next(points))
        if assignment is None:
            continue
        digest = space.configuration(assignment).digest
        if digest not in seen:
            seen.add(digest)
            yield assignment
