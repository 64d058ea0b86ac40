"""Which class serves which setting: the one place that chooses."""

from collections.abc import Sequence

from autopeft.api.device import gpu_memory, n_workers
from autopeft.api.problem import Problem
from autopeft.study.objective import ReferencePoint
from autopeft.study.past import PastStudy
from autopeft.study.strategy import Strategy
from autopeft.trials.engine import Workload
from autopeft.trials.folder import StudyFolder
from autopeft.trials.ports import Runner

#: Share of the trials that a Bayesian search takes from its start, and bounds for it.
START_SHARE = 1 / 3
START_MIN, START_MAX = 6, 16


def n_initial(max_trials: int) -> int:
    """Return how many trials of a Bayesian search come from its start."""
    return min(max(round(START_SHARE * max_trials), START_MIN), START_MAX)


def build_strategy(
    problem: Problem, reference: ReferencePoint, past: Sequence[PastStudy] = ()
) -> Strategy:
    """Return the strategy that a request names; a Bayesian one learns from earlier studies."""
    request = problem.request
    if request.strategy == "bayesian":
        from autopeft.study.strategies.bayesian import BayesianStrategy

        return BayesianStrategy(
            problem.space,
            problem.objectives,
            reference,
            problem.known_values,
            seed=request.seed,
            n_initial=n_initial(request.trials),
            surrogate=request.surrogate,
            past=past,
        )
    from autopeft.study.strategies.optuna_samplers import OptunaStrategy

    return OptunaStrategy(request.strategy, problem.space, problem.objectives, request.seed)


def build_runner(problem: Problem, workload: Workload, folder: StudyFolder) -> Runner:
    """Return the runner that a request names; `auto` takes Ray for more than one worker."""
    request = problem.request
    if request.devices > 1:
        from autopeft.runners.devices import DevicesRunner

        return DevicesRunner(workload, folder.trial, request.devices)
    workers = n_workers(request)
    wants_ray = workers > 1 or request.ray_address is not None
    if request.runner == "ray" or (request.runner == "auto" and wants_ray):
        from autopeft.runners.ray_cluster import Crew, RayRunner

        need = None if problem.space.memory is None else problem.space.memory.limit
        crew = Crew(size=workers, trial_bytes=need, gpu_bytes=gpu_memory())
        return RayRunner(workload, folder, crew, request.ray_address)
    from autopeft.runners.local import LocalRunner

    return LocalRunner(workload, folder.trial)
