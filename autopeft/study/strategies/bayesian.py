"""Bayesian optimisation (BoTorch): a start, then noisy expected hypervolume improvement."""

import logging
import math
import warnings
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property

import numpy as np
import torch
from botorch.acquisition.multi_objective import logei
from botorch.exceptions import BotorchWarning
from botorch.models import SingleTaskGP
from botorch.sampling import SobolQMCNormalSampler
from linear_operator.utils.warnings import NumericalWarning
from torch import Tensor

from autopeft.cost.candidates import CandidateSpace
from autopeft.space.configuration import Value
from autopeft.space.hyperparameter import Assignment
from autopeft.study.objective import Objective, ReferencePoint
from autopeft.study.strategies.drawing import generator, tried_digests, untried_sobol
from autopeft.study.strategies.features import Features
from autopeft.study.strategies.known import KnownCosts, KnownValues
from autopeft.study.strategies.start import start_points
from autopeft.study.strategies.surrogate import QualityWithCosts, fit_quality
from autopeft.study.strategy import Candidate
from autopeft.trials.trial import TrialRecord

logger = logging.getLogger(__name__)

POOL = 512
LOCAL_STARTS = 4
LOCAL_ROUNDS = 3
MC_SAMPLES = 64
CHUNK = 64
#: Points that are looked at exactly where their known objectives take long.
FINALISTS = 12


#: Expected gains of points, given their known objectives.
Score = Callable[[list[Assignment], list[list[float]]], Tensor]


