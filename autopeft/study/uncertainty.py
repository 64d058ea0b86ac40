"""How sure a front is: means over seeds, their standard errors, chances of being on it."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from autopeft.study.objective import Objective, counts_for_front
from autopeft.trials.trial import TrialRecord

#: Quality to the standard error that its rows alone give it.
EvaluationError = Callable[[float], float]

#: Before any configuration has a second seed, trainings are taken to differ by as much as the
#: evaluation's own error. This is worth so many degrees of freedom beside what seeds show: few
#: enough to be overruled, enough that two equal accuracies do not pass for no noise at all.
PRIOR_DEGREES = 2
#: Draws from the posterior of the means; a probability is then right to 0.01.
DRAWS = 2_000


@dataclass(frozen=True, slots=True, kw_only=True)
class SeedVariance:
    """Variance of quality between trainings of one configuration.

    Attributes:
        squares: Sum of the squared distances from the configurations' means.
        degrees: Trainings less configurations: degrees of freedom, 0 if none was repeated.
    """

    squares: float
    degrees: int

    @property
    def variance(self) -> float | None:
        """The variance, `None` if no configuration was repeated."""
        return self.squares / self.degrees if self.degrees else None


@dataclass(frozen=True, slots=True)
class Measured:
    """A configuration with its complete trainings at full fidelity.

    Attributes:
        trials: The trainings, by number; the first stands for the configuration.
    """

    trials: tuple[TrialRecord, ...]

    @property
    def record(self) -> TrialRecord:
        """The training that stands for the configuration."""
        return self.trials[0]

    @property
    def qualities(self) -> list[float]:
        """Quality by seed."""
        return [r.quality for r in self.trials if r.quality is not None]

    @property
    def mean(self) -> float:
        """Mean quality over the seeds."""
        return math.fsum(self.qualities) / len(self.qualities)

    def compared(self, objectives: Sequence[Objective]) -> list[float]:
        """Return the values on the comparison scale, the quality as the mean."""
        return [o.minimised(o.cost(self.record.cost) if o.known else self.mean) for o in objectives]


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """What is known of a configuration's quality.

    Attributes:
        measured: The configuration.
        error: Standard error of the mean, between seeds. Without any repeat in the study nothing is
            known of it but the evaluation's own error, which then stands here.
        evaluation_error: Standard error that the choice of the validation rows gives the mean. It
            is common to all configurations, so comparisons leave it out.
        probability: Chance that the configuration is on the front, in 0-1.
    """

    measured: Measured
    error: float
    evaluation_error: float
    probability: float

    @property
    def number(self) -> int:
        """Number of the trial that stands for the configuration."""
        return self.measured.record.number

    @property
    def n_seeds(self) -> int:
        """Number of complete trainings."""
        return len(self.measured.trials)


def measured_configurations(records: Sequence[TrialRecord]) -> list[Measured]:
    """Return the configurations with a complete training, in the order of their first ones."""
    grouped: dict[str, list[TrialRecord]] = {}
    for record in sorted(records, key=lambda r: r.number):
        if counts_for_front(record):
            grouped.setdefault(record.spec.configuration.digest, []).append(record)
    return [Measured(tuple(trials)) for trials in grouped.values()]


def seed_variance(records: Sequence[TrialRecord]) -> SeedVariance:
    """Return the variance of quality between seeds, pooled over all configurations.

    Repeats are few, so that one configuration's own variance would say nothing; what they share is
    the task, the rows and the length of the training.

    Args:
        records: Trials; complete ones at full fidelity count.
    """
    found = measured_configurations(records)
    squares = math.fsum((q - m.mean) ** 2 for m in found for q in m.qualities)
    return SeedVariance(squares=squares, degrees=sum(len(m.trials) - 1 for m in found))


def estimates(
    records: Sequence[TrialRecord],
    objectives: Sequence[Objective],
    evaluation_error: EvaluationError,
) -> list[Estimate]:
    """Return what is known of each configuration with a complete training.

    Args:
        records: All trials.
        objectives: What is improved.
        evaluation_error: Quality to the standard error that its rows alone give it.
    """
    found = measured_configurations(records)
    if not found:
        return []
    pooled = seed_variance(records)
    degrees = PRIOR_DEGREES + pooled.degrees
    of_rows = [evaluation_error(m.mean) for m in found]
    errors = [
        math.sqrt((PRIOR_DEGREES * e**2 + pooled.squares) / degrees / len(m.trials))
        for m, e in zip(found, of_rows, strict=True)
    ]
    costs = [[o.cost(m.record.cost) for o in objectives if o.known] for m in found]
    chances = front_probabilities(
        np.array([m.mean for m in found]), np.array(errors), np.array(costs), degrees
    )
    return [
        Estimate(measured=m, error=error, evaluation_error=e, probability=chance)
        for m, error, e, chance in zip(found, errors, of_rows, chances.tolist(), strict=True)
    ]


def front_probabilities(
    means: NDArray[np.float64],
    errors: NDArray[np.float64],
    costs: NDArray[np.float64],
    degrees: int,
) -> NDArray[np.float64]:
    """Return the chance of each configuration to be on the front, shape (n,).

    A share of draws: true qualities around the means (a flat prior), with one draw of the common
    variance for all of them, so that each follows a t distribution; costs are exact. The same
    arguments give the same chances.

    Args:
        means: Mean qualities, shape (n,); larger is better.
        errors: Their standard errors, shape (n,).
        costs: Known objectives, shape (n, c); smaller is better.
        degrees: Degrees of freedom of the common variance.
    """
    rng = np.random.default_rng(0)
    spread = np.sqrt(degrees / rng.chisquare(degrees, size=(DRAWS, 1)))
    drawn = means + errors * spread * rng.standard_normal((DRAWS, len(means)))
    by_one = costs.shape[1] == 1
    beaten = _beaten_by_one_cost(drawn.T, costs[:, 0]) if by_one else _beaten(drawn.T, costs)
    chances: NDArray[np.float64] = 1.0 - beaten.mean(axis=1)
    return chances


def _beaten(drawn: NDArray[np.float64], costs: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Tell in which draws each configuration is dominated, shape (n, draws).

    Of configurations that are equal in all the first is on the front, as in `pareto.front`.
    """
    numbers = np.arange(len(drawn))
    beaten = np.zeros(drawn.shape, dtype=bool)
    for i in numbers:
        cheaper = (costs <= costs[i]).all(axis=1) & (numbers != i)
        wins_ties = cheaper & ((costs < costs[i]).any(axis=1) | (numbers < i))
        beaten[i] = (drawn[cheaper] > drawn[i]).any(axis=0)
        beaten[i] |= (drawn[wins_ties] == drawn[i]).any(axis=0)
    return beaten


def _beaten_by_one_cost(
    drawn: NDArray[np.float64], costs: NDArray[np.float64]
) -> NDArray[np.bool_]:
    """Return the same for a single cost, of shape (n,): in one pass from the cheapest on.

    What comes before in the order of costs, and of numbers where these are equal, wins ties; what
    comes after at the same cost has to be better.
    """
    order = np.argsort(costs, kind="stable")
    best = np.maximum.accumulate(drawn[order], axis=0)
    last = np.searchsorted(costs[order], costs[order], side="right") - 1
    beaten = np.empty(drawn.shape, dtype=bool)
    beaten[order] = best[last] > drawn[order]
    beaten[order[1:]] |= best[:-1] >= drawn[order[1:]]
    return beaten
