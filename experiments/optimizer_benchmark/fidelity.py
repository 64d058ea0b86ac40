"""How much training does a hypervolume take, with weak trials stopped early and without?

    python experiments/optimizer_benchmark/fidelity.py --task sst2 --seeds 20

The real study runs over a table of trainings: points come in a random order, and what a trial
reports is looked up. With `--strategy` a search chooses them, after ten, and `none` are the same
searches as `compare.py` wrote them down. Each fidelity does searches of several sizes. Shown are
the training that they took, in full trainings, their hypervolume as a share of that of the whole
table, and how many trainings to the end reach the same (`none`), as a ratio: of training alone, and
with the evaluations at rungs, where a training of `none` has one, at its end. `--measured plain`
takes what rungs would have shown without averaged weights, of the trainings that were measured
either way, and `--measured both-ways` the same trainings with averaged weights. `--foresee 0` shows
the quality at the end at rung 0 instead of what was measured there: how much is lost because a rung
does not know. `--going-on` and `--least` change whom a short list keeps; `--without` leaves rows
out of the table.
"""

import argparse
import json
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from functools import cache, partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
from replay import Searched, Shuffled, adapter_cost, nehvi, ours, replay, sampler
from rung_signals import without_averaging
from table import OBJECTIVES, Table, Training, read_table

from autopeft.study import rungs as rungs_module
from autopeft.study.evidence import rung_evidence
from autopeft.study.front import front_hypervolume
from autopeft.study.pareto import hypervolume
from autopeft.study.rungs import FIDELITIES
from autopeft.study.signals import SIGNALS
from autopeft.study.standing import Comparison
from autopeft.study.study import PointCosts
from autopeft.trials.trial import RungReport, TrialRecord

HERE = Path(__file__).parent
RANDOM = "random"
STRATEGIES = {
    RANDOM: Shuffled,
    "tpe": partial(Searched, strategy=partial(sampler, name="tpe")),
    "nsga2": partial(Searched, strategy=partial(sampler, name="nsga2")),
    "optuna-gp": partial(Searched, strategy=partial(sampler, name="gp")),
    "plain": partial(Searched, strategy=partial(nehvi, name="plain")),
    "saasbo": partial(Searched, strategy=partial(nehvi, name="saasbo")),
    "ours": partial(Searched, strategy=ours),
}
SIZES = (16, 40, 80, 120, 200)
#: Largest share of a table that a search may start: of all, every order finds the same.
MOST = 0.6


@cache
def table_of(path: Path, task: str, *, both_ways: bool, without: tuple[int, ...] = ()) -> Table:
    """Return a table, read once a process, on request of what was measured either way alone.

    Args:
        path: The file.
        task: Its task.
        both_ways: Whether it is of what was measured with averaged weights and without.
        without: Numbers of trainings that are left out.
    """
    table = read_table(path, task)
    kept = (t for t in table.trainings if t.plain or not both_ways)
    return Table(task, tuple(t for t in kept if t.number not in without))


@dataclass(frozen=True, kw_only=True)
class Variant:
    """What differs from the real study over the real table.

    Attributes:
        strategy: Who asks for points: one of `STRATEGIES`.
        measured: Which trainings count, and whether with averaged weights.
        foresee: Rungs that show the quality at the end.
        going_on: At each rung of a short list, one over the share that goes on.
        least: How many a short list keeps at least.
        without: Numbers of trainings that are left out.
    """

    strategy: str
    measured: str = "all"
    foresee: tuple[int, ...] = ()
    going_on: tuple[int, ...] = rungs_module.GOING_ON[3]
    least: int = rungs_module.LEAST_KEPT
    without: tuple[int, ...] = ()

    def shown(self, training: Training) -> tuple[RungReport, ...]:
        """Return what a training reports."""
        reports = without_averaging(training) if self.measured == "plain" else training.reports
        end, quality = reports[-1], training.quality
        known = {"metrics": end.metrics, "eval_loss": -quality, "train_loss": -quality}
        return tuple(replace(r, **known) if r.rung in self.foresee else r for r in reports)


