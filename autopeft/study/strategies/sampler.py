"""`AutoPeftSampler`: the optimiser as a sampler for any Optuna study."""

import itertools
import logging
import math
import threading
import zlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from optuna import Study
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler, RandomSampler
from optuna.trial import FrozenTrial, TrialState

from autopeft.errors import RequestError
from autopeft.study.strategies.columns import Columns
from autopeft.study.strategies.goal import Goal, Trials
from autopeft.study.strategies.knowledge import Constraints, Knowledge, KnownObjective
from autopeft.study.strategies.optuna_space import OptunaSpace
from autopeft.study.strategies.surrogate import NUMERICAL_ERRORS, check_surrogate
from autopeft.study.strategies.trial_points import (
    BROKEN,
    POINT,
    Distributions,
    fits,
    is_broken,
    is_running,
    noted,
    planned,
    seen_alike,
    within,
)
from autopeft.study.strategy import Surrogate

logger = logging.getLogger(__name__)

#: Points of the start that are looked at for one that is new and keeps the constraints.
LOOKS = 4096
#: How often a point is looked for if other processes are faster.
ATTEMPTS = 3
#: Threads ask one after the other. None takes a point that another one has not noted yet; and
#: filters of warnings and the state of torch's generator, which a model changes for a while,
#: belong to the process.
_ALONE = threading.Lock()


