"""Does the Bayesian strategy find a better front than random search with as many trials?

Both strategies search the default space on a part of SST-2 with the packaged encoder, from the same
seeds, with the same early stopping. The answer is the hypervolume of the front, as a ratio.

    python experiments/bayesian_vs_random.py --data ../shared/data/sst2 --jobs 2
"""

import argparse
import json
import os
import statistics
import tempfile
from concurrent.futures import ProcessPoolExecutor
from itertools import product
from multiprocessing import get_context
from pathlib import Path
from typing import Any

STRATEGIES = ("bayesian", "random")


def run(strategy: str, seed: int, data: Path, trials: int, rows: int) -> dict[str, Any]:
    """Run one search in this process and return what it found."""
    os.environ["MLFLOW_ENABLE_SYSTEM_METRICS_LOGGING"] = "false"
    import autopeft
    from autopeft.study.front import front_hypervolume

    with tempfile.TemporaryDirectory() as folder:
        result = autopeft.search(
            study=Path(folder) / "studies" / "study",
            task="sst2",
            data=data,
            model="minilm",
            budget="1%",
            trials=trials,
            train_rows=rows,
            eval_rows=872,
            epochs=1.0,
            head_learning_rate=0.02,
            strategy=strategy,
            seed=seed,
            repeats=1,
        )
        summary = result.summary
        volumes = [
            front_hypervolume(summary.records[: n + 1], summary.objectives, summary.reference)
            for n in range(len(summary.records))
        ]
    return {
        "strategy": strategy,
        "seed": seed,
        "hypervolume": result.hypervolume,
        "hypervolume_after_each_trial": volumes,
        "best": result.best().quality,
        "statuses": summary.statuses(),
        "seconds": sum(t.seconds for t in result.trials),
        "front": [
            [t.cost.adapter_params, t.quality, t.spec.configuration.method] for t in result.front
        ],
    }


def one_core(index: Any) -> None:
    """Give this process a core of its own, so that the jobs do not slow each other down."""
    with index.get_lock():
        chosen = index.value
        index.value += 1
    cores = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {cores[chosen % len(cores)]})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder of sst2")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--trials", type=int, default=24)
    parser.add_argument("--rows", type=int, default=1000)
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--to", type=Path, help="file for the result")
    options = parser.parse_args()
    context = get_context("spawn")
    arguments = list(product(range(options.seeds), STRATEGIES))
    with ProcessPoolExecutor(
        options.jobs, context, initializer=one_core, initargs=(context.Value("i", 0),)
    ) as pool:
        futures = [
            pool.submit(run, name, seed, options.data.resolve(), options.trials, options.rows)
            for seed, name in arguments
        ]
        runs = [future.result() for future in futures]
    for found in runs:
        print(
            f"seed {found['seed']} {found['strategy']:<8} hypervolume {found['hypervolume']:.4f} "
            f"best {found['best']:.4f}  {found['statuses']}  {found['seconds']:.0f} s"
        )
    means = {
        name: statistics.mean(r["hypervolume"] for r in runs if r["strategy"] == name)
        for name in STRATEGIES
    }
    best = {
        name: statistics.mean(r["best"] for r in runs if r["strategy"] == name)
        for name in STRATEGIES
    }
    print(f"mean best quality: {best}")
    print(f"mean hypervolume: {means}")
    print(f"bayesian / random: {means['bayesian'] / means['random']:.3f}")
    if options.to:
        asked = {name: getattr(options, name) for name in ("seeds", "trials", "rows", "jobs")}
        options.to.write_text(json.dumps({"settings": asked, "runs": runs}, indent=1) + "\n")


if __name__ == "__main__":
    main()
