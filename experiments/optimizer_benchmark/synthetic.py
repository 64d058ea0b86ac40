"""How fast samplers find the fronts of problems whose truth is known.

    python experiments/optimizer_benchmark/synthetic.py --seeds 10 --trials 60 \
        --to experiments/optimizer_benchmark/synthetic.json

For each problem, sampler and seed: the share of the largest possible hypervolume after each trial,
and when it was what random search has after 200. Runs that the file holds are not made again.
"""

import argparse
import json
import math
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
from plain import PlainNehvi
from problems import Problem, all_problems, staircase

from autopeft import AutoPeftSampler

RANDOM = "random"
#: Trials of the random search that others are measured by.
MANY = 200
UNKNOWN = "autopeft, nothing known"
MakeSampler = Callable[[Problem, int], BaseSampler]


def samplers() -> dict[str, MakeSampler]:
    """Return what is compared, by name."""
    return {
        RANDOM: lambda _, seed: optuna.samplers.RandomSampler(seed=seed),
        "tpe": lambda _, seed: optuna.samplers.TPESampler(seed=seed, multivariate=True, group=True),
        "nsga2": lambda _, seed: optuna.samplers.NSGAIISampler(seed=seed, population_size=16),
        "gp": lambda _, seed: optuna.samplers.GPSampler(seed=seed),
        "plain": lambda problem, seed: PlainNehvi(problem.space, problem.reference, seed),
        "autopeft": lambda problem, seed: AutoPeftSampler(
            seed=seed, known_objectives=problem.known, reference=problem.reference
        ),
        "autopeft, saas": lambda problem, seed: AutoPeftSampler(
            seed=seed,
            known_objectives=problem.known,
            reference=problem.reference,
            surrogate="saas",
        ),
        UNKNOWN: lambda _, seed: AutoPeftSampler(seed=seed),
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
    return {"shares": [round(share, 5) for share in shares], "seconds": round(seconds, 1)}


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
    found = read(options.to)
    problems = {name: all_problems()[name] for name in options.problems.split(",")}
    # Seeds come first, so that what is interrupted has some of everything.
    for seed in range(options.seeds):
        for problem in problems.values():
            for sampler in options.samplers.split(";"):
                runs = found.setdefault(f"{problem.name}: {sampler}", {})
                if str(seed) not in runs:
                    trials = MANY if sampler == RANDOM else options.trials
                    runs[str(seed)] = run(problem, samplers()[sampler], seed, trials)
                    if options.to:
                        options.to.write_text(as_text(found), encoding="utf-8")
    for name, runs in sorted(found.items()):
        many = found.get(f"{name.split(':')[0]}: {RANDOM}", {})
        goal = statistics.mean([r["shares"][-1] for r in many.values()] or [math.inf])
        print(line(name, list(runs.values()), options.trials, goal))


def read(path: Path | None) -> dict[str, dict[str, Any]]:
    """Return the runs that a file holds, by problem and sampler, then by seed."""
    if path is None or not path.exists():
        return {}
    return dict(json.loads(path.read_text(encoding="utf-8")))


def as_text(found: dict[str, dict[str, Any]]) -> str:
    """Return runs as JSON with a line for each."""
    entries = [
        f"{json.dumps(name)}: {{\n"
        + ",\n".join(f"  {json.dumps(seed)}: {json.dumps(run)}" for seed, run in runs.items())
        + "\n}"
        for name, runs in found.items()
    ]
    return "{\n" + ",\n".join(entries) + "\n}\n"


def line(name: str, runs: list[dict[str, Any]], trials: int, goal: float) -> str:
    """Return the mean of runs after half of the trials and all, when they got to the goal."""
    halves, ends = ([r["shares"][i - 1] for r in runs] for i in (trials // 2, trials))
    error = statistics.stdev(ends) / len(ends) ** 0.5 if len(ends) > 1 else 0.0
    seconds = statistics.mean(r["seconds"] / len(r["shares"]) for r in runs)
    needed = [n for r in runs if (n := trials_to(r["shares"], goal)) is not None]
    reached = f"{statistics.median(needed):g} ({len(needed)} of {len(runs)})" if needed else "never"
    return (
        f"{name:40} after {trials // 2} {statistics.mean(halves):.3f}, after {trials} "
        f"{statistics.mean(ends):.3f} +- {error:.3f}, random's {MANY} ({goal:.3f}) after "
        f"{reached}, {seconds:.2f} s a trial"
    )


def trials_to(shares: list[float], goal: float) -> int | None:
    """Return the trials after which a share was reached."""
    return next((n for n, share in enumerate(shares, 1) if share >= goal), None)


if __name__ == "__main__":
    main()
