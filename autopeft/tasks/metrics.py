"""Metrics, each in 0-1 or -1-1 with larger better."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from autopeft.errors import DataError


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """A score of predictions.

    Attributes:
        kind: Kind of task that it scores.
        function: (labels of shape (n,), predictions of shape (n,)) to the score.
        floor: Score of a predictor that knows nothing but the class shares, given the labels.
    """

    kind: Literal["classification", "regression"]
    function: Callable[[NDArray[np.float64], NDArray[np.float64]], float]
    floor: Callable[[NDArray[np.float64]], float]


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


METRICS: Mapping[str, Metric] = {
    "accuracy": Metric(kind="classification", function=_accuracy, floor=_majority_share),
    "f1": Metric(kind="classification", function=_f1, floor=_majority_f1),
    "macro_f1": Metric(kind="classification", function=_macro_f1, floor=_zero),
    "matthews": Metric(kind="classification", function=_matthews, floor=_zero),
    "pearson": Metric(kind="regression", function=_correlation("pearsonr"), floor=_zero),
    "spearman": Metric(kind="regression", function=_correlation("spearmanr"), floor=_zero),
}


def predictions_from(logits: NDArray[np.float64], kind: str) -> NDArray[np.float64]:
    """Return predictions of shape (n,) from logits of shape (n, classes) or (n, 1)."""
    if kind == "regression":
        return logits[:, 0]
    return np.asarray(logits.argmax(axis=1), dtype=np.float64)


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
