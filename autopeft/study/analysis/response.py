"""What the surrogate says: how quality goes with each number, and what more parameters buy."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from autopeft.study.analysis.facts import Array, Encoder, Facts, natural

if TYPE_CHECKING:
    from botorch.models.model import Model

#: Facts whose curves are drawn.
CURVES = ("learning_rate_multiple", "adapter_params", "layers", "mean_depth")
#: Complete trials below which no surrogate is fitted.
LEAST_TRIALS = 8
_GRID = 9
_FOLDS = 5
FIDELITY = "fidelity"


@dataclass(frozen=True, slots=True, kw_only=True)
class Curve:
    """Expected quality over one fact, averaged over the other facts of all trials.

    Attributes:
        name: The fact.
        values: Its values, as people write them.
        qualities: Expected quality at each.
        errors: Standard deviation of what is expected.
    """

    name: str
    values: tuple[float, ...]
    qualities: tuple[float, ...]
    errors: tuple[float, ...]


class Response:
    """A Gaussian process of quality over facts and the share of a full training."""

    def __init__(self, rows: Sequence[Facts], qualities: Sequence[float]) -> None:
        """Fit it.

        Args:
            rows: Facts of what was measured, `fidelity` among them.
            qualities: What was measured.
        """
        self._encoder = Encoder.of(rows)
        self._model = _fit(self._encoder.encode(rows), np.asarray(qualities, dtype=float))

    def curve(self, name: str, rows: Sequence[Facts]) -> Curve:
        """Return the partial dependence on a fact over full trainings of these rows."""
        values = np.linspace(self._encoder.low[name], self._encoder.high[name], _GRID)
        moved = [self._full([{**row, name: float(value)} for row in rows]) for value in values]
        mean, covariance = _predicted(self._model, np.stack(moved))
        errors = np.sqrt(covariance.sum(axis=(1, 2))) / len(rows)
        return Curve(
            name=name,
            values=tuple(natural(name, float(value)) for value in values),
            qualities=tuple(mean.mean(axis=1).tolist()),
            errors=tuple(errors.tolist()),
        )

    def curves(self, rows: Sequence[Facts]) -> tuple[Curve, ...]:
        """Return the curves of all numbers that vary."""
        return tuple(self.curve(name, rows) for name in CURVES if name in self._encoder.low)

    def compared(self, row: Facts, others: Sequence[Facts]) -> tuple[int, float, float, float]:
        """Compare a full training with the best of others, as the surrogate expects them.

        Returns:
            Number of the best of the others, its expected quality, what it is better by than
            `row`, and the standard deviation of that difference.
        """
        mean, covariance = _predicted(self._model, self._full([row, *others])[None])
        best = 1 + int(mean[0, 1:].argmax())
        pick = np.ix_([0, best], [0, best])
        (own, cross), (_, other) = covariance[0][pick]
        spread = float(np.sqrt(max(own + other - 2 * cross, 0.0)))
        return best - 1, float(mean[0, best]), float(mean[0, best] - mean[0, 0]), spread

    def _full(self, rows: Sequence[Facts]) -> Array:
        return self._encoder.encode([{**row, FIDELITY: 1.0} for row in rows])


def predictability(rows: Sequence[Facts], qualities: Sequence[float]) -> float:
    """Return Spearman's correlation of quality with what is predicted without the trial, in -1-1.

    Trials are left out by fifths; 0 where all predictions or all qualities are equal.
    """
    from scipy.stats import spearmanr

    encoded = Encoder.of(rows).encode(rows)
    y = np.asarray(qualities, dtype=float)
    order = np.random.default_rng(0).permutation(len(rows))
    predicted = np.empty(len(rows))
    for left_out in np.array_split(order, _FOLDS):
        kept = np.setdiff1d(order, left_out)
        predicted[left_out] = _predicted(_fit(encoded[kept], y[kept]), encoded[left_out][None])[0]
    if len(set(predicted)) < 2 or len(set(qualities)) < 2:
        return 0.0
    return float(spearmanr(predicted, y).statistic)


def near(rows: Mapping[int, Facts], target: float) -> list[int]:
    """Return the trials whose parameters are within half a decade of a number of them."""
    place = np.log10(target)
    return [n for n, row in rows.items() if abs(float(row["adapter_params"]) - place) <= 0.5]


def _fit(inputs: Array, y: Array) -> "Model":
    from autopeft.study.strategies.gain import fitted

    return fitted(inputs, y[:, None], "matern", seed=0)


def _predicted(model: "Model", inputs: Array) -> tuple[Array, Array]:
    """Return mean, shape (b, n), and covariance, shape (b, n, n), at inputs (b, n, d)."""
    import torch

    with torch.no_grad():
        posterior: Any = model.posterior(torch.from_numpy(inputs))
        covariance = posterior.distribution.covariance_matrix
        return posterior.mean.squeeze(-1).numpy(), covariance.numpy()
