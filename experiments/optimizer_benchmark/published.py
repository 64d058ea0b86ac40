"""How much training would early stopping have saved on the comparison that PEFT publishes?

    python experiments/optimizer_benchmark/published.py --seeds 20

`published.csv` has what PEFT's developers measured of methods on MetaMathQA with Llama-3.2-3B,
5,000 steps each: `method_comparison/MetaMathQA/results` of https://github.com/huggingface/peft,
with the commit that each file is of. Accuracies of 50 problems and mean training losses of the 250
steps before, after some steps, and the accuracy of the test at the end; decimals are cut off. Eight
files of these commits lack the number of parameters, which is that of other commits.

The real study runs over those that train at most 1 % of the parameters: experiments come in a
random order, and each reports at the step that is nearest to a rung. Shown are the training that
searches took, in full trainings; how much of it was spent until it was known which trials are to
be finished; and what the same hypervolume takes without stopping, in a random order and chosen by
the search's surrogate and gain, parameters known.
"""

import argparse
import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from compare import mean_and_error
from numpy.typing import NDArray
from replay import adapter_cost, replay
from scipy.stats import spearmanr
from table import BUDGET, OBJECTIVES

from autopeft.cost.budget import ParamBudget
from autopeft.space.configuration import Component, Configuration, TrainingParams
from autopeft.study.objective import ReferencePoint
from autopeft.study.pareto import hypervolume
from autopeft.study.rungs import FIDELITIES
from autopeft.study.signals import signal_ranks
from autopeft.study.strategies.gain import Gain, fitted
from autopeft.study.strategies.outcome import Outcome
from autopeft.study.strategy import Candidate
from autopeft.study.study import PointCosts
from autopeft.trials.trial import RungReport, TrialRecord

HERE = Path(__file__).parent
#: Parameters of Llama-3.2-3B.
BASE_PARAMS = 3_212_749_824
STEPS = (250, 500, 1000, 1750, 5000)
#: Which of these are the rungs of a short list.
RUNGS = (0, 1, 3)
#: Experiments in a random order before a model.
N_INITIAL = 10
METRIC, EXPERIMENT = "accuracy", "experiment"


@dataclass(frozen=True)
class Experiment:
    """One row: what was trained, and what it reported."""

    name: str
    configuration: Configuration
    adapter_params: int
    reports: tuple[RungReport, ...]


class Experiments:
    """All experiments within the budget, numbered from 0."""

    def __init__(self, path: Path) -> None:
        with path.open(encoding="utf-8", newline="") as file:
            rows = [_experiment(row) for row in csv.DictReader(file)]
        limit = ParamBudget.parse(BUDGET, BASE_PARAMS).limit
        self.rows = [row for row in rows if row.adapter_params <= limit]
        smallest = float(min(row.adapter_params for row in self.rows))
        # A guess solves none of the problems.
        best, worst = (1.0, smallest), (0.0, float(limit))
        self.reference = ReferencePoint.between(OBJECTIVES, best, worst)

    def __len__(self) -> int:
        return len(self.rows)

    @cached_property
    def quality(self) -> NDArray[np.float64]:
        """Accuracies of the test, shape (n,)."""
        return np.array([row.reports[-1].metrics[METRIC] for row in self.rows])

    @cached_property
    def scaled(self) -> NDArray[np.float64]:
        """Qualities and parameters as they are compared, shape (n, 2); smaller is better."""
        params = np.log10([row.adapter_params for row in self.rows])
        return np.array([self.reference.scaled(p) for p in zip(-self.quality, params, strict=True)])

    @cached_property
    def features(self) -> NDArray[np.float64]:
        """Method, learning rate and size, each in 0-1, shape (n, d)."""
        methods = [row.configuration.method for row in self.rows]
        one_hot = np.array([[m == name for name in sorted(set(methods))] for m in methods], float)
        rates = np.log10([row.configuration.training.learning_rate for row in self.rows])
        numbers = np.column_stack([rates, self.scaled[:, 1]])
        return np.column_stack([one_hot, (numbers - numbers.min(0)) / np.ptp(numbers, axis=0)])

    def share(self, numbers: Sequence[int]) -> float:
        """Return the hypervolume of some as a share of that of all."""
        position = self.reference.position
        some = hypervolume(self.scaled[list(numbers)], position) if len(numbers) else 0.0
        return some / hypervolume(self.scaled, position)

    def shares(self, order: Sequence[int]) -> list[float]:
        """Return the share after each experiment of an order."""
        return [self.share(order[: n + 1]) for n in range(len(order))]


def _experiment(row: Mapping[str, str]) -> Experiment:
    component = Component(
        method=row["method"],
        targets=("backbone",),
        layers=(),
        params=((EXPERIMENT, row[EXPERIMENT]),),
    )
    training = TrainingParams(learning_rate=float(row["learning_rate"]))
    configuration = Configuration(components=(component,), training=training)
    reports = tuple(_report(row, rung) for rung in range(len(STEPS)))
    return Experiment(row[EXPERIMENT], configuration, int(row["params"]), reports)


