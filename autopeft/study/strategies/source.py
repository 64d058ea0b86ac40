"""An earlier study as a model: what it expects of points of this search."""

import logging
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import ndtri
from scipy.stats import rankdata

from autopeft.cost.candidates import CandidateSpace
from autopeft.space.configuration import Value
from autopeft.study.past import PastStudy, PastTrial
from autopeft.study.strategies.gain import fitted, quiet
from autopeft.study.strategies.left_out import LeftOut
from autopeft.study.strategies.meaning import Meaning, SharedColumns, meaning
from autopeft.study.strategies.surrogate import NUMERICAL_ERRORS

logger = logging.getLogger(__name__)
Matrix = NDArray[np.float64]

#: Measurements that a source is fitted to: the time of a fit grows with their cube.
MOST_ROWS = 400
#: What is guessed of how well trials predict each other; it weighs as much as so many trials.
GUESS, N_GUESSED = 0.5, 10


class Source:
    """A Gaussian process of an earlier study's qualities, on a scale that all studies share.

    Tasks and metrics have no common scale. Qualities are therefore taken by their rank, and ranks
    as quantiles of the normal distribution (Salinas, Shen and Perrone 2020, arXiv 1909.13595).

    Attributes:
        study: The study.
    """

    def __init__(self, study: PastStudy) -> None:
        """Take a study with the trials that can be used."""
        self.study = study
        self._meanings = {trial.number: self._meaning(trial) for trial in study.trials}
        self._columns = SharedColumns(list(self._meanings.values()))
        self._seen = _thinned(study.trials)

    def expected(self, points: Sequence[Meaning], shares: Sequence[float]) -> Matrix:
        """Return what the study expects of points, shape (n,), in quantiles of the normal.

        It is made smaller as far as the study's trials do not predict each other. A point of which
        it knows nothing is expected to be like its average, which is 0: so it says neither good
        nor bad of it.

        Args:
            points: The points.
            shares: Shares of a full training that they get, in 0-1.
        """
        found = np.zeros(len(points))
        known = [i for i, point in enumerate(points) if self._columns.knows(point)]
        model = self._model
        if known and model is not None:
            rows = np.stack([self._row(points[i], shares[i]) for i in known])
            with quiet(), torch.no_grad():
                posterior = model.posterior(torch.from_numpy(rows))
            found[known] = self._trust * posterior.mean.squeeze(-1).numpy()
        return found

    def expected_of_trials(self) -> Matrix:
        """Return what the study expects of its own trials after a full training, shape (n,)."""
        meanings = [self._meanings[trial.number] for trial in self.study.trials]
        return self.expected(meanings, [1.0] * len(meanings))

    @cached_property
    def _model(self) -> Any:
        try:
            return fitted(self._rows, self._scores[:, None], "matern", seed=0)
        except NUMERICAL_ERRORS as error:
            logger.warning("nothing is taken from %s: %s", self.study.name, error)
            return None

    @cached_property
    def _trust(self) -> float:
        """How well the study's trials predict each other, in 0-1.

        A process that is fitted to few noisy trials finds a function in the noise, and would pass
        it on. So what it says counts as far as there is one: by the correlation of trials with
        what the others predict. Few trials cannot show it, so there is a guess to begin with.
        """
        left_out = LeftOut(self._rows, self._scores, [t.number for t, _, _ in self._seen])
        predicted = left_out.predicted()[0]
        n = len(predicted)
        x, y = (values - values.mean() for values in (predicted, left_out.truth))
        shown = float(x @ y / max(np.sqrt((x @ x) * (y @ y)), 1e-12))
        return max((n * shown + N_GUESSED * GUESS) / (n + N_GUESSED), 0.0)

    @cached_property
    def _rows(self) -> Matrix:
        rows = [self._row(self._meanings[trial.number], share) for trial, share, _ in self._seen]
        return np.stack(rows)

    @cached_property
    def _scores(self) -> Matrix:
        return normal_scores(np.array([quality for _, _, quality in self._seen]))

    def _row(self, point: Meaning, share: float) -> Matrix:
        return np.append(self._columns.row(point), share)

    def _meaning(self, trial: PastTrial) -> Meaning:
        shape = self.study.n_layers, self.study.base_params
        return meaning(trial.configuration, trial.adapter_params, *shape)


class Sources:
    """The earlier studies that a search begins with.

    Attributes:
        each: The sources.
    """

    def __init__(self, studies: Sequence[PastStudy], space: CandidateSpace) -> None:
        """Take studies with the trials that can be used, if any, and what is searched now."""
        self.each = tuple(Source(study) for study in studies if study.trials)
        self._space = space

    def __len__(self) -> int:
        return len(self.each)

    def expected(self, points: Sequence[Mapping[str, Value]], shares: Sequence[float]) -> Matrix:
        """Return what each source expects of points of this search, shape (n, sources).

        Args:
            points: The points.
            shares: Shares of a full training that they get, in 0-1.
        """
        if not self.each:
            return np.zeros((len(points), 0))
        meanings = [self._meaning(point) for point in points]
        return np.stack([source.expected(meanings, shares) for source in self.each], axis=1)

    def _meaning(self, point: Mapping[str, Value]) -> Meaning:
        space = self._space
        count = space.adapter_params(point) or 0
        shape = space.spec.n_layers, space.spec.base_params
        return meaning(space.configuration(point), count, *shape)


def normal_scores(values: Matrix) -> Matrix:
    """Return values of shape (n,) by their rank, as quantiles of the normal; ties share a rank."""
    result: Matrix = ndtri((rankdata(values) - 0.5) / len(values))
    return result


def _thinned(trials: Sequence[PastTrial]) -> list[tuple[PastTrial, float, float]]:
    """Return trials with share and quality at all rungs, or at the last ones if those are many."""
    every = [(trial, share, quality) for trial in trials for share, quality in trial.measured]
    if len(every) <= MOST_ROWS:
        return every
    last = [(trial, *trial.measured[-1]) for trial in trials]
    kept = np.linspace(0, len(last) - 1, min(len(last), MOST_ROWS)).round().astype(int)
    return [last[i] for i in kept]
