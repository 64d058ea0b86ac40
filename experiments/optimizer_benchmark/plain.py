"""Plain NEHVI: a Gaussian process of BoTorch's own for each objective on one-hot points."""

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from botorch.models import ModelListGP, SingleTaskGP
from botorch.models.transforms import Standardize
from numpy.typing import NDArray
from optuna import Study
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler, RandomSampler
from optuna.trial import FrozenTrial, TrialState

from autopeft.study.strategies.columns import Columns
from autopeft.study.strategies.gain import Gain, Scale, quiet
from autopeft.study.strategies.surrogate import ENOUGH, MAX_ITERATIONS, most_probable

Matrix = NDArray[np.float64]

N_INITIAL = 10
POOL = 512
STARTS = 4


def plain_model(rows: Matrix, measured: Matrix, seed: int) -> SingleTaskGP:
    """Fit BoTorch's own choice, a squared exponential kernel, to rows (n, d) and values (n, 1)."""
    with quiet(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        x, y = torch.from_numpy(rows), torch.from_numpy(measured)
        model = SingleTaskGP(x, y, outcome_transform=Standardize(m=1))
        return most_probable(model, maxiter=MAX_ITERATIONS, ftol=ENOUGH)


class PlainNehvi(BaseSampler):
    """The best of a Sobol sequence, and what gradients make of the best of these.

    It is told all parameters and the reference of the hypervolume, and takes no notice of what
    depends on what: a parameter that a point does not have lies in the middle of its range.
    """

    def __init__(
        self, space: Mapping[str, BaseDistribution], reference: Sequence[float], seed: int
    ) -> None:
        self._space = dict(space)
        self._columns = Columns(self._space)
        self._reference = np.array(reference)
        self._seed = seed
        self._random = RandomSampler(seed=seed)

    def infer_relative_search_space(
        self,
        study: Study,  # noqa: ARG002 - Optuna's signature
        trial: FrozenTrial,  # noqa: ARG002
    ) -> dict[str, BaseDistribution]:
        return self._space

    def sample_relative(
        self,
        study: Study,
        trial: FrozenTrial,
        search_space: dict[str, BaseDistribution],  # noqa: ARG002 - Optuna's signature
    ) -> dict[str, Any]:
        done = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
        step = 1000 * self._seed + trial.number
        if len(done) < N_INITIAL:
            points = self._columns.draw(self._seed)
            return next(itertools.islice(points, trial.number, None))
        rows = np.stack([self._columns.row(t.params) for t in done])
        values = -np.array([t.values for t in done])
        both = np.concatenate([values, -self._reference[None]])
        both = Scale.of(both)(both)
        models = [plain_model(rows, both[:-1, [k]], step) for k in range(values.shape[1])]
        none = np.zeros((POOL, 0))
        gain = Gain(ModelListGP(*models), (rows, none[: len(rows)]), both[-1].tolist(), seed=step)
        pool = list(itertools.islice(self._columns.draw(step), POOL))
        order = (-gain.of(np.stack([self._columns.row(p) for p in pool]), none)).argsort()
        best = [self._climbed(gain, pool[i]) for i in order[:STARTS]]
        gains = gain.of(np.stack([self._columns.row(p) for p in best]), none[:STARTS])
        return best[int(gains.argmax())]

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: Any
    ) -> Any:
        return self._random.sample_independent(study, trial, param_name, param_distribution)

    def _climbed(self, gain: Gain, point: dict[str, Any]) -> dict[str, Any]:
        row = gain.climb(self._columns.row(point), self._columns.fixed(point))
        return self._columns.moved(point, row)
