"""Metrics, each in 0-1 or -1-1 with larger better."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from autopeft.errors import DataError
from autopeft.models.head import TaskKind


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """A score of predictions.

    Attributes:
        kind: Kind of task that it scores.
        function: (labels of shape (n,), predictions of shape (n,)) to the score; of texts each
            token is one of n.
        floor: Score of a predictor that knows nothing but the class shares, given the labels.
        error: (score, number of rows) to the standard error of the score.
    """

    kind: TaskKind
    function: Callable[[NDArray[np.float64], NDArray[np.float64]], float]
    floor: Callable[[NDArray[np.float64]], float]
    error: Callable[[float, int], float]

    @property
    def gradual(self) -> bool:
        """Whether each prediction moves it a little, rather than where it changes sides alone."""
        return self.kind == "regression"


def _accuracy(labels: NDArray[np.float64], predictions: NDArray[np.float64]) -> float:
    from sklearn.metrics import accuracy_score

    return float(accuracy_score(labels, predictions))


def _f1(labels: NDArray[np.float64], predictions: NDArray[np.float64]) -> float:
    from sklearn.metrics import f1_score

    if set(np.unique(labels)) <= {0.0, 1.0}:
        return float(f1_score(labels, predictions, zero_division=0.0))
    return _macro_f1(labels, predictions)


def _macro_f1(labels: NDArray[np.float64], predictions: NDArray[np.float64]) -> float:
    from sklearn.metrics import f1_score

    return float(f1_score(labels, predictions, average="macro", zero_division=0.0))


def _matthews(labels: NDArray[np.float64], predictions: NDArray[np.float64]) -> float:
    from sklearn.metrics import matthews_corrcoef

    return float(matthews_corrcoef(labels, predictions))


def _correlation(name: Literal["pearsonr", "spearmanr"]) -> Callable[..., float]:
    def correlate(labels: NDArray[np.float64], predictions: NDArray[np.float64]) -> float:
        from scipy import stats

        # A constant has no correlation with anything; scipy would return NaN, and NaN would end
        # the trial as if the training had diverged.
        if np.ptp(predictions) == 0 or np.ptp(labels) == 0:
            return 0.0
        return float(getattr(stats, name)(labels, predictions)[0])

    return correlate


def _majority_share(labels: NDArray[np.float64]) -> float:
    _, counts = np.unique(labels, return_counts=True)
    return float(counts.max() / counts.sum())


def _majority_f1(labels: NDArray[np.float64]) -> float:
    values, counts = np.unique(labels, return_counts=True)
    return _f1(labels, np.full_like(labels, values[counts.argmax()]))


def _zero(_labels: NDArray[np.float64]) -> float:
    return 0.0


def _classification(
    function: Callable[..., float],
    floor: Callable[..., float],
    error: Callable[[float, int], float],
) -> Metric:
    return Metric(kind="classification", function=function, floor=floor, error=error)


def _regression(function: Callable[..., float]) -> Metric:
    return Metric(kind="regression", function=function, floor=_zero, error=_error_of_correlation)


def _error_of_share(score: float, n: int) -> float:
    """Binomial, as if two rows more were right and two wrong; for F1 scores an estimate.

    Few rows that are all right are no certainty (Agresti & Coull 1998, doi 10.2307/2685469).
    """
    rows = n + 4
    share = (min(max(score, 0.0), 1.0) * n + 2) / rows
    return math.sqrt(share * (1 - share) / rows)


def _error_of_correlation(score: float, n: int) -> float:
    return (1 - min(score**2, 1.0)) / math.sqrt(n)


METRICS: Mapping[str, Metric] = {
    "accuracy": _classification(_accuracy, _majority_share, _error_of_share),
    "f1": _classification(_f1, _majority_f1, _error_of_share),
    "macro_f1": _classification(_macro_f1, _zero, _error_of_share),
    "matthews": _classification(_matthews, _zero, _error_of_correlation),
    "pearson": _regression(_correlation("pearsonr")),
    "spearman": _regression(_correlation("spearmanr")),
    # A row's tokens are right or wrong together, more or less: its error is as if they all were.
    "token_accuracy": Metric(
        kind="language_modeling", function=_accuracy, floor=_zero, error=_error_of_share
    ),
}


def predictions_from(logits: NDArray[np.float64], kind: str) -> NDArray[np.float64]:
    """Return predictions of shape (n,) from logits of shape (n, classes) or (n, 1)."""
    if kind == "regression":
        return logits[:, 0]
    return np.asarray(logits.argmax(axis=1), dtype=np.float64)


def mean_loss(logits: NDArray[np.float64], labels: NDArray[np.float64], kind: str) -> float:
    """Return the mean cross-entropy in nats, or the mean squared error for a regression."""
    if kind == "regression":
        return float(np.mean((logits[:, 0] - labels) ** 2))
    from scipy.special import log_softmax

    likelihoods = log_softmax(logits, axis=1)[np.arange(len(labels)), labels.astype(int)]
    return float(-np.mean(likelihoods))


def evaluate(
    names: Sequence[str], labels: NDArray[np.float64], predictions: NDArray[np.float64]
) -> dict[str, float]:
    """Return each metric's score.

    Raises:
        DataError: If there is nothing to evaluate.
    """
    if len(labels) == 0:
        raise DataError("There are no rows to evaluate.")
    return {name: METRICS[name].function(labels, predictions) for name in names}
