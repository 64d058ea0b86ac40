"""Bayesian optimisation (BoTorch): a start, then noisy expected hypervolume improvement."""

import logging
import math
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property

import numpy as np
from botorch.models.model import Model

from autopeft.cost.candidates import CandidateSpace
from autopeft.space.configuration import Value
from autopeft.space.hyperparameter import Assignment
from autopeft.study.objective import Objective, ReferencePoint
from autopeft.study.pareto import ranks
from autopeft.study.past import PastStudy
from autopeft.study.strategies.candidate_domain import CandidateDomain
from autopeft.study.strategies.drawing import generator, tried_digests, untried_sobol
from autopeft.study.strategies.gain import FINALISTS, Gain, Matrix, fitted, without_outliers
from autopeft.study.strategies.known import KnownCosts, KnownValues
from autopeft.study.strategies.local_search import POOL, Ranking, best_points
from autopeft.study.strategies.outcome import Outcome
from autopeft.study.strategies.source import Sources
from autopeft.study.strategies.start import start_points
from autopeft.study.strategies.surrogate import NUMERICAL_ERRORS, check_surrogate
from autopeft.study.strategies.transfer import fitted_from
from autopeft.study.strategies.warm_points import WARM, goes_on, warm_points
from autopeft.study.strategy import Candidate, Surrogate
from autopeft.trials.threads import one_thread
from autopeft.trials.trial import TrialRecord, TrialStatus

logger = logging.getLogger(__name__)

#: Share of the start that the best points of earlier studies may take.
WARM_SHARE = 0.5

#: Points that are looked at closely where their known objectives take long.
SLOW_FINALISTS = 12
#: Numbers of trials and of their reports.
Reported = tuple[tuple[int, int], ...]
#: How trials fail that others like them would fail by too. A process that was lost, a time limit
#: and an error in the program say nothing of a point.
OWN_FAULTS = (TrialStatus.NAN, TrialStatus.OOM_GPU, TrialStatus.OOM_HOST)


