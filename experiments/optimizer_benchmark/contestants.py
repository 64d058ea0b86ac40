"""What is compared on a table of trainings: each chooses among the rows that were not looked at.

The Gaussian processes rank all rows. Optuna's samplers cannot choose from a set, so they suggest
any point of the space within the budget, and get the row whose features are nearest.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from botorch.models import ModelListGP
from botorch.models.model import Model
from numpy.typing import NDArray
from plain import plain_model
from table import OBJECTIVES, Table, Training

from autopeft.cost.candidates import CandidateSpace
from autopeft.cost.cost import Cost
from autopeft.space.hyperparameter import Choice
from autopeft.study.strategies.bayesian import BayesianStrategy
from autopeft.study.strategies.candidate_domain import CandidateDomain
from autopeft.study.strategies.drawing import tried_digests, untried_sobol
from autopeft.study.strategies.features import Features
from autopeft.study.strategies.gain import Gain, fitted
from autopeft.study.strategies.local_search import Ranking, best_points
from autopeft.study.strategies.optuna_samplers import OptunaStrategy
from autopeft.study.strategy import Candidate, Surrogate
from autopeft.trials.trial import RungReport, TrialRecord, TrialResult, TrialSpec, TrialStatus

#: Rows that everyone looks at before a model: the same for all with one seed.
N_INITIAL = 10

#: Returns the number of a row, given those that were looked at.
Chooser = Callable[[Sequence[int]], int]
#: Returns a model of rows and what was measured there, with a seed.
Fit = Callable[[NDArray[np.float64], NDArray[np.float64], int], Model]


class Rows:
    """The rows of a table as trials that came to their end."""

    def __init__(self, table: Table) -> None:
        self.table = table
        self.domain = CandidateDomain(table.space)
        self.features = table.features
        self._compared = _compared_columns(table.space)
        self.one_hot = np.stack([_one_hot(table, t.point) for t in table.first_seed])
        self.log_params = np.log10([t.adapter_params for t in table.first_seed])
        self.quality = np.array([t.quality for t in table.first_seed])
        self.number = {t.digest: i for i, t in enumerate(table.first_seed)}
        self._records = [record(table, t) for t in table.first_seed]

    def __len__(self) -> int:
        return len(self._records)

    def records(self, looked_at: Sequence[int]) -> list[TrialRecord]:
        """Return rows as the trials of a study, in this order."""
        rows = [self._records[i] for i in looked_at]
        return [replace(r, spec=replace(r.spec, number=n)) for n, r in enumerate(rows)]

    def left(self, looked_at: Sequence[int]) -> NDArray[np.int64]:
        """Return the numbers of the rows that were not looked at."""
        return np.setdiff1d(np.arange(len(self)), np.asarray(looked_at, dtype=int))

    def nearest(self, point: Mapping[str, Any], looked_at: Sequence[int]) -> int:
        """Return the row that nobody looked at with the features nearest to a point's.

        Layers are compared by their share and depth. By their names as well, as our surrogate
        sees them, the rows that TPE gets are worse.
        """
        left = self.left(looked_at)
        differences = np.abs(self.features[left] - self.domain.row(point))
        return int(left[differences[:, self._compared].sum(axis=1).argmin()])

    def start(self, seed: int) -> list[int]:
        """Return the rows that everyone begins with."""
        return np.random.default_rng(seed).permutation(len(self))[:N_INITIAL].tolist()


class _TableDomain(CandidateDomain):
    """Points of the table alone."""

    def __init__(self, rows: Rows) -> None:
        super().__init__(rows.table.space)
        self._points = [dict(t.point) for t in rows.table.first_seed]

    def draw(self, seed: int) -> Iterator[dict[str, Any]]:
        return iter(
            [self._points[i] for i in np.random.default_rng(seed).permutation(len(self._points))]
        )

    def neighbours(self, *_: Any) -> list[dict[str, Any]]:
        return []

    def nearby(self, *_: Any) -> None:
        return None


def strategy_of_rows(rows: Rows, seed: int, surrogate: Surrogate) -> BayesianStrategy:
    """Return the strategy of a search, with the table for its space."""
    space = rows.table.space
    strategy = BayesianStrategy(
        space,
        OBJECTIVES,
        rows.table.reference,
        lambda point: [float(space.adapter_params(point) or 0)],
        seed=seed,
        n_initial=N_INITIAL,
        surrogate=surrogate,
        pool=len(rows),
    )
    strategy._domain = _TableDomain(rows)  # noqa: SLF001 - a search never has a table
    return strategy


def ours(rows: Rows, seed: int, surrogate: Surrogate) -> Chooser:
    """The strategy of a search, among the rows."""
    strategy, space = strategy_of_rows(rows, seed, surrogate), rows.table.space

    def choose(looked_at: Sequence[int]) -> int:
        candidate = strategy.ask(rows.records(looked_at), len(looked_at))
        assert candidate is not None
        return rows.number[space.configuration(candidate.assignment).digest]

    return choose


def plain(rows: Rows, seed: int, fit: Fit) -> Callable[..., int]:
    """NEHVI on one-hot points with a model of each objective, as AutoPEFT has it.

    It learns from rows that were trained to the end alone; those that were `stopped` it leaves out.
    """
    pairs = zip(rows.quality, 10**rows.log_params, strict=True)
    values = larger_is_better(rows.table, list(pairs))

    def choose(looked_at: Sequence[int], stopped: Sequence[int] = ()) -> int:
        seen, left = list(looked_at), rows.left([*looked_at, *stopped])
        step = 1000 * seed + len(seen)
        gain = _plain_gain(rows.table, rows.one_hot[seen], values[seen], fit, step)
        return int(left[gain(rows.one_hot[left]).argmax()])

    return choose


def _plain_gain(
    table: Table, x: NDArray[np.float64], values: NDArray[np.float64], fit: Fit, step: int
) -> Callable[[NDArray[np.float64]], NDArray[np.float64]]:
    """Return what tells the gain of one-hot points, after those that were measured.

    Args:
        table: Where hypervolume is measured from.
        x: Points that were measured, shape (n, d).
        values: What they came to, shape (n, objectives), larger is better.
        fit: The model of each objective.
        step: Seed.
    """
    torch.manual_seed(step)
    models = [fit(x, values[:, [k]], step) for k in range(values.shape[1])]
    corner = [-position for position in table.reference.position]
    gain = Gain(ModelListGP(*models), (x, np.zeros((len(x), 0))), corner, seed=step)
    return lambda rows: gain.of(rows, np.zeros((len(rows), 0)))


def larger_is_better(table: Table, pairs: Sequence[Sequence[float]]) -> NDArray[np.float64]:
    """Return qualities and parameters as they are compared, (n, 2)."""
    rows = [[o.minimised(v) for o, v in zip(OBJECTIVES, pair, strict=True)] for pair in pairs]
    return -np.array([table.reference.scaled(row) for row in rows])


class PlainStrategy:
    """NEHVI on one-hot points in the space itself, from quasi-random points.

    It is told what fits the budget, and looks for points where a search does.
    """

    def __init__(self, table: Table, space: CandidateSpace, seed: int, n_initial: int) -> None:
        self._table, self._space = table, space
        self._domain = CandidateDomain(space)
        self._seed, self._n_initial = seed, n_initial

    def ask(self, records: Sequence[TrialRecord], number: int) -> Candidate | None:
        """Return the point with the largest expected gain."""
        tried = tried_digests(records)
        if number < self._n_initial:
            return Candidate(
                assignment=next(untried_sobol(self._space, self._seed, tried)),
                notes={"origin": "sobol"},
            )
        step = 1000 * self._seed + number
        measured = [r for r in records if r.quality is not None and not r.status.failed]
        values = larger_is_better(self._table, [[o.value(r) for o in OBJECTIVES] for r in measured])
        x = self._rows([r.assignment for r in measured])
        gain = _plain_gain(self._table, x, values, plain_model, step)

        def ranked(points: Sequence[dict[str, Any]]) -> Ranking:
            new = {self._domain.key(point): point for point in points}
            left = [point for key, point in new.items() if key not in tried]
            if not left:
                return []
            gains = gain(self._rows(left))
            return [(float(gains[i]), left[i]) for i in np.argsort(-gains, kind="stable")]

        best_first = [measured[i].assignment for i in np.argsort(-values[:, 0], kind="stable")]
        best = best_points(self._domain, ranked, best_first, np.random.default_rng(step))
        return Candidate(assignment=best[0][1], notes={"origin": "nehvi"})

    def _rows(self, points: Sequence[Mapping[str, Any]]) -> NDArray[np.float64]:
        return np.stack([_one_hot(self._table, point) for point in points])


def optuna_sampler(rows: Rows, seed: int, name: str) -> Chooser:
    """One of Optuna's samplers, which gets the nearest row to what it suggests."""
    strategy = OptunaStrategy(name, rows.table.space, OBJECTIVES, seed)

    def choose(looked_at: Sequence[int]) -> int:
        candidate = strategy.ask(rows.records(looked_at), len(looked_at))
        assert candidate is not None
        return rows.nearest(candidate.assignment, looked_at)

    return choose


