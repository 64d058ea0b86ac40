"""How fast samplers find the fronts of problems whose truth is known.

    python experiments/optimizer_benchmark/synthetic.py --seeds 10 --trials 60 \
        --to experiments/optimizer_benchmark/synthetic.json

For each problem, sampler and seed: the share of the largest possible hypervolume after each trial.
"""

import argparse
import json
import statistics
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import torch
from optuna.samplers import BaseSampler
from problems import Problem, all_problems, staircase

from autopeft import AutoPeftSampler

MakeSampler = Callable[[Problem, int], BaseSampler]


def samplers() -> dict[str, MakeSampler]:
    """Return what is compared, by name."""
    return {
        "random": lambda _, seed: optuna.samplers.RandomSampler(seed=seed),
        "tpe": lambda _, seed: optuna.samplers.TPESampler(seed=seed, multivariate=True, group=True),
        "nsga2": lambda _, seed: optuna.samplers.NSGAIISampler(seed=seed, population_size=16),
        "gp": lambda _, seed: optuna.samplers.GPSampler(seed=seed),
        "autopeft": lambda problem, seed: AutoPeftSampler(
            seed=seed, known_objectives=problem.known
        ),
        "autopeft, nothing known": lambda _, seed: AutoPeftSampler(seed=seed),
    }


def run(problem: Problem, make: MakeSampler, seed: int, trials: int) -> dict[str, Any]:
    """Run one study and return its hypervolume after each trial."""
    study = optuna.create_study(
        directions=["minimize"] * len(problem.reference), sampler=make(problem, seed)
    )
    started = time.process_time()
    study.optimize(problem.evaluate, n_trials=trials)
    seconds = time.process_time() - started
    values = np.array([trial.values for trial in study.trials])
    shares = [staircase(values[: n + 1], problem.reference) / problem.volume for n in range(trials)]
    return {"shares": shares, "seconds": seconds}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--problems", default=",".join(all_problems()))
    parser.add_argument("--samplers", default=";".join(samplers()), help="separated by ;")
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--trials", type=int, default=60)
    parser.add_argument("--to", type=Path)
    options = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    found = []
    for name in options.problems.split(","):
        problem = all_problems()[name]
        for sampler in options.samplers.split(";"):
            runs = [
                run(problem, samplers()[sampler], seed, options.trials)
                for seed in range(options.seeds)
            ]
            found.append({"problem": name, "sampler": sampler, "runs": runs})
            ends = [r["shares"][-1] for r in runs]
            halves = [r["shares"][options.trials // 2 - 1] for r in runs]
            error = statistics.stdev(ends) / len(ends) ** 0.5 if len(ends) > 1 else 0.0
            seconds = statistics.mean(r["seconds"] for r in runs) / options.trials
            print(
                f"{name:14} {sampler:24} half {statistics.mean(halves):.4f} "
                f"end {statistics.mean(ends):.4f} +- {error:.4f} {seconds:.2f} s a trial",
                flush=True,
            )
            if options.to:
                options.to.write_text(json.dumps(found) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
