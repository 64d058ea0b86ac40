"""How soon could a strategy find a table's hypervolume, if its surrogate knew all other trainings?

    python experiments/optimizer_benchmark/foreseen.py --task sst2

Each row is predicted from all others of the table, as the surrogate of a search predicts it (the
Gaussian process is fitted to the whole table, each row then left out), and with the same ten rows
first the row with the largest expected gain is looked at, one after the other. No search knows
that much: what is shown is about what better predictions could bring.
"""

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import torch
from compare import HERE, MANY, RANDOM, mean_and_error, run, shares
from contestants import Rows, larger_is_better
from numpy.typing import NDArray
from table import read_table

from autopeft.study.strategies.expected_volume import ExpectedVolume
from autopeft.study.strategies.gain import fitted
from autopeft.study.strategies.outcome import Outcome

AT = (20, 30, 40, 60)


def left_out(rows: Rows, scores: NDArray[np.float64]) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return mean and deviation of each row's score by all others, noise included, (n,) each."""
    model: Any = fitted(rows.features, scores[:, None], "matern", 0)
    model.train()
    with torch.no_grad():
        (x,), y = model.train_inputs, model.train_targets
        prior = model.likelihood(model(x))
        inverse = torch.linalg.inv(prior.covariance_matrix)
        variance = 1 / inverse.diag()
        mean = y - variance * (inverse @ (y - prior.mean))
        scale = model.outcome_transform.stdvs.squeeze()
        center = model.outcome_transform.means.squeeze()
    return (mean * scale + center).numpy(), (variance.sqrt() * scale).numpy()


def searches(rows: Rows, seeds: int, trials: int) -> list[list[float]]:
    """Return for each order of rows the share of the hypervolume after each that is looked at."""
    pairs = list(zip(rows.quality, 10**rows.log_params, strict=True))
    values = larger_is_better(rows.table, pairs)
    outcome = Outcome.of(values[:, 0])
    mean, deviation = left_out(rows, outcome.scored(values[:, 0]))
    corner = [-position for position in rows.table.reference.position]
    found = []
    for seed in range(seeds):
        seen = rows.start(seed)
        while len(seen) < trials:
            left = rows.left(seen)
            steps = ExpectedVolume(values[seen, 0], values[seen, 1:], corner, outcome)
            gains = steps.of(mean[left], deviation[left], values[left, 1:])
            seen.append(int(left[gains.argmax()]))
        found.append(shares(rows, seen))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--task", default="sst2")
    parser.add_argument("--table", type=Path, help="default: TASK.jsonl beside this file")
    parser.add_argument("--seeds", type=int, default=20)
    options = parser.parse_args()
    torch.set_num_threads(1)
    path = options.table or HERE / f"{options.task}.jsonl"
    rows = Rows(read_table(path, options.task))
    orders = [run(path, options.task, RANDOM, seed, MANY)["curve"] for seed in range(options.seeds)]
    goal = float(np.mean([curve[-1] for curve in orders]))
    curves = searches(rows, options.seeds, max(AT))
    needed = [next((n for n, v in enumerate(c, 1) if v >= goal - 1e-9), None) for c in curves]
    reached = [n for n in needed if n is not None]
    print(", ".join(f"after {n}: {mean_and_error([c[n - 1] for c in curves])}" for n in AT))
    within = sum(n <= 40 for n in reached)
    print(
        f"{goal:.3f}, which random search has after {MANY}: {np.median(reached):.0f} trainings "
        f"({len(reached)} of {len(curves)} runs, {within} of them within 40)"
    )


if __name__ == "__main__":
    main()
