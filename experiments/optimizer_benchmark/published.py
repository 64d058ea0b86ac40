"""How much training would early stopping have saved on the comparison that PEFT publishes?

    python experiments/optimizer_benchmark/published.py --seeds 20

`published.csv` has what PEFT's developers measured of methods on MetaMathQA with Llama-3.2-3B,
5,000 steps each: `method_comparison/MetaMathQA/results` of https://github.com/huggingface/peft,
with the commit that each file is of. Accuracies of 50 problems and mean training losses of the 250
steps before, after some steps, and the accuracy of the test at the end; decimals are cut off. Eight
files of these commits lack the number of parameters, which is that of other commits.

The real study runs over those that train at most 1 % of the parameters: experiments come in a
random order, or with `--strategy searched`, after ten, as a search's surrogate and gain choose
them, parameters known. Each reports at the step that is nearest to a rung. Shown are the training
that searches took, in full trainings; how much of it was spent until it was known which trials are
to be finished; and what the same hypervolume takes without stopping, at random and searched.
"""

import argparse
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from compare import mean_and_error
from numpy.typing import NDArray
from published_table import EXPERIMENT, METRIC, STEPS, Experiments
from replay import adapter_cost, replay
from scipy.stats import spearmanr

from autopeft.study.rungs import FIDELITIES
from autopeft.study.signals import signal_ranks
from autopeft.study.strategies.gain import Gain, fitted
from autopeft.study.strategies.outcome import Outcome
from autopeft.study.strategy import Candidate, Surrogate
from autopeft.study.study import PointCosts
from autopeft.trials.trial import TrialRecord

HERE = Path(__file__).parent
#: Which of the recorded steps are the rungs of a short list.
RUNGS = (0, 1, 3)
#: Experiments in a random order before a model.
N_INITIAL = 10


class AtRandom:
    """Asks for experiments in a random order."""

    def __init__(self, experiments: Experiments, seed: int) -> None:
        self._order = np.random.default_rng(seed).permutation(len(experiments)).tolist()
        self._experiments = experiments

    def ask(self, _: Sequence[TrialRecord], number: int) -> Candidate | None:
        return self._candidate(self._order[number]) if number < len(self._order) else None

    def _candidate(self, number: int) -> Candidate:
        return Candidate(assignment={EXPERIMENT: self._experiments.rows[number].name})


class Searching(AtRandom):
    """Asks for some at random, then for whichever is expected to gain most.

    Like a search it models the quality of all rungs, with the share of the training as an input.
    """

    def __init__(
        self, experiments: Experiments, seed: int, surrogate: Surrogate = "matern"
    ) -> None:
        super().__init__(experiments, seed)
        self._seed, self._surrogate = seed, surrogate

    def ask(self, records: Sequence[TrialRecord], number: int) -> Candidate | None:
        if number < N_INITIAL or number == len(self._experiments):
            return super().ask(records, number)
        tried = self._experiments.numbers(records)
        left = np.setdiff1d(np.arange(len(self._experiments)), tried)
        gain = self._gain(records, tried)
        costs = -self._experiments.scaled[left, 1:]
        return self._candidate(int(left[gain.of(self._rows(left), costs).argmax()]))

    def _gain(self, records: Sequence[TrialRecord], tried: Sequence[int]) -> Gain:
        seen = [
            (i, report.fidelity, report.metrics[METRIC])
            for i, record in zip(tried, records, strict=True)
            for report in record.reports
        ]
        numbers, shares, accuracies = (np.array(column) for column in zip(*seen, strict=True))
        reference = self._experiments.reference
        qualities = -np.array([reference.scaled([-a, 0.0])[:1] for a in accuracies])
        outcome = Outcome.of(qualities[:, 0])
        rows = self._rows(numbers, shares)
        model = fitted(rows, outcome.scored(qualities), self._surrogate, self._seed)
        baseline = self._rows(tried), -self._experiments.scaled[tried, 1:]
        corner = [-position for position in reference.position]
        return Gain(model, baseline, corner, seed=self._seed, outcome=outcome)

    def _rows(self, numbers: Sequence[int], shares: Sequence[float] | None = None) -> NDArray[Any]:
        shares = np.ones(len(numbers)) if shares is None else shares
        return np.column_stack([self._experiments.features[numbers], shares])


