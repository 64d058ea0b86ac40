"""How long the Bayesian strategy takes for a point, with memory among the objectives and without.

Trials are not trained: their qualities are made up, which changes nothing in what an ask computes.
With memory, every point of the pool looked at exactly is the alternative.

    python experiments/ask_time.py --trials 16

With `--batch 4 --observations 100` instead: four points in a row, none of them measured, after as
many trials at quasi-random points, by surrogate.
"""

import argparse
import itertools
import statistics
import time
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import torch

from autopeft.api.problem import Problem, resolve
from autopeft.api.request import SearchRequest
from autopeft.api.wiring import build_strategy
from autopeft.cost.cost import Cost
from autopeft.study.strategies import bayesian
from autopeft.study.strategies.drawing import untried_sobol
from autopeft.study.strategy import Candidate, Strategy
from autopeft.trials.trial import RungReport, TrialRecord, TrialResult, TrialSpec, TrialStatus

#: Finalists, so that the glance leaves nobody out.
ALL = 10**6


def problem_of(objectives: str, surrogate: str = "matern") -> Problem:
    """Return the embedded task within 1 % of MiniLM."""
    return resolve(
        SearchRequest.build(
            model="minilm",
            budget="1%",
            objectives=objectives,
            surrogate=surrogate,
            trials=40,
            train_rows=64,
            eval_rows=32,
        )
    )


def record_of(problem: Problem, number: int, candidate: Candidate) -> TrialRecord:
    """Return a trial with a quality that grows with its size and prefers a learning rate."""
    configuration = problem.configuration(candidate.assignment)
    cost = _cost(problem, candidate)
    rate = abs(np.log10(configuration.training.learning_rate) + 2.5)
    quality = float(0.4 + 0.02 * np.log10(cost.adapter_params) - 0.05 * rate)
    metric = problem.data.task.quality
    report = RungReport(
        rung=0,
        step=1,
        fidelity=1.0,
        metrics={metric: quality},
        eval_loss=1.0,
        train_loss=1.0,
        seconds=1.0,
        last=True,
    )
    return TrialRecord(
        spec=TrialSpec(number=number, configuration=configuration, rungs=(1.0,), epochs=1, seed=0),
        assignment=candidate.assignment,
        notes=candidate.notes,
        cost=cost,
        quality_metric=metric,
        reports=(report,),
        result=TrialResult(status=TrialStatus.COMPLETE, seconds=1.0),
    )


def _cost(problem: Problem, candidate: Candidate) -> Cost:
    """Return what a trial costs; its memory, which takes half a second, where it is looked at."""
    if any(objective.slow for objective in problem.objectives):
        return problem.cost(problem.configuration(candidate.assignment))
    count = problem.space.adapter_params(candidate.assignment)
    assert count is not None
    spec = problem.space.spec
    return Cost(
        adapter_params=count,
        head_params=spec.head_params,
        base_params=spec.base_params,
        peak_memory_bytes=0,
    )


def timed(strategy: Strategy, records: list[TrialRecord]) -> tuple[float, Candidate]:
    """Return the processor seconds of an ask, and its point."""
    started = time.process_time()
    candidate = strategy.ask(records, len(records))
    assert candidate is not None
    return time.process_time() - started, candidate


def asks(problem: Problem, trials: int, *, exactly: bool) -> Iterator[float]:
    """Yield the seconds of each ask that has a model; the trials are the same either way."""
    strategy = build_strategy(problem, problem.reference_point())
    other = build_strategy(problem, problem.reference_point())
    records: list[TrialRecord] = []
    glance = bayesian.SLOW_FINALISTS
    for number in range(trials):
        seconds, candidate = timed(strategy, records)
        if candidate.notes["origin"] == "nehvi":
            if exactly:
                bayesian.SLOW_FINALISTS = ALL
                seconds, _ = timed(other, records)
                bayesian.SLOW_FINALISTS = glance
            yield seconds
        records.append(record_of(problem, number, candidate))


def batch(problem: Problem, observations: int, size: int) -> float:
    """Return the seconds of asks in a row, each of which sees the ones before as running."""
    points = untried_sobol(problem.space, 0, set())
    first = (Candidate(assignment=point) for point in itertools.islice(points, observations))
    records = [record_of(problem, number, candidate) for number, candidate in enumerate(first)]
    strategy = build_strategy(problem, problem.reference_point())
    total = 0.0
    for _ in range(size):
        seconds, candidate = timed(strategy, records)
        total += seconds
        running = record_of(problem, len(records), candidate)
        records.append(replace(running, reports=(), result=None))
    return total


def time_batches(observations: int, size: int) -> None:
    """Print what a batch takes with each surrogate; the first also waits for imports."""
    for surrogate in ("matern", "matern", "saas"):
        seconds = batch(problem_of("quality,params", surrogate), observations, size)
        print(
            f"{surrogate:8} {size} points after {observations} trials: {seconds:.2f} s", flush=True
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trials", type=int, default=16, help="the first 13 are the start's")
    parser.add_argument("--observations", type=int, default=100)
    parser.add_argument("--batch", type=int, help="time so many points in a row instead")
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.batch:
        time_batches(options.observations, options.batch)
        return
    for objectives, exactly in (
        ("quality,params", False),
        ("quality,params,memory", False),
        ("quality,params,memory", True),
    ):
        found = list(asks(problem_of(objectives), options.trials, exactly=exactly))
        how = "every point exactly" if exactly else "as it is"
        print(
            f"{objectives:22} {how:20} {statistics.median(found):6.2f} s "
            f"({min(found):.2f} to {max(found):.2f}, {len(found)} asks)",
            flush=True,
        )


if __name__ == "__main__":
    main()
