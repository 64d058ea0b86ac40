"""`describe_plan`: what a search would cover and cost, without running anything."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from autopeft.api.data_notes import cut_notes
from autopeft.api.problem import Problem
from autopeft.space.configuration import Value
from autopeft.space.wording import layer_text, setting_text, target_text
from autopeft.study.rungs import FIDELITIES, full_trainings, rung_shares
from autopeft.study.strategies.drawing import sobol_points
from autopeft.study.strategies.start import lora_ladder
from autopeft.trials.folder import StudyFolder

_SAMPLE = 512


def describe_plan(problem: Problem) -> dict[str, Any]:
    """Return what a search would cover, what fits the budget, memory and cost.

    Costs of the search are in multiples of one full training (`epochs` over the training rows).
    With early stopping they lie between all trials stopped at the first rung that the rule lets
    stop (the share 1 - 1/eta of them) and none stopped, with as many repeats as there can be.
    """
    space, request, asked = problem.space, problem.request, problem.repeats
    rungs = problem.rungs
    repeats = asked.bound(request.trials)
    return {
        "task": problem.data.task.name,
        "metric": problem.data.task.quality,
        "model": problem.reference.name,
        "family": problem.spec.family,
        "base_params": problem.spec.base_params,
        "head_params": problem.spec.head_params,
        "notes": [*problem.notes, *_cut(problem)],
        "train_rows": len(problem.data.train),
        "eval_rows": len(problem.data.validation),
        "budget": {"text": space.budget.text, "limit": space.budget.limit},
        "max_memory_bytes": None if space.memory is None else space.memory.limit,
        "space": {
            "name": space.space.name,
            "methods": list(space.space.methods),
            "refused": space.refused,
            "dimensions": len(space.space.hyperparameters),
            "log10_size": round(space.space.log10_size(), 2),
            "share_that_fits": round(_share_that_fits(problem), 3),
        },
        "warm_start": _warm_start(problem),
        "examples": _examples(problem),
        "trials": request.trials,
        "time": request.time,
        "repeats": {"seeds": asked.seeds, "most": repeats},
        "rungs": list(rungs),
        "steps_of_a_full_training": problem.steps,
        "fidelity": request.fidelity,
        "full_training_equivalents": _cost(problem, request.fidelity, repeats),
        "full_training_equivalents_by_fidelity": {
            name: _cost(problem, name, repeats) for name in FIDELITIES
        },
    }


def _cost(problem: Problem, fidelity: str, repeats: int) -> dict[str, float]:
    shares = rung_shares(fidelity, problem.steps)
    least, most = full_trainings(fidelity, problem.request.trials, shares)
    return {"least": round(least, 2), "most": round(most + repeats, 2)}


def _warm_start(problem: Problem) -> list[dict[str, Any]]:
    """Return what a search would take from earlier studies."""
    if not problem.request.warm_start:
        return []
    # Reading studies takes Optuna and MLflow, which nothing else here needs.
    from autopeft.api.search import STUDIES
    from autopeft.api.warm_start import read_past

    folder = StudyFolder(STUDIES / "plan")
    return [study.facts() for study in read_past(problem, folder)]


def _cut(problem: Problem) -> list[str]:
    trusted = problem.request.trust_remote_code
    return cut_notes(problem.reference, problem.data, problem.max_length, trust_remote_code=trusted)


def _share_that_fits(problem: Problem) -> float:
    """Return the share of random points of the space that keep the budget as they are."""
    points = sobol_points(problem.space.space.dimension, problem.request.seed)
    fits = [problem.space.fits(problem.space.space.decode(next(points))) for _ in range(_SAMPLE)]
    return float(np.mean(fits))


def _examples(problem: Problem) -> list[dict[str, Any]]:
    small, large = problem.extremes()
    ladder = lora_ladder(problem.space)
    named: list[tuple[str, Mapping[str, Value]]] = [("smallest", small)]
    named += [("LoRA", point) for point in reversed(ladder)]
    named.append(("largest", large))
    return [_example(problem, name, point) for name, point in named]


def _example(problem: Problem, name: str, point: Mapping[str, Value]) -> dict[str, Any]:
    configuration = problem.configuration(point)
    cost = problem.cost(configuration)
    return {
        "what": name,
        "method": configuration.method,
        "adapter_params": cost.adapter_params,
        "share_of_base_percent": cost.share_of_base_percent,
        "peak_memory_mib": round(cost.peak_memory_bytes / 2**20),
        "targets": target_text(configuration),
        "layers": layer_text(configuration, problem.spec.n_layers),
        "settings": setting_text(configuration),
        "examples_at_once": configuration.training.rows_at_once,
    }