RANDOM, SEARCHED = "random", "searched"
STRATEGIES: Mapping[str, Callable[[Experiments, int], AtRandom]] = {
    RANDOM: AtRandom,
    SEARCHED: Searching,
    "searched-saas": partial(Searching, surrogate="saas"),
}


def search(
    experiments: Experiments, strategy: str, fidelity: str, trials: int, seed: int
) -> list[TrialRecord]:
    """Do one search; return its trials."""
    rows = {row.name: row for row in experiments.rows}
    costs = {row.configuration.digest: adapter_cost(row.adapter_params) for row in rows.values()}
    return replay(
        {(row.configuration.digest, 0): row.reports for row in rows.values()},
        PointCosts(
            configuration=lambda point: rows[str(point[EXPERIMENT])].configuration,
            cost=lambda configuration: costs[configuration.digest],
        ),
        experiments.reference,
        STRATEGIES[strategy](experiments, seed),
        fidelity=fidelity,
        trials=trials,
    )


def to_the_end(experiments: Experiments, strategy: str, seeds: int) -> NDArray[np.float64]:
    """Return the mean share of the hypervolume after each training, without stopping."""
    orders = [
        experiments.numbers(search(experiments, strategy, "none", len(experiments), seed))
        for seed in range(seeds)
    ]
    return np.mean([experiments.shares(order) for order in orders], axis=0)


def found(experiments: Experiments, records: Sequence[TrialRecord]) -> tuple[float, float, float]:
    """Return what a search took in full trainings, until it knew what to finish, and its share."""
    ended = [record for record in records if record.reports[-1].last]
    finishing = sum(1 - record.reports[-2].fidelity for record in ended)
    trainings = sum(record.fidelity for record in records)
    return trainings, trainings - finishing, experiments.share(experiments.numbers(ended))


def summary(
    experiments: Experiments,
    curves: Mapping[str, NDArray[np.float64]],
    searches: Mapping[tuple[str, int], Sequence[Sequence[TrialRecord]]],
) -> str:
    """Return a table in Markdown.

    Args:
        experiments: What was searched.
        curves: The mean share after each training without stopping, by strategy.
        searches: Those with early stopping, by fidelity and number of trials.
    """
    lines = [
        "| fidelity | trials | full trainings | until it was known what to finish | share | "
        + " | ".join(f"the same {name} | ratio | until it was known" for name in curves)
        + " |",
        "| --- |" + " --- |" * (4 + 3 * len(curves)),
    ]
    for (fidelity, trials), runs in searches.items():
        results = np.array([found(experiments, records) for records in runs])
        took, choosing, share = results.mean(axis=0)
        cells = [f"{fidelity} | {trials} | {took:.1f} | {choosing:.1f}"]
        cells.append(mean_and_error(results[:, 2].tolist()))
        for curve in curves.values():
            same = int(np.searchsorted(curve, share - 1e-9)) + 1
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
    parser.add_argument("--strategy", choices=STRATEGIES, default=RANDOM)
    stopping = [name for name in FIDELITIES if name != "none"]
    parser.add_argument("--fidelities", nargs="+", choices=stopping, default=stopping)
    parser.add_argument("--sizes", type=int, nargs="+", default=(20, 40, 60, 85))
    options = parser.parse_args()
    torch.set_num_threads(1)
    experiments = Experiments(HERE / "published.csv")
    other = SEARCHED if options.strategy == RANDOM else options.strategy
    curves = {name: to_the_end(experiments, name, options.seeds) for name in (RANDOM, other)}
    at = [n for n in (10, 20, 30, 40, 60) if n < len(experiments)]
    print(f"{len(experiments)} experiments, share of their hypervolume after {at}:")
    for name, curve in curves.items():
        print(f"- {name}: {[round(float(curve[n - 1]), 3) for n in at]}")
    print(f"\nrank correlation with the test, {correlations(experiments)}\n", flush=True)
    searches = {
        (fidelity, size): [
            search(experiments, options.strategy, fidelity, size, seed)
            for seed in range(options.seeds)
        ]
        for fidelity in options.fidelities
        for size in options.sizes
    }
    print(summary(experiments, curves, searches))


if __name__ == "__main__":
    main()
