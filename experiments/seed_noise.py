"""Train configurations with several seeds, and compare their spread with the evaluation's error.

    python experiments/seed_noise.py --to experiments/seed_noise.jsonl
    python experiments/seed_noise.py --read experiments/optimizer_benchmark/sst2.jsonl --rows 600

The configurations are the first of a scrambled Sobol sequence over the default space within 1 % of
MiniLM's parameters. Rows are appended as they are measured; a second run goes on where the first
ended. With `--read` a table is read instead, of these rows or of `optimizer_benchmark`.
"""

import argparse
import itertools
import json
import math
import tempfile
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

from autopeft.api.problem import Problem, resolve
from autopeft.api.request import SearchRequest
from autopeft.runners.local import run_trial
from autopeft.study.strategies.drawing import untried_sobol
from autopeft.tasks.metrics import METRICS
from autopeft.trials.engine import Engine, Workload
from autopeft.trials.ports import Decision
from autopeft.trials.trial import RungReport, TrialResult, TrialSpec

METRIC = "accuracy"


class Last:
    """Takes the last report of a trial, and stops none."""

    def __init__(self) -> None:
        self.report_: RungReport | None = None

    def report(self, _: int, report: RungReport) -> Decision:
        self.report_ = report
        return Decision.CONTINUE

    def finish(self, _: int, result: TrialResult) -> None:
        if result.status.failed:
            raise RuntimeError(result.reason)


def trainings(
    problem: Problem, n_configurations: int, n_seeds: int, done: set[tuple[int, int]]
) -> Iterator[dict[str, Any]]:
    """Train what has not been done and yield the rows of the table."""
    points = list(itertools.islice(untried_sobol(problem.space, 0, set()), n_configurations))
    workload = Workload.prepare(
        problem.reference,
        problem.data,
        problem.max_length,
        cache_bytes=problem.cache_bytes,
        precision="float32",
    )
    engine = Engine(workload, torch.device("cpu"))
    for seed, number in itertools.product(range(n_seeds), range(n_configurations)):
        if (number, seed) in done:
            continue
        configuration = problem.configuration(points[number])
        spec = TrialSpec(
            number=number,
            configuration=configuration,
            rungs=(1.0,),
            epochs=problem.epochs,
            seed=seed,
        )
        last = Last()
        with tempfile.TemporaryDirectory() as folder:
            run_trial(engine, spec, Path(folder), last)
        assert last.report_ is not None
        yield {
            "number": number,
            "seed": seed,
            "digest": configuration.digest,
            "method": configuration.method,
            "adapter_params": problem.cost(configuration).adapter_params,
            "status": "complete",
            "reports": [last.report_.to_dict()],
        }


def compare(table: Path, n_rows: int) -> None:
    """Print the standard deviation between seeds beside the evaluation's own error."""
    qualities = defaultdict(list)
    for line in table.read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        if row["status"] == "complete":
            qualities[row["number"]].append(row["reports"][-1]["metrics"][METRIC])
    repeated = [np.array(values) for values in qualities.values() if len(values) > 1]
    if not repeated:
        print(f"{table}: no configuration has two seeds yet")
        return
    degrees = sum(len(values) - 1 for values in repeated)
    squares = sum(float(((values - values.mean()) ** 2).sum()) for values in repeated)
    errors = [METRICS[METRIC].error(float(values.mean()), n_rows) for values in repeated]
    spread, error = math.sqrt(squares / degrees), math.sqrt(float(np.mean(np.square(errors))))
    print(
        f"{table}: {len(repeated)} configurations, {degrees} degrees of freedom, standard "
        f"deviation between seeds {spread:.4f}, binomial error {error:.4f}, ratio "
        f"{spread / error:.2f}"
    )
    _print_common([values for values in repeated if len(values) == max(map(len, repeated))])
    for low, high in itertools.pairwise((0.0, 0.4, 0.6, 0.8, 1.0)):
        chosen = [values for values in repeated if low <= values.mean() < high]
        if chosen:
            part = sum(float(((v - v.mean()) ** 2).sum()) for v in chosen)
            n = sum(len(v) - 1 for v in chosen)
            print(f"  mean in [{low}, {high}): {math.sqrt(part / n):.4f}, {n} degrees of freedom")


def _print_common(rows: list[np.ndarray]) -> None:
    """Print how much of the spread all configurations of a seed share (two-way analysis)."""
    table = np.stack(rows)
    n, n_seeds = table.shape
    if n < 2:
        return
    rest = table - table.mean(axis=1, keepdims=True) - table.mean(axis=0) + table.mean()
    own = float((rest**2).sum()) / ((n - 1) * (n_seeds - 1))
    shared = max(float(table.mean(axis=0).var(ddof=1)) - own / n, 0.0)
    print(
        f"  {n} configurations with {n_seeds} seeds: common to all of a seed "
        f"{math.sqrt(shared):.4f}, a configuration's own {math.sqrt(own):.4f}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--configurations", type=int, default=16)
    parser.add_argument("--seeds", type=int, default=4)
    parser.add_argument("--rows", type=int, default=800, help="rows that were evaluated")
    parser.add_argument("--read", type=Path)
    parser.add_argument("--to", type=Path)
    options = parser.parse_args()
    if options.read is not None:
        compare(options.read, options.rows)
        return
    torch.set_num_threads(1)
    problem = resolve(SearchRequest.build(task="pydoc", budget="1%", precision="float32"))
    done = set()
    if options.to.exists():
        rows = map(json.loads, options.to.read_text(encoding="utf-8").splitlines())
        done = {(row["number"], row["seed"]) for row in rows}
    with options.to.open("a", encoding="utf-8") as file:
        for row in trainings(problem, options.configurations, options.seeds, done):
            file.write(json.dumps(row) + "\n")
            file.flush()
    compare(options.to, len(problem.data.validation))


if __name__ == "__main__":
    main()
