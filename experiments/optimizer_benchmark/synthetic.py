"""How fast samplers find the fronts of problems whose truth is known.

    python experiments/optimizer_benchmark/synthetic.py --seeds 10 --trials 60 \
        --to experiments/optimizer_benchmark/synthetic.json

For each problem, sampler and seed: the share of the largest possible hypervolume after each trial.
Runs that the file holds are not made again.
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
from plain import PlainNehvi
from problems import Problem, all_problems, staircase

from autopeft import AutoPeftSampler

UNKNOWN = "autopeft, nothing known"
MakeSampler = Callable[[Problem, int], BaseSampler]


def samplers() -> dict[str, MakeSampler]:
    """Return what is compared, by name."""
    return {
        "random": lambda _, seed: optuna.samplers.RandomSampler(seed=seed),
        "tpe": lambda _, seed: optuna.samplers.TPESampler(seed=seed, multivariate=True, group=True),
        "nsga2": lambda _, seed: optuna.samplers.NSGAIISampler(seed=seed, population_size=16),
        "gp": lambda _, seed: optuna.samplers.GPSampler(seed=seed),
        "plain": lambda problem, seed: PlainNehvi(problem.space, problem.reference, seed),
        "autopeft": lambda problem, seed: AutoPeftSampler(
            seed=seed, known_objectives=problem.known, reference=problem.reference
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
                    runs[str(seed)] = run(problem, samplers()[sampler], seed, options.trials)
                    if options.to:
                        options.to.write_text(as_text(found), encoding="utf-8")
    for name, runs in sorted(found.items()):
        print(line(name, list(runs.values())))


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


def line(name: str, runs: list[dict[str, Any]]) -> str:
    """Return the mean of runs after half of the trials and at the end, and what a trial took."""
    n = len(runs[0]["shares"])
    halves, ends = ([r["shares"][i - 1] for r in runs] for i in (n // 2, n))
    error = statistics.stdev(ends) / len(ends) ** 0.5 if len(ends) > 1 else 0.0
    seconds = statistics.mean(r["seconds"] for r in runs) / n
    return (
        f"{name:40} after {n // 2} {statistics.mean(halves):.3f}, after {n} "
        f"{statistics.mean(ends):.3f} +- {error:.3f}, {seconds:.2f} s a trial, {len(runs)} seeds"
    )


if __name__ == "__main__":
    main()
