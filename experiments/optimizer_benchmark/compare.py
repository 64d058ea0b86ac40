"""How much hypervolume does a strategy have after how many trainings, on a table of them?

    python experiments/optimizer_benchmark/compare.py --task sst2 --seeds 20 --trials 40

Each strategy begins with the same ten rows of a seed and then chooses one row after the other. What
is shown is the hypervolume (accuracy times the logarithm of the parameters) of the rows that it has
looked at, as a share of that of the whole table.
"""

import argparse
import json
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import cache
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import torch
from contestants import CONTESTANTS, Rows
from numpy.typing import NDArray
from table import OBJECTIVES, read_table

from autopeft.study.pareto import hypervolume

HERE = Path(__file__).parent
RANDOM = "random"
#: Trainings of the random search that others are measured by.
MANY = 200


@cache
def rows_of(path: Path, task: str) -> Rows:
    """Return a table's rows, read once a process."""
    torch.set_num_threads(1)
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    return Rows(read_table(path, task))


def run(path: Path, task: str, name: str, seed: int, trials: int) -> dict[str, Any]:
    """Let one strategy choose; return its curve and the processor seconds of a choice."""
    rows = rows_of(path, task)
    looked_at = rows.start(seed)[:trials]
    choose = CONTESTANTS[name](rows, seed)
    started = time.process_time()
    n_start = len(looked_at)
    while len(looked_at) < min(trials, len(rows)):
        looked_at.append(choose(looked_at))
    spent = time.process_time() - started
    chosen = max(len(looked_at) - n_start, 1)
    curve = [round(share, 5) for share in shares(rows, looked_at)]
    return {"strategy": name, "seed": seed, "curve": curve, "seconds": round(spent / chosen, 3)}


def shares(rows: Rows, looked_at: Sequence[int]) -> list[float]:
    """Return the hypervolume after each row, as a share of the whole table's."""
    pairs = _pairs(rows)
    return shares_of(rows, [pairs[i] for i in looked_at])


def shares_of(rows: Rows, pairs: Sequence[tuple[float, float]]) -> list[float]:
    """Return the hypervolume after each pair of quality and parameters, as a share."""
    values, position = _scaled(rows, pairs), rows.table.reference.position
    whole = hypervolume(_scaled(rows, _pairs(rows)), position)
    return [hypervolume(values[: n + 1], position) / whole for n in range(len(values))]


def _pairs(rows: Rows) -> list[tuple[float, float]]:
    return list(zip(rows.quality.tolist(), (10**rows.log_params).tolist(), strict=True))


def _scaled(rows: Rows, pairs: Sequence[tuple[float, float]]) -> NDArray[np.float64]:
    return np.array(
        [
            rows.table.reference.scaled(
                [o.minimised(v) for o, v in zip(OBJECTIVES, pair, strict=True)]
            )
            for pair in pairs
        ]
    )


def summary(results: Sequence[dict[str, Any]], at: Sequence[int]) -> str:
    """Return a table in Markdown: mean share at some trials, its standard error at the last."""
    goal = _random_after(results, MANY)
    lines = [
        "| strategy | " + " | ".join(f"after {n}" for n in at) + " | trials to random's "
        f"{MANY} ({goal:.3f}) | seconds a choice |",
        "| --- |" + " --- |" * (len(at) + 2),
    ]
    for name in dict.fromkeys(r["strategy"] for r in results):
        own = [r for r in results if r["strategy"] == name]
        curves = [r["curve"] for r in own]
        cells = [mean_and_error([c[n - 1] for c in curves if len(c) >= n]) for n in at]
        needed = [next((i + 1 for i, v in enumerate(c) if v >= goal), None) for c in curves]
        reached = [n for n in needed if n is not None]
        text = f"{np.median(reached):.0f} ({len(reached)} of {len(curves)})" if reached else "none"
        seconds = float(np.mean([r["seconds"] for r in own]))
        lines.append(f"| {name} | " + " | ".join(cells) + f" | {text} | {seconds:.2f} |")
    return "\n".join(lines)


def _random_after(results: Sequence[dict[str, Any]], n: int) -> float:
    curves = [r["curve"] for r in results if r["strategy"] == RANDOM]
    return float(np.mean([c[min(n, len(c)) - 1] for c in curves])) if curves else float("nan")


def mean_and_error(values: Sequence[float]) -> str:
    """Return the mean of runs and its standard error as text; a dash without any."""
    if not values:
        return "-"
    error = np.std(values, ddof=1) / np.sqrt(len(values)) if len(values) > 1 else float("nan")
    return f"{np.mean(values):.3f} ± {error:.3f}"


def draw(results: Sequence[dict[str, Any]], trials: int, to: Path) -> None:
    """Draw mean curves with bands of two standard errors."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(figsize=(7, 4.5), layout="constrained")
    for name in dict.fromkeys(r["strategy"] for r in results):
        curves = np.array([r["curve"][:trials] for r in results if r["strategy"] == name])
        x, mean = np.arange(1, curves.shape[1] + 1), curves.mean(axis=0)
        error = 2 * curves.std(axis=0, ddof=1) / np.sqrt(len(curves)) if len(curves) > 1 else 0
        axes.plot(x, mean, label=name)
        axes.fill_between(x, mean - error, mean + error, alpha=0.15)
    axes.set(xlabel="trainings", ylabel="share of the table's hypervolume")
    axes.legend()
    figure.savefig(to, dpi=120)


def as_text(results: Sequence[dict[str, Any]]) -> str:
    """Return runs as JSON with a line for each."""
    return "[\n" + ",\n".join(map(json.dumps, results)) + "\n]\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--task", default="sst2")
    parser.add_argument("--table", type=Path, help="default: TASK.jsonl beside this file")
    parser.add_argument("--strategies", nargs="+", choices=CONTESTANTS, default=[*CONTESTANTS])
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--trials", type=int, default=40)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--to", type=Path, help="default: compare-TABLE.json beside this file")
    parser.add_argument("--add", action="store_true", help="keep the runs that the file holds")
    options = parser.parse_args()
    path = options.table or HERE / f"{options.task}.jsonl"
    to = options.to or HERE / f"compare-{path.stem}.json"
    to.parent.mkdir(parents=True, exist_ok=True)
    results = json.loads(to.read_text(encoding="utf-8")) if options.add and to.exists() else []
    held = {(r["strategy"], r["seed"]) for r in results}
    jobs = [
        (path, options.task, name, seed, MANY if name == RANDOM else options.trials)
        for seed in range(options.seeds)
        for name in options.strategies
        if (name, seed) not in held
    ]
    with ProcessPoolExecutor(options.workers, mp_context=get_context("spawn")) as pool:
        # Seeds come first, so that what is interrupted has some of every strategy.
        for found in pool.map(run, *zip(*jobs, strict=True)):
            results.append(found)
            to.write_text(as_text(results), encoding="utf-8")
    draw(results, options.trials, to.with_suffix(".png"))
    print(summary(results, [n for n in (10, 20, 30, options.trials) if n <= options.trials]))


if __name__ == "__main__":
    main()