def run(
    path: Path, task: str, fidelity: str, size: int, seed: int, *, variant: Variant
) -> dict[str, Any]:
    """Do one search; return what it took and found."""
    rungs_module.GOING_ON[3], rungs_module.LEAST_KEPT = variant.going_on, variant.least
    both_ways = variant.measured != "all"
    table = table_of(path, task, both_ways=both_ways, without=variant.without)
    trainings = table.first_seed
    costs = {t.digest: adapter_cost(t.adapter_params) for t in trainings}
    records = replay(
        {(t.digest, 0): variant.shown(t) for t in trainings},
        PointCosts(configuration=table.space.configuration, cost=lambda c: costs[c.digest]),
        table.reference,
        STRATEGIES[variant.strategy](table, seed),
        fidelity=fidelity,
        trials=size,
    )
    comparison = Comparison(objectives=OBJECTIVES, reference=table.reference)
    rungs = range(len(records[0].spec.rungs) - 1)
    evidence = [rung_evidence(records, rung, comparison).to_dict() for rung in rungs]
    # In a short list none has ended before all have started.
    ends = range(1, size + 1) if fidelity != "shortlist" else ()
    curve = [share(records[:n], table) for n in ends]
    spent = np.cumsum([record.fidelity for record in records]).tolist()
    return {
        "fidelity": fidelity,
        "trials": size,
        "seed": seed,
        "trainings": sum(record.fidelity for record in records),
        "evaluations": sum(len(record.reports) for record in records),
        "share": share(records, table),
        "rungs": evidence,
        "curve": curve,
        "spent": spent,
    }


def share(records: Sequence[TrialRecord], table: Table) -> float:
    """Return the hypervolume of trials as a share of that of the whole table."""
    return front_hypervolume(records, OBJECTIVES, table.reference) / whole(table)


def whole(table: Table) -> float:
    """Return the hypervolume of all rows, as a share of the largest possible."""
    volume = hypervolume(table.scaled, table.reference.position)
    return float(volume / np.prod(table.reference.position))


def full_curve(table: Table, seeds: int) -> np.ndarray:
    """Return the mean share of the hypervolume after each number of full trainings, same orders."""
    values, position = table.scaled, table.reference.position
    curves = []
    for seed in range(seeds):
        order = np.random.default_rng(seed).permutation(len(values))
        curves.append([hypervolume(values[order[:n]], position) for n in range(1, len(order) + 1)])
    return np.mean(curves, axis=0) / hypervolume(values, position)


def without_stopping(path: Path, strategy: str, seeds: int) -> list[list[float]]:
    """Return the curves of searches that train all to the end, from what `compare.py` wrote."""
    file = HERE / f"compare-{path.stem}.json"
    runs = json.loads(file.read_text(encoding="utf-8"))
    curves = {r["seed"]: r["curve"] for r in runs if r["strategy"] == strategy}
    return [curves[seed] for seed in range(seeds)]


def evaluation_share(trainings: Sequence[Training]) -> float:
    """Return what an evaluation takes, as a share of the steps of a full training.

    Between two rungs lie the steps between them and one evaluation: three rungs give two equations
    for the seconds of a step and of an evaluation. Medians, because some trainings were paused.
    """
    reports = [training.reports for training in trainings]
    steps = np.array([r.step for r in reports[0]])
    parts = np.diff([[r.seconds for r in rungs] for rungs in reports], axis=1)
    first, second = np.median(parts, axis=0)
    one, other = np.diff(steps)
    step = (second - first) / (other - one)
    return float((first - one * step) / (step * steps[-1]))