def _report(row: Mapping[str, str], rung: int) -> RungReport:
    step, last = STEPS[rung], rung == len(STEPS) - 1
    return RungReport(
        rung=rung,
        step=step,
        fidelity=step / STEPS[-1],
        metrics={METRIC: float(row["test" if last else f"valid_{step}"])},
        eval_loss=float("nan"),  # was not published
        train_loss=float(row[f"loss_{step}"]),
        seconds=float(step),
        last=last,
    )


def at_random(experiments: Experiments, seed: int) -> list[int]:
    """Return all experiments in a random order."""
    return np.random.default_rng(seed).permutation(len(experiments)).tolist()


def searched(experiments: Experiments, seed: int) -> list[int]:
    """Return all experiments: some at random, then whichever is expected to gain most."""
    order = at_random(experiments, seed)[:N_INITIAL]
    x, scaled = experiments.features, -experiments.scaled
    reference = [-position for position in experiments.reference.position]
    while len(order) < len(experiments):
        left = np.setdiff1d(np.arange(len(experiments)), order)
        outcome = Outcome.of(scaled[order, 0])
        model = fitted(x[order], outcome.scored(scaled[order, :1]), "matern", seed)
        baseline = x[order], scaled[order, 1:]
        gain = Gain(model, baseline, reference, seed=seed, outcome=outcome)
        order.append(int(left[gain.of(x[left], scaled[left, 1:]).argmax()]))
    return order


class InOrder:
    """Asks for experiments in an order."""

    def __init__(self, names: Sequence[str]) -> None:
        self._names = names

    def ask(self, _: Sequence[TrialRecord], number: int) -> Candidate | None:
        if number == len(self._names):
            return None
        return Candidate(assignment={EXPERIMENT: self._names[number]})


def run(experiments: Experiments, fidelity: str, trials: int, seed: int) -> dict[str, float]:
    """Do one search in a random order; return what it took and found."""
    rows = {row.name: row for row in experiments.rows}
    costs = {row.configuration.digest: adapter_cost(row.adapter_params) for row in rows.values()}
    names = list(rows)
    records = replay(
        {(row.configuration.digest, 0): row.reports for row in rows.values()},
        PointCosts(
            configuration=lambda point: rows[str(point[EXPERIMENT])].configuration,
            cost=lambda configuration: costs[configuration.digest],
        ),
        experiments.reference,
        InOrder([names[i] for i in at_random(experiments, seed)]),
        fidelity=fidelity,
        trials=trials,
    )
    ended = [record for record in records if record.reports[-1].last]
    finishing = sum(1 - record.reports[-2].fidelity for record in ended)
    trainings = sum(record.fidelity for record in records)
    return {
        "trainings": trainings,
        "choosing": trainings - finishing,
        "share": experiments.share([names.index(r.assignment[EXPERIMENT]) for r in ended]),
    }


def summary(experiments: Experiments, curves: Mapping[str, NDArray[np.float64]], seeds: int) -> str:
    """Return a table in Markdown of searches of several sizes with early stopping."""
    lines = [
        "| fidelity | trials | full trainings | until it was known what to finish | share | "
        + " | ".join(f"the same {name} | ratio | until it was known" for name in curves)
        + " |",
        "| --- |" + " --- |" * (4 + 3 * len(curves)),
    ]
    for fidelity in (name for name in FIDELITIES if name != "none"):
        for trials in (20, 40, 60, len(experiments)):
            found = [run(experiments, fidelity, trials, seed) for seed in range(seeds)]
            took, choosing = (np.mean([f[k] for f in found]) for k in ("trainings", "choosing"))
            shares = [f["share"] for f in found]
            cells = [f"{fidelity} | {trials} | {took:.1f} | {choosing:.1f}", mean_and_error(shares)]
            for curve in curves.values():
                same = int(np.searchsorted(curve, np.mean(shares) - 1e-9)) + 1
                cells.append(f"{same} | **{same / took:.2f}** | {same / choosing:.2f}")
            lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def correlations(experiments: Experiments) -> str:
    """Return how well rungs rank experiments like the test, as text."""
    lines = []
    for rung in RUNGS:
        seen = [[row.reports[r] for r in RUNGS if r <= rung] for row in experiments.rows]
        ranks = signal_ranks(seen, METRIC)
        found = {
            name: round(float(spearmanr(ranks[name], experiments.quality)[0]), 2)
            for name in ("blend", "train_loss", "quality")
        }
        lines.append(f"at {STEPS[rung] / STEPS[-1]:.2f}: {found}")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=20)
    options = parser.parse_args()
    torch.set_num_threads(1)
    experiments = Experiments(HERE / "published.csv")
    orders = {"at random": at_random, "searched": searched}
    curves = {
        name: np.mean(
            [experiments.shares(order(experiments, seed)) for seed in range(options.seeds)], axis=0
        )
        for name, order in orders.items()
    }
    at = [n for n in (10, 20, 30, 40, 60) if n < len(experiments)]
    print(f"{len(experiments)} experiments, share of their hypervolume after {at}:")
    for name, curve in curves.items():
        print(f"- {name}: {[round(float(curve[n - 1]), 3) for n in at]}")
    print(f"\nrank correlation with the test, {correlations(experiments)}\n")
    print(summary(experiments, curves, options.seeds))


if __name__ == "__main__":
    main()
