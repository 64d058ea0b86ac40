"""How much hypervolume do strategies have for how much training, with early stopping and without?

    python experiments/optimizer_benchmark/with_fidelity.py --task sst2 --seeds 20 --workers 2

The real study over a table (`fidelity.py`) with `--fidelity asha`, and the searches without
stopping that `compare.py` wrote down: strategies begin with the same ten rows of a seed. Training
is counted in full trainings. Runs are written down as they end; a second run does what is missing.
"""

import argparse
import json
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import torch
from compare import as_text, mean_and_error
from fidelity import HERE, STRATEGIES, Variant, run, without_stopping
from numpy.typing import NDArray

#: Full trainings at which shares are shown.
AT = (10, 15, 20, 25)


def search(path: Path, task: str, strategy: str, trials: int, seed: int) -> dict[str, Any]:
    """Do one search with early stopping; return what it took and found."""
    torch.set_num_threads(1)
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    found = run(path, task, "asha", trials, seed, variant=Variant(strategy=strategy))
    kept = {name: found[name] for name in ("fidelity", "trials", "seed", "share")}
    curves = {name: [round(x, 5) for x in found[name]] for name in ("curve", "spent")}
    return {"strategy": strategy, **kept, **curves}


def whole(path: Path, strategy: str, trials: int, seeds: int) -> list[dict[str, Any]]:
    """Return searches without stopping, as if `search` had done them."""
    spent = list(range(1, trials + 1))
    return [
        {
            "strategy": strategy,
            "fidelity": "none",
            "trials": trials,
            "seed": seed,
            "share": curve[trials - 1],
            "curve": curve[:trials],
            "spent": spent,
        }
        for seed, curve in enumerate(without_stopping(path, strategy, seeds))
    ]


def after(result: dict[str, Any], trainings: Sequence[float]) -> NDArray[np.float64]:
    """Return the share of the hypervolume that a search had after so much training."""
    ended = np.searchsorted(result["spent"], np.asarray(trainings) + 1e-9, side="right")
    return np.array([0.0, *result["curve"]])[ended]


def summary(results: Sequence[dict[str, Any]]) -> str:
    """Return a table in Markdown."""
    lines = [
        "| strategy | fidelity | trials | full trainings | "
        + " | ".join(f"after {n}" for n in AT)
        + " | at the end |",
        "| --- |" + " --- |" * (len(AT) + 4),
    ]
    for strategy, fidelity in dict.fromkeys((r["strategy"], r["fidelity"]) for r in results):
        own = [r for r in results if (r["strategy"], r["fidelity"]) == (strategy, fidelity)]
        shares = np.array([after(r, AT) for r in own])
        cells = [
            mean_and_error(column) for column in (*shares.T.tolist(), [r["share"] for r in own])
        ]
        took = float(np.mean([r["spent"][-1] for r in own]))
        lines.append(
            f"| {strategy} | {fidelity} | {own[0]['trials']} | {took:.1f} | "
            + " | ".join(cells)
            + " |"
        )
    return "\n".join(lines)


def draw(results: Sequence[dict[str, Any]], to: Path) -> None:
    """Draw a panel for each strategy: mean curves with bands of two standard errors."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    strategies = list(dict.fromkeys(r["strategy"] for r in results))
    figure, panels = plt.subplots(
        2,
        -(-(len(strategies) + 1) // 2),
        figsize=(10, 5),
        sharex=True,
        sharey=True,
        layout="constrained",
    )
    for axes, strategy in zip(panels.flat, strategies, strict=False):
        for color, fidelity in (("C0", "asha"), ("C7", "none")):
            own = [r for r in results if (r["strategy"], r["fidelity"]) == (strategy, fidelity)]
            x = np.linspace(1, min(r["spent"][-1] for r in own), 100)
            shares = np.array([after(r, x) for r in own])
            mean, error = shares.mean(axis=0), 2 * shares.std(axis=0, ddof=1) / len(own) ** 0.5
            axes.plot(x, mean, color=color, label=f"--fidelity {fidelity}")
            axes.fill_between(x, mean - error, mean + error, color=color, alpha=0.2)
        axes.set_title(strategy, fontsize="medium")
    for axes in panels.flat[len(strategies) :]:
        axes.axis("off")
    panels.flat[-1].legend(*panels.flat[0].get_legend_handles_labels(), loc="center")
    figure.supxlabel("full trainings")
    figure.supylabel("share of the table's hypervolume")
    figure.savefig(to, dpi=120)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--task", default="sst2")
    parser.add_argument("--strategies", nargs="+", choices=STRATEGIES, default=[*STRATEGIES])
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--trials", type=int, default=40)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--to", type=Path, help="default: with-fidelity-TASK.json beside this file")
    options = parser.parse_args()
    to = options.to or HERE / f"with-fidelity-{options.task}.json"
    path = HERE / f"{options.task}.jsonl"
    stopped = json.loads(to.read_text(encoding="utf-8")) if to.exists() else []
    held = {(r["strategy"], r["seed"]) for r in stopped}
    jobs = [
        (path, options.task, strategy, options.trials, seed)
        for seed in range(options.seeds)
        for strategy in options.strategies
        if (strategy, seed) not in held
    ]
    with ProcessPoolExecutor(options.workers, mp_context=get_context("spawn")) as pool:
        for found in pool.map(search, *zip(*jobs, strict=True)) if jobs else ():
            stopped.append(found)
            to.write_text(as_text(stopped), encoding="utf-8")
    results = []
    for strategy in STRATEGIES:
        own = [r for r in stopped if r["strategy"] == strategy]
        results += own + (whole(path, strategy, options.trials, len(own)) if own else [])
    draw(results, to.with_suffix(".png"))
    print(summary(results))


if __name__ == "__main__":
    main()