def summary(results: Sequence[dict[str, Any]], curve: np.ndarray, evaluation: float) -> str:
    """Return a table in Markdown: trainings, share, and the ratios to training all to the end.

    Args:
        results: What `run` returned.
        curve: The mean share of the hypervolume after each number of full trainings.
        evaluation: What an evaluation takes, in full trainings.
    """
    lines = [
        "| fidelity | trials | full trainings | share of the hypervolume | as many trials to the "
        "end | trainings to the end for the same | ratio | with evaluation |",
        "| --- |" + " --- |" * 7,
    ]
    for fidelity, size in dict.fromkeys((r["fidelity"], r["trials"]) for r in results):
        own = [r for r in results if (r["fidelity"], r["trials"]) == (fidelity, size)]
        shares = [r["share"] for r in own]
        error = np.std(shares, ddof=1) / np.sqrt(len(shares))
        took = float(np.mean([r["trainings"] for r in own]))
        evaluations = float(np.mean([r["evaluations"] for r in own]))
        same = int(np.searchsorted(curve, np.mean(shares))) + 1
        more = "more than " * (same > len(curve))
        same = min(same, len(curve))
        lines.append(
            f"| {fidelity} | {size} | {took:.1f} | {np.mean(shares):.3f} ± {error:.3f} | "
            f"{curve[min(size, len(curve)) - 1]:.3f} | {more}{same} | {same / took:.2f} | "
            f"{same * (1 + evaluation) / (took + evaluation * evaluations):.2f} |"
        )
    return "\n".join(lines)


def signals(results: Sequence[dict[str, Any]]) -> str:
    """Return which signals searches ended with at each rung, and what they measured of them."""
    lines = []
    for fidelity, size in dict.fromkeys((r["fidelity"], r["trials"]) for r in results):
        own = [r["rungs"] for r in results if (r["fidelity"], r["trials"]) == (fidelity, size)]
        for rungs in zip(*own, strict=True):
            chosen = Counter(r["signal"] if r["trusted"] else "none" for r in rungs)
            known = [r["measured_correlation"] for r in rungs if r["measured_correlation"]]
            mean = {n: round(float(np.mean([k[n] for k in known])), 2) for n in SIGNALS if known}
            at = f"{fidelity}, {size} trials, at {rungs[0]['share']:.2f}"
            lines.append(f"{at}: chosen {dict(chosen)}; measured in {len(known)}: {mean}")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--task", default="sst2")
    parser.add_argument("--table", type=Path, help="default: TASK.jsonl beside this file")
    parser.add_argument("--fidelities", nargs="+", choices=FIDELITIES, default=FIDELITIES[:-1])
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES)
    parser.add_argument("--strategy", choices=STRATEGIES, default=RANDOM)
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--measured", choices=("all", "both-ways", "plain"), default="all")
    parser.add_argument("--foresee", type=int, nargs="+", default=())
    parser.add_argument("--going-on", type=int, nargs=2, default=rungs_module.GOING_ON[3])
    parser.add_argument("--least", type=int, default=rungs_module.LEAST_KEPT)
    parser.add_argument("--without", type=int, nargs="+", default=(), help="numbers of trainings")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--to", type=Path, help="default: fidelity-TASK.json beside this file")
    options = parser.parse_args()
    path = options.table or HERE / f"{options.task}.jsonl"
    both_ways, without = options.measured != "all", tuple(options.without)
    table = table_of(path, options.task, both_ways=both_ways, without=without)
    # Before anything runs: what `compare.py` has not done yet is missing here.
    curve = (
        full_curve(table, options.seeds)
        if options.strategy == RANDOM
        else np.mean(without_stopping(path, options.strategy, options.seeds), axis=0)
    )
    jobs = [
        (path, options.task, fidelity, size, seed)
        for fidelity in options.fidelities
        for size in options.sizes
        if size <= MOST * len(table.first_seed)
        for seed in range(options.seeds)
    ]
    with ProcessPoolExecutor(options.workers, mp_context=get_context("spawn")) as pool:
        variant = Variant(
            strategy=options.strategy,
            measured=options.measured,
            foresee=tuple(options.foresee),
            going_on=tuple(options.going_on),
            least=options.least,
            without=without,
        )
        results = list(pool.map(partial(run, variant=variant), *zip(*jobs, strict=True)))
    to = options.to or HERE / f"fidelity-{options.task}.json"
    to.write_text(json.dumps(results) + "\n", encoding="utf-8")
    evaluation = evaluation_share(table.first_seed)
    print(f"an evaluation takes {evaluation:.2f} of a training\n")
    print(summary(results, curve, evaluation), end="\n\n")
    print(signals(results))


if __name__ == "__main__":
    main()