class AutoPeftSampler(BaseSampler):
    """Bayesian optimisation with one or more objectives, some of which may be known.

    After a start of quasi-random points a Gaussian process is fitted to each objective, and the
    point with the largest expected gain (of hypervolume, where there are several objectives) is
    suggested. Parameters may be numbers or choices, and may depend on choices: on which, the
    trials show. Trials that are running count as points that will be known. A suggestion follows
    from the seed, the number of the trial and the trials before it alone, so that several
    processes may ask one storage.

    Example:
        >>> import optuna
        >>> from autopeft import AutoPeftSampler
        >>> study = optuna.create_study(sampler=AutoPeftSampler(seed=0))
        >>> study.optimize(lambda trial: trial.suggest_float("x", -1, 1) ** 2, n_trials=20)
    """

    def __init__(  # noqa: PLR0913 - settings, by name alone
        self,
        space: Mapping[str, BaseDistribution] | OptunaSpace | None = None,
        *,
        known_objectives: Mapping[int, KnownObjective] | None = None,
        constraints: Constraints | None = None,
        reference: Sequence[float] | None = None,
        n_startup_trials: int = 10,
        surrogate: Surrogate = "matern",
        seed: int | None = None,
    ) -> None:
        """Make a sampler.

        Args:
            space: Distributions of all parameters by name, for quasi-random points from the first
                trial on; `None` takes those that the trials of the study have shown, and draws
                parameters that are new at random.
            known_objectives: Objectives, by their number from 0, whose values at a point are known
                without a trial: a function of the parameters for each. They are not modelled. At
                least one objective must be left. The functions see all parameters that are chosen
                together: not those whose range changes, or that another sampler fixes.
            constraints: A function of the same parameters that is known without a trial; points
                where any of its values is above 0 are not suggested while another is found.
            reference: The worst value of each objective that is of interest, where there are
                several: hypervolume is measured from there. `None` takes it from the trials.
            n_startup_trials: Trials with values before the first model.
            surrogate: Kind of the model of each measured objective: `matern`, or with one
                measured objective `saas` or `saas-nuts`, which take few parameters for important.
            seed: Of all suggestions; `None` draws one.

        Raises:
            RequestError: If an argument is not what it should be.
            MissingPackageError: If the surrogate needs a package that is not installed.
        """
        check_surrogate(surrogate)
        _check_whole("n_startup_trials", n_startup_trials, least=1)
        if seed is not None:
            _check_whole("seed", seed, least=0)
        self._ours = space if isinstance(space, OptunaSpace) else None
        self._space = _distributions_of(space)
        self._strangers: set[str] = set()
        self._knowledge = Knowledge(known_objectives, constraints, reference)
        self._n_startup = n_startup_trials
        self._surrogate = surrogate
        self._given_seed = seed
        self._seed = _drawn_seed() if seed is None else seed

    def reseed_rng(self) -> None:
        """Draw another seed, unless one was given: with it trials differ by their numbers."""
        if self._given_seed is None:
            self._seed = _drawn_seed()

    def infer_relative_search_space(
        self,
        study: Study,
        trial: FrozenTrial,  # noqa: ARG002 - Optuna's signature
    ) -> dict[str, BaseDistribution]:
        """Return the parameters that are chosen together."""
        return {n: domain for n, domain in self._all(study).items() if not domain.single()}

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """Return a point: values of the parameters that it has.

        Raises:
            RequestError: If `known_objectives` or `reference` does not go with the study, a
                function returns what is no number, or another sampler fixes a part of a search
                space.
        """
        asked = {name: domain for name, domain in search_space.items() if not domain.single()}
        self._knowledge.check(len(study.directions))
        self._check_whole_space(asked)
        if not asked:
            return {}
        # What has one value is not asked for, but is a part of the point.
        singles = {n: domain for n, domain in self._all(study).items() if domain.single()}
        space = {**asked, **singles}
        with _ALONE:
            point = self._new_point(study, trial, space)
            # So that others see it before the trial has asked for all of it.
            study._storage.set_trial_system_attr(trial._trial_id, POINT, noted(point, space))  # noqa: SLF001 - as Optuna's own samplers do
        return within(point, asked)

    def _new_point(self, study: Study, trial: FrozenTrial, space: Distributions) -> dict[str, Any]:
        point = self._point(study, trial.number, self._others(study, trial), space)
        for _ in range(ATTEMPTS):  # another process may have taken it in the meantime
            others = self._others(study, trial)
            if point not in (planned(t, space) for t in others if is_running(t)):
                break
            point = self._point(study, trial.number, others, space)
        return point

    def sample_independent(
        self,
        study: Study,
        trial: FrozenTrial,
        param_name: str,
        param_distribution: BaseDistribution,
    ) -> Any:
        """Draw a parameter at random that is new, or whose range has changed."""
        if self._space and param_name not in self._space.keys() | self._strangers:
            self._strangers.add(param_name)
            logger.warning(
                "'%s' is drawn at random: the space of AutoPeftSampler does not name it.",
                param_name,
            )
        seed = self._generator(trial.number, zlib.crc32(param_name.encode())).integers(2**31)
        random = RandomSampler(seed=int(seed))
        return random.sample_independent(study, trial, param_name, param_distribution)

    def after_trial(
        self,
        study: Study,
        trial: FrozenTrial,
        state: TrialState,
        values: Sequence[float] | None,  # noqa: ARG002 - Optuna's signature
    ) -> None:
        """Mark a trial that raised an error or gave no number: its point is taken for bad."""
        if state == TrialState.FAIL:
            study._storage.set_trial_system_attr(trial._trial_id, BROKEN, value=True)  # noqa: SLF001 - as Optuna's own samplers do

    def _all(self, study: Study) -> dict[str, BaseDistribution]:
        return self._space or seen_alike(study.get_trials(deepcopy=False))

    def _check_whole_space(self, asked: Distributions) -> None:
        """Check that points of a search space are asked for whole: what fits depends on all."""
        every = {name for name, domain in self._space.items() if not domain.single()}
        if self._ours is not None and (fixed := sorted(every - asked.keys())):
            raise RequestError(
                f"A search space is suggested from as a whole, and {', '.join(fixed)} is fixed by "
                "another sampler: give search_space() a space with that one choice instead."
            )

    @staticmethod
    def _others(study: Study, trial: FrozenTrial) -> list[FrozenTrial]:
        return [t for t in study.get_trials(deepcopy=False) if t.number != trial.number]

    def _generator(self, *numbers: int) -> np.random.Generator:
        return np.random.default_rng(np.random.SeedSequence([self._seed, *numbers]))

    def _point(
        self,
        study: Study,
        number: int,
        trials: Sequence[FrozenTrial],
        space: Distributions,
    ) -> dict[str, Any]:
        known = [t for t in trials if self._is_point(t.params, space)]
        complete = [t for t in known if t.state == TrialState.COMPLETE]
        broken = [t for t in known if is_broken(t)]
        points = [within(t.params, space) for t in complete]
        domain = self._ours or Columns(space, points)
        running = [domain.active(planned(t, space)) for t in trials if is_running(t)]
        seen = Trials(
            points=points,
            values=[t.values for t in complete],
            setbacks=[within(t.params, space) for t in broken],
            shown=[t.values or [math.nan] * len(study.directions) for t in broken],
            # Of others too little is known yet.
            pending=[point for point in running if domain.holds(point)],
        )
        tried = {domain.key(p) for p in (*seen.points, *seen.setbacks, *seen.pending)}
        if len(complete) >= self._n_startup:
            goal = Goal(domain, study.directions, self._knowledge, self._surrogate)
            try:
                found = goal.best(seen, tried, self._generator(number))
            except NUMERICAL_ERRORS as error:
                logger.warning("trial %d gets a quasi-random point: %s", number, error)
                found = None
            if found is not None:
                return found
        return self._start(domain, number, tried)

    def _is_point(self, params: Mapping[str, Any], space: Distributions) -> bool:
        whole = self._ours is None or self._ours.holds(within(params, space))
        return whole and fits(params, space)

    def _start(self, domain: Columns | OptunaSpace, number: int, tried: set[str]) -> dict[str, Any]:
        """Return a trial's point of a Sobol sequence, or one behind it that may be tried.

        Where no point keeps the constraints, it is the one that breaks them least; where all have
        been tried, one is tried again.
        """
        if self._ours is not None:
            points = self._ours.start(self._seed)
        else:
            points = itertools.islice(domain.draw(self._seed), number, number + LOOKS)
        found: list[tuple[bool, float, dict[str, Any]]] = []
        for point in points:
            violation = self._knowledge.violation(point)
            is_new = domain.key(point) not in tried
            if is_new and violation <= 0:
                return point
            found.append((not is_new, violation, point))
        return min(found, key=lambda item: item[:2])[2]


def _drawn_seed() -> int:
    return int(np.random.SeedSequence().generate_state(1)[0])


def _check_whole(name: str, number: object, *, least: int) -> None:
    if not isinstance(number, int | np.integer) or number < least:
        raise RequestError(f"{name} must be a whole number, at least {least}, not {number!r}.")


def _distributions_of(space: object) -> dict[str, BaseDistribution]:
    """Return the distributions of what a user gave for a space, by name.

    Raises:
        RequestError: If it is none.
    """
    found = space.distributions if isinstance(space, OptunaSpace) else space or {}
    if not isinstance(found, Mapping):
        raise RequestError(
            "space must map names of parameters to Optuna's distributions, or be what "
            f"autopeft.search_space returns, not {space!r}."
        )
    for name, domain in found.items():
        if not isinstance(domain, BaseDistribution):
            raise RequestError(
                f"space['{name}'] must be one of Optuna's distributions, not {domain!r}."
            )
    return dict(found)
