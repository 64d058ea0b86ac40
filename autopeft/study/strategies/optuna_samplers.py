"""Optuna's samplers as strategies: random search, TPE, NSGA-II and a Gaussian process."""

import warnings
from collections.abc import Sequence
from typing import Any

import optuna
from optuna.samplers import BaseSampler, GPSampler, NSGAIISampler, RandomSampler, TPESampler
from optuna.trial import TrialState, create_trial

from autopeft.cost.candidates import CandidateSpace
from autopeft.space.hyperparameter import Assignment
from autopeft.study.objective import Objective
from autopeft.study.strategies.drawing import generator, tried_digests, untried_sobol
from autopeft.study.strategy import Candidate
from autopeft.trials.distributions import distributions_of, optuna_values, suggest_point
from autopeft.trials.trial import TrialRecord, TrialStatus

_ATTEMPTS = 64
_POPULATION = 16


class OptunaStrategy:
    """Asks one of Optuna's samplers.

    The sampler sees an in-memory study that is filled anew from the records at every call. A
    stopped trial counts with the quality it had. A suggestion over the budget is shrunk into it;
    one that cannot be, or was tried, is drawn again.
    """

    def __init__(
        self, name: str, space: CandidateSpace, objectives: Sequence[Objective], seed: int
    ) -> None:
        """Name one of `random`, `tpe`, `nsga2` and `gp`."""
        self._name = name
        self._space = space
        self._objectives = objectives
        self._seed = seed

    def ask(self, records: Sequence[TrialRecord], number: int) -> Candidate | None:
        """Return the candidate for trial `number`, or `None` if none was found."""
        rng = generator(self._seed, number)
        study = self._study(records, int(rng.integers(2**31)))
        tried = tried_digests(records)
        for _ in range(_ATTEMPTS):
            trial = study.ask()
            point = suggest_point(self._space.space, trial)
            fitting = self._into_budget(point) if point else None
            made = fitting and self._space.trained(fitting)
            if fitting and made and made.digest not in tried:
                return Candidate(assignment=fitting, notes={"optuna": _system_attrs(trial)})
            study.tell(trial, state=TrialState.FAIL)
        drawn = untried_sobol(self._space, int(rng.integers(2**31)), tried)
        for assignment in filter(self._space.trained, drawn):
            return Candidate(assignment=assignment)
        return None

    def _into_budget(self, point: Assignment) -> Assignment | None:
        if self._name == "random":  # sizes spread over what fits, as in a space of that size
            return self._space.at(self._space.space.encode(point))
        return self._space.shrunk(point)

    def _study(self, records: Sequence[TrialRecord], seed: int) -> optuna.Study:
        study = optuna.create_study(
            directions=[o.direction for o in self._objectives], sampler=_sampler(self._name, seed)
        )
        for record in records:
            study.add_trial(self._frozen(record))
        return study

    def _frozen(self, record: TrialRecord) -> Any:
        distributions = distributions_of(self._space.space, record.assignment)
        known = record.result is not None and record.quality is not None
        usable = known and not record.status.failed
        state = TrialState.COMPLETE if usable else TrialState.FAIL
        if record.status is TrialStatus.RUNNING:
            state = TrialState.RUNNING
        return create_trial(
            state=state,
            params=optuna_values(record.assignment, distributions),
            distributions=distributions,
            values=[o.value(record) for o in self._objectives] if usable else None,
            system_attrs=dict(record.notes.get("optuna", {})),
        )


def _system_attrs(trial: optuna.Trial) -> dict[str, Any]:
    """Return what the sampler noted on its trial (NSGA-II: the generation)."""
    frozen = trial.study.trials[trial.number]
    return dict(frozen.system_attrs)


def _sampler(name: str, seed: int) -> BaseSampler:
    if name == "random":
        return RandomSampler(seed=seed)
    if name == "nsga2":
        return NSGAIISampler(population_size=_POPULATION, seed=seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # optuna marks some options as experimental
        if name == "gp":
            # It draws what depends on a choice at random, and would say so at every trial.
            return GPSampler(seed=seed, warn_independent_sampling=False)
        return TPESampler(seed=seed, multivariate=True, group=True, constant_liar=True)
