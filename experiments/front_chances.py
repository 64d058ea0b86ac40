"""Is a configuration on the front as often as its chance says? Simulated, with the truth known.

    python experiments/front_chances.py

Studies of sixteen configurations: costs uniform on their logarithmic axis, true qualities that
rise by 0.1 along it with a standard deviation of 0.05 around the line. A training adds normal noise
whose standard deviation is 0.5 to 1.5 times the evaluation's error of 0.017, which is all that is
known of it beforehand. The members of the measured front get further seeds.
"""

import argparse
import itertools
import math
from dataclasses import dataclass

import numpy as np

from autopeft.study.pareto import front
from autopeft.study.uncertainty import PRIOR_DEGREES, front_probabilities

N, ERROR = 16, 0.017
BINS = (0.0, 0.05, 0.2, 0.4, 0.6, 0.8, 0.95, 1.0)


@dataclass(frozen=True)
class Outcome:
    """One study: chances, the true and the measured front, and what `best` costs."""

    chances: np.ndarray
    true: np.ndarray
    measured: np.ndarray
    #: Mean quality that was measured for the top of the front, less its true quality.
    flattery: float


def members(quality: np.ndarray, cost: np.ndarray) -> np.ndarray:
    """Return a mask of the front, shape (n,)."""
    mask = np.zeros(len(cost), dtype=bool)
    mask[front(np.column_stack([-quality, cost]))] = True
    return mask


def study(rng: np.random.Generator, n_seeds: int) -> Outcome:
    """Simulate a study whose front members have `n_seeds` trainings."""
    cost = np.sort(rng.uniform(0, 1, N))
    true = 0.6 + 0.1 * cost + 0.05 * rng.standard_normal(N)
    noise = ERROR * np.exp(rng.uniform(math.log(0.5), math.log(1.5)))
    seeds = true[:, None] + noise * rng.standard_normal((N, n_seeds))
    again = members(seeds[:, 0], cost)
    kept = np.where(again[:, None] | (np.arange(n_seeds) == 0), seeds, np.nan)
    count, mean = np.isfinite(kept).sum(axis=1), np.nanmean(kept, axis=1)
    degrees = int((count - 1).sum())
    squares = float(np.nansum((kept - mean[:, None]) ** 2))
    variance = (PRIOR_DEGREES * ERROR**2 + squares) / (PRIOR_DEGREES + degrees)
    errors = np.sqrt(variance / count)
    chances = front_probabilities(mean, errors, cost[:, None], PRIOR_DEGREES + degrees)
    top = int(mean.argmax())
    return Outcome(chances, members(true, cost), members(mean, cost), mean[top] - true[top])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--studies", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    for n_seeds in (1, 2, 3):
        rng = np.random.default_rng([options.seed, n_seeds])
        found = [study(rng, n_seeds) for _ in range(options.studies)]
        chance = np.concatenate([o.chances for o in found])
        true = np.concatenate([o.true for o in found])
        measured = np.concatenate([o.measured for o in found])
        print(f"{n_seeds} seed(s) for each member of the front")
        for low, high in itertools.pairwise(BINS):
            chosen = (chance > low) & (chance <= high) if low else chance <= high
            print(
                f"  chance {low:.2f} to {high:.2f}: mean {chance[chosen].mean():.3f}, "
                f"on the front {true[chosen].mean():.3f} of {chosen.sum():,}"
            )
        print(
            f"  mean squared error of the chances {np.mean((chance - true) ** 2):.4f}, of the "
            f"measured front {np.mean(measured != true):.4f}; measured less true quality of the "
            f"top {np.mean([o.flattery for o in found]):.4f}"
        )


if __name__ == "__main__":
    main()
