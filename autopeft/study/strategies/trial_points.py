"""The points of an Optuna study's trials: what those that ended had, what those that run will."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from optuna.distributions import BaseDistribution
from optuna.trial import FrozenTrial, TrialState

from autopeft.study.strategies.activity import Params

#: Where a trial's point is kept from its beginning, for other processes that ask.
POINT = "autopeft:point"
#: Marks a trial that failed while it was being told. Those that were lost, because their process
#: died, are not marked: they say nothing of their points.
BROKEN = "autopeft:broken"
#: Where Optuna keeps the parameters of a trial that was enqueued.
FIXED = "fixed_params"

Distributions = Mapping[str, BaseDistribution]


def seen_alike(trials: Sequence[FrozenTrial]) -> dict[str, BaseDistribution]:
    """Return the distributions of all parameters that had the same one in every trial."""
    found: dict[str, BaseDistribution] = {}
    changed: set[str] = set()
    for trial in trials:
        if trial.state.is_finished():
            for name, domain in trial.distributions.items():
                if found.setdefault(name, domain) != domain:
                    changed.add(name)
    return {name: domain for name, domain in found.items() if name not in changed}


def is_running(trial: FrozenTrial) -> bool:
    """Tell whether a trial is being tried."""
    return trial.state == TrialState.RUNNING


def is_broken(trial: FrozenTrial) -> bool:
    """Tell whether a trial did not come to its end for a reason that may lie in its point."""
    failed = trial.state == TrialState.FAIL and BROKEN in trial.system_attrs
    return failed or trial.state == TrialState.PRUNED


def within(params: Params, space: Distributions) -> dict[str, Any]:
    """Return those parameters that belong to a space."""
    return {name: value for name, value in params.items() if name in space}


def fits(params: Params, space: Distributions) -> bool:
    """Tell whether a trial has any of the parameters, and each with a value that is possible."""
    own = within(params, space)
    return bool(own) and all(_contains(space[name], value) for name, value in own.items())


def noted(point: Params, space: Distributions) -> str:
    """Return a point as text; of a choice it has the place, because values may be anything."""
    return json.dumps({n: space[n].to_internal_repr(value) for n, value in point.items()})


def planned(trial: FrozenTrial, space: Distributions) -> dict[str, Any]:
    """Return the point of a running trial, as far as it is known; it may have too much."""
    note = json.loads(trial.system_attrs.get(POINT, "{}"))
    suggested = {n: space[n].to_external_repr(x) for n, x in note.items() if n in space}
    point = within({**suggested, **trial.system_attrs.get(FIXED, {}), **trial.params}, space)
    return point if fits(point, space) else {}


def _contains(domain: BaseDistribution, value: Any) -> bool:
    try:
        return domain._contains(domain.to_internal_repr(value))  # noqa: SLF001 - as Optuna's own samplers do
    except ValueError:
        return False