def random_rows(rows: Rows, seed: int) -> Chooser:
    """Rows in a random order."""
    order = np.random.default_rng(seed).permutation(len(rows)).tolist()
    return lambda looked_at: order[len(looked_at)]


#: What NEHVI on one-hot points models objectives by.
FITS: Mapping[str, Fit] = {
    "plain": plain_model,
    "saasbo": lambda x, y, seed: fitted(x, y, "saas", seed),
}

CONTESTANTS: Mapping[str, Callable[[Rows, int], Chooser]] = {
    "random": random_rows,
    "tpe": lambda rows, seed: optuna_sampler(rows, seed, "tpe"),
    "nsga2": lambda rows, seed: optuna_sampler(rows, seed, "nsga2"),
    "optuna-gp": lambda rows, seed: optuna_sampler(rows, seed, "gp"),
    "plain": lambda rows, seed: plain(rows, seed, FITS["plain"]),
    "saasbo": lambda rows, seed: plain(rows, seed, FITS["saasbo"]),
    "ours": lambda rows, seed: ours(rows, seed, "matern"),
    "ours-saas": lambda rows, seed: ours(rows, seed, "saas"),
}


def _compared_columns(space: CandidateSpace) -> NDArray[np.bool_]:
    """Return which features tell how near two points are: all but the choices of layers."""
    named = [
        h.field != "layers"
        for h in space.space.hyperparameters
        if h.field != "targets" and (h.field != "layers" or isinstance(h, Choice))
        for _ in (h.choices if isinstance(h, Choice) else range(h.width))
    ]
    places = len(Features(space).row(space.smallest())) - len(named)
    return np.array(named + [True] * places)


def _one_hot(table: Table, point: Mapping[str, Any]) -> NDArray[np.float64]:
    """Return a point as choices of 0 and 1 and numbers at their place in their range."""
    values: list[float] = []
    for h in table.space.space.hyperparameters:
        value = point.get(h.name)
        if isinstance(h, Choice):
            values += [float(value == choice) for choice in h.choices]
        else:
            values += [0.5] * h.width if value is None else list(h.to_unit(value))
    return np.array(values)


def record(table: Table, training: Training) -> TrialRecord:
    """Return a training as a trial that showed its end alone."""
    spec = TrialSpec(
        number=0,
        configuration=table.space.configuration(training.point),
        rungs=(1.0,),
        epochs=1.0,
        seed=training.seed,
    )
    last: RungReport = replace(training.reports[-1], rung=0)
    cost = Cost(
        adapter_params=training.adapter_params,
        head_params=0,
        base_params=table.space.spec.base_params,
        peak_memory_bytes=0,
    )
    return TrialRecord(
        spec=spec,
        assignment=training.point,
        cost=cost,
        reports=(last,),
        result=TrialResult(status=TrialStatus.COMPLETE, seconds=last.seconds),
        quality_metric=next(iter(last.metrics)),
        notes={},
    )
