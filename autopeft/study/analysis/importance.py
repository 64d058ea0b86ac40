"""How much of the differences in quality each fact explains: functional ANOVA, with its spread."""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from autopeft.study.analysis.facts import Facts, varied

#: Complete trials below which importances say more about the sample than about the facts.
LEAST_TRIALS = 20
#: Forests, each grown without a part of the trials.
REFITS = 8
LEFT_OUT = 0.2
#: Most trials that a forest grows on, its own in each: its time is more than theirs.
MOST_TRIALS = 200
_TREES = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class Importance:
    """How much one fact matters.

    Attributes:
        name: The fact.
        share: Share of the variance of quality that it explains by itself, in 0-1.
        spread: Standard deviation of the share over forests that saw different trials.
    """

    name: str
    share: float
    spread: float


def importances(rows: Sequence[Facts], qualities: Sequence[float]) -> list[Importance]:
    """Return the importance of each fact, the largest first.

    Main effects of Optuna's functional ANOVA (Hutter et al. 2014) in forests of which each was
    grown without a fifth of the trials, and on at most `MOST_TRIALS`; what a fact does only
    together with others is not in it.
    """
    names = varied(rows)
    rng = np.random.default_rng(0)
    n_kept = min(len(rows) - round(LEFT_OUT * len(rows)), MOST_TRIALS)
    shares: dict[str, list[float]] = {name: [] for name in names}
    for seed in range(REFITS):
        kept = rng.permutation(len(rows))[:n_kept]
        found = _fanova([rows[i] for i in kept], [qualities[i] for i in kept], seed)
        for name in names:
            shares[name].append(found.get(name, 0.0))
    result = [
        Importance(name=name, share=float(np.mean(values)), spread=float(np.std(values, ddof=1)))
        for name, values in shares.items()
    ]
    return sorted(result, key=lambda importance: -importance.share)


def _fanova(rows: Sequence[Facts], qualities: Sequence[float], seed: int) -> dict[str, float]:
    import optuna

    names = varied(rows)
    if not names or len(set(qualities)) < 2:
        return {}
    distributions = {name: _distribution([row[name] for row in rows]) for name in names}
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(direction="maximize")
    for row, quality in zip(rows, qualities, strict=True):
        params = {name: row[name] for name in names}
        trial = optuna.trial.create_trial(params=params, distributions=distributions, value=quality)
        study.add_trial(trial)
    evaluator = optuna.importance.FanovaImportanceEvaluator(n_trees=_TREES, seed=seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        return evaluator.evaluate(study)


def _distribution(values: Sequence[float | bool | str]) -> "optuna.distributions.BaseDistribution":  # type: ignore[name-defined]  # noqa: F821
    import optuna

    if isinstance(values[0], float):
        numbers = [float(value) for value in values]
        return optuna.distributions.FloatDistribution(min(numbers), max(numbers))
    return optuna.distributions.CategoricalDistribution(sorted(set(values)))