class BayesianStrategy:
    """Fits the quality of all trials so far, then maximises the expected gain of hypervolume.

    Costs are known, so only quality is modelled. The share of a full training is an input of the
    model: stopped trials inform it, candidates are judged at 1.
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
        pool: int = POOL,
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
            pool: Random points that the acquisition function is evaluated on.
        """
        self._space = space
        self._objectives = tuple(objectives)
        self._reference = reference
        self._seed = seed
        self._n_initial = n_initial
        self._pool = pool
        self._features = Features(space)
        self._known = KnownCosts(space, self._objectives, known_values, self._features)

    def ask(self, records: Sequence[TrialRecord], number: int) -> Candidate | None:
        """Return the candidate for trial `number`, or `None` if all points were tried."""
        tried = tried_digests(records)
        measured = [r for r in records if r.quality is not None and not r.status.failed]
        qualities = {r.quality for r in measured}
        if number < self._n_initial or len(measured) < 3 or len(qualities) < 2:
            return self._start(tried)
        rng = generator(self._seed, number)
        torch.manual_seed(int(rng.integers(2**31)))
        with warnings.catch_warnings():
            for category in (BotorchWarning, NumericalWarning):
                warnings.simplefilter("ignore", category)
            best = self._maximise(self._acquisition(records, measured), records, tried, rng)
        return Candidate(assignment=best, notes={"origin": "nehvi"}) if best else None

    def _start(self, tried: set[str]) -> Candidate | None:
        """Return the next point of the start."""
        for origin, points in self._well_known.items():
            for point in filter(self._space.trained, self._untried(points, tried)):
                return Candidate(assignment=point, notes={"origin": origin})
        for point in filter(self._space.trained, untried_sobol(self._space, self._seed, tried)):
            return Candidate(assignment=point, notes={"origin": "sobol"})
        return None

    @cached_property
    def _well_known(self) -> dict[str, list[Assignment]]:
        return start_points(self._space, self._seed)

    def _acquisition(
        self, records: Sequence[TrialRecord], measured: Sequence[TrialRecord]
    ) -> Score:
        X = self._recorded(measured)
        model = QualityWithCosts(self._fit(X, measured), len(self._objectives) - 1)
        pending = [r for r in records if r.result is None]
        acquisition = logei.qLogNoisyExpectedHypervolumeImprovement(
            model=model,
            ref_point=[-position for position in self._reference.position],
            X_baseline=self._at_full_fidelity(X),
            sampler=SobolQMCNormalSampler(
                torch.Size([MC_SAMPLES]), seed=int(torch.randint(2**31, ()).item())
            ),
            X_pending=self._at_full_fidelity(self._recorded(pending)) if pending else None,
            prune_baseline=True,
            cache_root=False,
        )

        def score(points: list[Assignment], known: list[list[float]]) -> Tensor:
            inputs = self._inputs(points, known)
            rows = self._at_full_fidelity(inputs).unsqueeze(1)
            with torch.no_grad():
                return torch.cat([acquisition(chunk) for chunk in rows.split(CHUNK)])

        return score

    def _fit(self, X: Tensor, measured: Sequence[TrialRecord]) -> SingleTaskGP:
        """Fit quality at all rungs: what trials gained from one to the next is seen too."""
        seen = [
            (i, report.fidelity, quality)
            for i, record in enumerate(measured)
            for report in record.reports
            if math.isfinite(quality := report.metrics[record.quality_metric])
        ]
        rows, fidelities, qualities = zip(*seen, strict=True)
        n_costs = len(self._objectives) - 1
        fidelity = torch.tensor(fidelities, dtype=torch.double).unsqueeze(1)
        inputs = torch.cat([X[list(rows), :-n_costs], fidelity], dim=1)
        # Quality on the scale of the reference, turned so that larger is better.
        objective, rest = self._objectives[0], [0.0] * n_costs
        y = [-self._reference.scaled([objective.minimised(q), *rest])[0] for q in qualities]
        return fit_quality(inputs, torch.tensor(y, dtype=torch.double).unsqueeze(1))

    def _maximise(
        self,
        score: Score,
        records: Sequence[TrialRecord],
        tried: set[str],
        rng: np.random.Generator,
    ) -> Assignment | None:
        """Score a pool, then climb from its best points through their neighbours."""
        drawn = untried_sobol(
            self._space, int(rng.integers(2**31)), tried, most_draws=2 * self._pool
        )
        pool = list(drawn)[: self._pool]
        for record in records:
            pool += self._space.neighbours(dict(record.assignment), rng)[:8]
        pool = self._untried(pool, tried)
        if not pool:
            return None
        best = self._ranked(score, pool, records)[:LOCAL_STARTS]
        for _ in range(LOCAL_ROUNDS):
            around = [n for _, point in best for n in self._space.neighbours(point, rng)]
            around = self._untried(around, tried)
            if not around:
                break
            found = self._ranked(score, around, records)
            ranked = sorted([*best, *found], key=lambda item: -item[0])
            if ranked[0][0] <= best[0][0]:
                break
            best = ranked[:LOCAL_STARTS]
        return next((point for _, point in best if self._space.trained(point)), None)

    def _ranked(
        self, score: Score, points: list[Assignment], records: Sequence[TrialRecord]
    ) -> list[tuple[float, Assignment]]:
        """Return the best points first, with their scores: all, or the finalists of a glance."""
        if self._known.slow:
            glance = score(points, self._known.guessed(points, records))
            points = [points[int(i)] for i in glance.argsort(descending=True)[:FINALISTS]]
        values = score(points, [self._known.exact(point) for point in points]).tolist()
        return sorted(zip(values, points, strict=True), key=lambda item: -item[0])

    def _untried(self, points: Sequence[Assignment], tried: set[str]) -> list[Assignment]:
        by_digest = {self._space.configuration(p).digest: p for p in points}
        return [point for digest, point in by_digest.items() if digest not in tried]

    def _recorded(self, records: Sequence[TrialRecord]) -> Tensor:
        known = [o for o in self._objectives if o.known]
        return self._inputs(
            [r.assignment for r in records], [[o.cost(r.cost) for o in known] for r in records]
        )

    def _inputs(
        self, points: Sequence[Mapping[str, Value]], known: Sequence[Sequence[float]]
    ) -> Tensor:
        """Return features followed by scaled costs, shape (n, d + costs)."""
        rows = []
        for point, values in zip(points, known, strict=True):
            # Quality comes first among the objectives; its place is cut off again.
            pairs = zip(self._objectives, [0.0, *values], strict=True)
            scaled = self._reference.scaled([o.minimised(value) for o, value in pairs])[1:]
            rows.append(np.concatenate([self._features.row(point), scaled]))
        return torch.from_numpy(np.stack(rows))

    def _at_full_fidelity(self, inputs: Tensor) -> Tensor:
        n_costs = len(self._objectives) - 1
        full = torch.ones((len(inputs), 1), dtype=inputs.dtype)
        return torch.cat([inputs[:, :-n_costs], full, inputs[:, -n_costs:]], dim=1)
