import numpy as np
import pytest

from autopeft.errors import DataError
from autopeft.tasks.metrics import METRICS, evaluate, predictions_from

LABELS = np.array([0.0, 0.0, 1.0, 1.0, 1.0])


def test_hand_computed_scores() -> None:
    predictions = np.array([0.0, 1.0, 1.0, 1.0, 0.0])
    scores = evaluate(["accuracy", "f1", "matthews"], LABELS, predictions)
    # tp 2, fp 1, fn 1, tn 1
    assert scores["accuracy"] == pytest.approx(3 / 5)
    assert scores["f1"] == pytest.approx(2 / 3)
    assert scores["matthews"] == pytest.approx((2 * 1 - 1 * 1) / np.sqrt(3 * 3 * 2 * 2))


def test_correlations() -> None:
    line = evaluate(["pearson", "spearman"], np.arange(5.0), 2 * np.arange(5.0) + 1)
    assert line == pytest.approx({"pearson": 1.0, "spearman": 1.0})
    curve = evaluate(["pearson", "spearman"], np.arange(5.0), np.arange(5.0) ** 3)
    assert curve["spearman"] == pytest.approx(1.0)
    assert curve["pearson"] < 1.0


def test_a_constant_correlates_with_nothing() -> None:
    assert evaluate(["pearson"], np.arange(5.0), np.ones(5)) == {"pearson": 0.0}


@pytest.mark.parametrize("name", METRICS)
def test_floor_is_what_a_guess_of_the_class_shares_gets(name: str) -> None:
    guess = np.ones(5)
    floor = METRICS[name].floor(LABELS)
    if name == "token_accuracy":  # no share of a word is known before anything is read
        assert floor == 0
    elif name != "macro_f1":  # its floor is 0: the guess gets something for the frequent class
        assert floor == pytest.approx(evaluate([name], LABELS, guess)[name])


def test_predictions() -> None:
    logits = np.array([[0.1, 0.9], [2.0, -1.0]])
    assert predictions_from(logits, "classification").tolist() == [1.0, 0.0]
    assert predictions_from(logits[:, :1], "regression").tolist() == [0.1, 2.0]


def test_nothing_to_evaluate() -> None:
    with pytest.raises(DataError, match="no rows"):
        evaluate(["accuracy"], np.array([]), np.array([]))


@pytest.mark.parametrize("score", [0.0, 1.0])
def test_no_share_of_few_rows_is_certain(score: float) -> None:
    error = METRICS["accuracy"].error
    assert error(score, 1) > error(score, 10) > error(score, 1000) > 0


def test_the_error_of_a_share_of_many_rows_is_binomial() -> None:
    found = METRICS["accuracy"].error(0.8, 1000)
    assert found == pytest.approx((0.8 * 0.2 / 1000) ** 0.5, rel=0.01)
