"""Train a fixed sample of the default space to the end and write down every learning curve.

The table lets strategies be compared in minutes instead of days: a trial is looked up, not trained.
Rows are appended as they are measured; a second run goes on where the first ended.

    python experiments/optimizer_benchmark/make_table.py --task sst2 --data ../shared/data/sst2 \
        --to experiments/optimizer_benchmark/sst2.jsonl

The sample is the first points of a scrambled Sobol sequence over the default space within 1 % of
MiniLM's parameters; the first of them are trained with a second seed too, after all others.
`--part I/N` trains every N-th of these trainings from the I-th on, into a file of its own.

Before the end, a rung of the first configurations is measured twice: `reports` has what a trial
reports, which is that of weights averaged over the latest steps, and `plain` metrics and loss of
the weights as they are.
"""

import argparse
import itertools
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from autopeft.api.problem import Problem, resolve
from autopeft.api.request import SearchRequest
from autopeft.study.strategies.drawing import untried_sobol
from autopeft.trials.engine import Engine, Workload
from autopeft.trials.measuring import DivergedError
from autopeft.trials.training import TrialRun
from autopeft.trials.trial import TrialSpec, TrialStatus

RUNGS = (1 / 9, 1 / 3, 1.0)


def problem_of(options: argparse.Namespace, **search: Any) -> Problem:
    """Return the problem that the table is of, with options of a search of it."""
    return resolve(
        SearchRequest.build(
            task=options.task,
            data=options.data,
            model="minilm",
            budget="1%",
            train_rows=options.rows,
            eval_rows=options.eval_rows,
            epochs=options.epochs,
            head_learning_rate=0.02,
            precision="float32",
            seed=0,
            **search,
        )
    )


def engine_of(problem: Problem) -> Engine:
    """Return what trains the points of a problem."""
    workload = Workload.prepare(
        problem.reference,
        problem.data,
        problem.max_length,
        cache_bytes=problem.cache_bytes,
        precision="float32",
    )
    return Engine(workload, torch.device("cpu"))


def spec_of(
    problem: Problem, number: int, point: Mapping[str, Any], seed: int, rungs: tuple[float, ...]
) -> TrialSpec:
    """Return the training of a point."""
    return TrialSpec(
        number=number,
        configuration=problem.configuration(point),
        rungs=rungs,
        epochs=problem.epochs,
        seed=seed,
    )


def train(
    engine: Engine,
    problem: Problem,
    spec: TrialSpec,
    point: Mapping[str, Any],
    *,
    also_plain: bool = False,
) -> dict[str, Any]:
    """Train one point to the end and return its row of the table."""
    status, reports, plain = TrialStatus.COMPLETE, [], []
    run = TrialRun(engine, spec)
    try:
        for _ in spec.rungs:
            report = run.advance()
            reports.append(report.to_dict())
            if also_plain and not report.last:
                metrics, eval_loss = run.evaluate()
                plain.append({"metrics": metrics, "eval_loss": eval_loss})
    except DivergedError:
        status = TrialStatus.NAN
    finally:
        run.close()
    cost = problem.cost(spec.configuration)
    return {
        "number": spec.number,
        "seed": spec.seed,
        "digest": spec.configuration.digest,
        "point": dict(point),
        "adapter_params": cost.adapter_params,
        "peak_memory_bytes": cost.peak_memory_bytes,
        "status": status.value,
        "reports": reports,
        "plain": plain,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--task", default="sst2")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--rows", type=int, default=1000)
    parser.add_argument("--eval-rows", type=int, default=600)
    parser.add_argument("--epochs", type=float, default=1.0)
    parser.add_argument("--configurations", type=int, default=400)
    parser.add_argument("--repeated", type=int, default=100, help="trained with seed 1 as well")
    parser.add_argument("--plain", type=int, default=200, help="measured without averaging as well")
    parser.add_argument("--part", default="0/1")
    parser.add_argument("--to", type=Path, required=True)
    options = parser.parse_args()
    torch.set_num_threads(1)
    index, parts = map(int, options.part.split("/"))
    problem = problem_of(options)
    drawn = untried_sobol(problem.space, 0, set())
    points = list(itertools.islice(drawn, options.configurations))
    trainings = [(n, 0) for n in range(len(points))]
    trainings += [(n, 1) for n in range(min(options.repeated, len(points)))]
    done = set()
    if options.to.exists():
        rows = map(json.loads, options.to.read_text(encoding="utf-8").splitlines())
        done = {(row["number"], row["seed"]) for row in rows}
    engine = engine_of(problem)
    with options.to.open("a", encoding="utf-8") as file:
        for number, seed in trainings[index::parts]:
            if (number, seed) not in done:
                also_plain = seed == 0 and number < options.plain
                spec = spec_of(problem, number, points[number], seed, RUNGS)
                row = train(engine, problem, spec, points[number], also_plain=also_plain)
                file.write(json.dumps(row) + "\n")
                file.flush()


if __name__ == "__main__":
    main()