class BayesianStrategy:
    """Fits the quality of all trials so far, then maximises the expected gain of hypervolume.

    Costs are known, so only quality is modelled. The share of a full training is an input of the
    model: stopped trials inform it, candidates are judged at 1. A trial that diverged or ran out
    of memory counts as one with the worst quality seen, so that its neighbours are left alone.
    """

    def __init__(  # noqa: PLR0913 - the parts of a search, wired in one place
        self,
        space: CandidateSpace,
        objectives: Sequence[Objective],
        reference: ReferencePoint,
        known_values: KnownValues,
        *,
        seed: int,
        n_initial: int,
        surrogate: Surrogate = "matern",
        pool: int = POOL,
        past: Sequence[PastStudy] = (),
    ) -> None:
        """Take the parts of a search.

        Args:
            space: What may be tried.
            objectives: What is improved; quality first.
            reference: Where hypervolume is measured from.
            known_values: Natural values of the known objectives of a point.
            seed: The study's seed.
            n_initial: Candidates before the model: the LoRA ladder, the portfolio, other methods
                at their defaults, then a Sobol sequence.
            surrogate: Kind of the model of quality.
            pool: Random points that the acquisition function is evaluated on.
            past: Earlier studies, with the trials that can be used; none for a cold start.

        Raises:
            MissingPackageError: If the surrogate needs a package that is not installed.
        """
        check_surrogate(surrogate)
        self._space = space
        self._objectives = tuple(objectives)
        self._reference = reference
        self._seed = seed
        self._n_initial = n_initial
        self._pool = pool
        self._surrogate = surrogate
        self._domain = CandidateDomain(space)
        self._sources = Sources(past, space)
        self._known = KnownCosts(self._domain, self._objectives, known_values)
        self._volume = math.prod(reference.position)
        #: The latest fit and what it was of, for workers that ask before anything new is measured.
        self._latest: tuple[tuple[Reported, Reported], Model, Outcome] | None = None

    def ask(self, records: Sequence[TrialRecord], number: int) -> Candidate | None:
        """Return the candidate for trial `number`, or `None` if all points were tried."""
        tried = tried_digests(records)
        measured = [r for r in records if r.quality is not None and not r.status.failed]
        qualities = {r.quality for r in measured}
        if number < self._n_initial or len(measured) < 3 or len(qualities) < 2:
            return self._start(tried, records)
        try:
            with one_thread():
                found = self._promising(records, measured, tried, generator(self._seed, number))
        except NUMERICAL_ERRORS as error:
            logger.warning("trial %d gets a quasi-random point: %s", number, error)
            found = None
        return found or self._start(tried, records)

    def _promising(
        self,
        records: Sequence[TrialRecord],
        measured: Sequence[TrialRecord],
        tried: set[str],
        rng: np.random.Generator,
    ) -> Candidate | None:
        """Return the point with the largest expected gain, `None` if none was found."""
        gain = self._gain(records, measured, int(rng.integers(2**31)))

        def ranked(points: Sequence[Assignment]) -> Ranking:
            return self._rank(gain, self._untried(points, tried), records)

        best = best_points(self._domain, ranked, self._best_first(measured), rng, self._pool)
        for log_gain, point in best:
            if self._space.trained(point):
                notes = {"origin": "nehvi", "gain": math.exp(log_gain) / self._volume}
                return Candidate(assignment=point, notes=notes)
        return None

    def _start(self, tried: set[str], records: Sequence[TrialRecord]) -> Candidate | None:
        """Return the next point of the start."""
        for origin, points in self._well_known.items():
            if origin == WARM and not goes_on(records, self._objectives, self._sources):
                continue
            for point in filter(self._space.trained, self._untried(points, tried)):
                return Candidate(assignment=point, notes={"origin": origin})
        for point in filter(self._space.trained, untried_sobol(self._space, self._seed, tried)):
            return Candidate(assignment=point, notes={"origin": "sobol"})
        return None

    @cached_property
    def _well_known(self) -> dict[str, list[Assignment]]:
        cold = start_points(self._space, self._seed)
        if not self._sources:
            return cold
        warm = warm_points(self._sources, self._space)[: int(WARM_SHARE * self._n_initial)]
        return {"ladder": cold.pop("ladder"), WARM: warm, **cold}

    def _gain(
        self, records: Sequence[TrialRecord], measured: Sequence[TrialRecord], seed: int
    ) -> Gain:
        pending = [r for r in records if r.result is None]
        model, outcome = self._model(measured, [r for r in records if _broke(r)])
        return Gain(
            model,
            self._recorded(measured),
            [-position for position in self._reference.position],
            self._recorded(pending) if pending else None,
            seed=seed,
            outcome=outcome,
        )

    def _model(
        self, measured: Sequence[TrialRecord], broken: Sequence[TrialRecord]
    ) -> tuple[Model, Outcome]:
        """Return the model of quality, as it was if nothing has been measured since."""
        seen = _reported(measured), _reported(broken)
        if self._latest is None or self._latest[0] != seen:
            self._latest = seen, *self._fit(measured, broken)
        return self._latest[1:]

    def _fit(
        self, measured: Sequence[TrialRecord], broken: Sequence[TrialRecord]
    ) -> tuple[Model, Outcome]:
        """Fit quality at all rungs: what trials gained from one to the next is seen too."""
        seen = [(record, *pair) for record in measured for pair in _seen(record)]
        # No number is moved up to the worst that is no outlier.
        seen += [(record, 1.0, math.nan) for record in broken]
        points = [record.assignment for record, _, _ in seen]
        shares = [share for _, share, _ in seen]
        rows = self._rows(points, shares)
        qualities = np.array([[-self._scaled_quality(quality)] for _, _, quality in seen])
        kept = without_outliers(qualities)
        outcome = Outcome.of(kept[:, 0])
        scores = outcome.scored(kept)
        if not self._sources:
            return fitted(rows, scores, self._surrogate, self._seed), outcome
        trials = [record.spec.configuration.digest for record, _, _ in seen]
        n_sources = len(self._sources)
        model = fitted_from(rows, n_sources, scores, trials, self._surrogate, self._seed)
        return model, outcome

    def _rank(
        self, gain: Gain, points: Sequence[Assignment], records: Sequence[TrialRecord]
    ) -> Ranking:
        """Return those points that a glance finds best, with their gains, the best first."""
        if not points:
            return []
        guessed = self._known.guessed(points, records)
        glance = gain.glance(self._rows(points), self._costs(guessed))
        assert glance is not None, "costs are known, and quality alone is not"
        n_finalists = SLOW_FINALISTS if self._known.slow else FINALISTS
        best = [points[int(i)] for i in (-glance).argsort(kind="stable")[:n_finalists]]
        exact = self._costs([self._known.exact(point) for point in best])
        gains = gain.of(self._rows(best), exact).tolist()
        return sorted(zip(gains, best, strict=True), key=lambda item: -item[0])

    def _untried(self, points: Sequence[Assignment], tried: set[str]) -> list[Assignment]:
        by_digest = {self._domain.key(p): p for p in points}
        return [point for digest, point in by_digest.items() if digest not in tried]

    def _best_first(self, measured: Sequence[TrialRecord]) -> list[Assignment]:
        """Return what was tried by non-dominated rank, as far as each trial came."""
        values = [self._scaled_quality(q) for r in measured if (q := r.quality) is not None]
        columns = np.column_stack([values, -self._recorded(measured)[1]])
        order = ranks(columns).argsort(kind="stable")
        return [dict(measured[i].assignment) for i in order]

    def _recorded(self, records: Sequence[TrialRecord]) -> tuple[Matrix, Matrix]:
        known = [o for o in self._objectives if o.known]
        costs = [[o.cost(r.cost) for o in known] for r in records]
        return self._rows([r.assignment for r in records]), self._costs(costs)

    def _rows(
        self, points: Sequence[Mapping[str, Value]], shares: Sequence[float] | None = None
    ) -> Matrix:
        """Return points with shares of a full training, at full ones unless they are given.

        Behind them comes what each source expects: shape (n, d + 1 + sources).
        """
        shares = [1.0] * len(points) if shares is None else shares
        features = np.stack([self._domain.row(point) for point in points])
        return np.column_stack([features, shares, self._sources.expected(points, shares)])

    def _costs(self, known: Sequence[Sequence[float]]) -> Matrix:
        """Return known objectives on the scale of the reference, larger is better."""
        scaled = []
        for values in known:
            # Quality comes first among the objectives; its place is cut off again.
            pairs = zip(self._objectives, [0.0, *values], strict=True)
            scaled.append(-self._reference.scaled([o.minimised(v) for o, v in pairs])[1:])
        return np.array(scaled)

    def _scaled_quality(self, quality: float) -> float:
        """Return a quality on the scale of the reference: smaller is better."""
        rest = [0.0] * (len(self._objectives) - 1)
        values = [self._objectives[0].minimised(quality), *rest]
        return float(self._reference.scaled(values)[0])


def _seen(record: TrialRecord) -> Iterator[tuple[float, float]]:
    """Yield share of the training and quality of each rung that a trial reached."""
    for report in record.reports:
        quality = report.metrics[record.quality_metric]
        if math.isfinite(quality):
            yield report.fidelity, quality


def _reported(records: Sequence[TrialRecord]) -> Reported:
    """Return the number of each trial, and of its reports."""
    return tuple((record.number, len(record.reports)) for record in records)


def _broke(record: TrialRecord) -> bool:
    """Tell whether a trial ended without a quality for a reason that lies in its point."""
    no_number = record.status is TrialStatus.COMPLETE and record.quality is None
    return no_number or record.status in OWN_FAULTS
