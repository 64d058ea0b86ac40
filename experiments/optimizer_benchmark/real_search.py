"""Does a search of the space itself find in 40 trainings what random search finds in 200?

    python experiments/optimizer_benchmark/real_search.py --task sst2 --data ../shared/data/sst2
    python experiments/optimizer_benchmark/real_search.py --task stsb --data ../shared/data/stsb \\
        --rows 640 --eval-rows 400
    python experiments/optimizer_benchmark/real_search.py --task stsb --data ../shared/data/stsb \\
        --rows 640 --eval-rows 400 --epochs 3 \\
        --table experiments/optimizer_benchmark/stsb-3-epochs.jsonl

`compare.py` lets strategies choose among the rows of a table. Here a search tries any point within
the budget, from its own start (`--start portfolio`) or from quasi-random points (`--start sobol`).
`--strategy` names one of its surrogates, or plain NEHVI, which begins with quasi-random points.
Each point is trained to the end, on the data of the table with the seed of its rows. Hypervolume is
a share of that of the whole table, which are 400 random trainings. A second run goes on where the
first ended; `--part I/N` takes every N-th seed from the I-th on.
"""

import argparse
import json
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import torch
from compare import HERE, MANY, RANDOM, draw, rows_of, run, shares_of, summary
from contestants import PlainStrategy, Rows, record
from make_table import engine_of, problem_of, spec_of, train
from table import training_of

from autopeft.api.problem import Problem
from autopeft.api.wiring import build_strategy, n_initial
from autopeft.study.strategy import Strategy, Surrogate
from autopeft.trials.engine import Engine
from autopeft.trials.trial import TrialRecord, TrialResult, TrialStatus

#: Orders of the table that random search is the mean of.
ORDERS = 20
PORTFOLIO, SOBOL = "portfolio", "sobol"
#: NEHVI on one-hot points, which is no surrogate of a search.
PLAIN = "plain"
Row = Mapping[str, Any]
#: Strategy, start and seed of a search.
Key = tuple[str, str, int]


def strategy_of(problem: Problem, rows: Rows, name: str, start: str) -> Strategy:
    """Return what a search asks, with one of the two starts."""
    if name == PLAIN:
        asked = problem.request
        return PlainStrategy(rows.table, problem.space, asked.seed, n_initial(asked.trials))
    strategy = build_strategy(problem, rows.table.reference)
    if start == SOBOL:
        vars(strategy)["_well_known"] = {}
    return strategy


def search(
    problem: Problem, engine: Engine, rows: Rows, key: Key, done: Sequence[Row]
) -> Iterator[Row]:
    """Go on with a search and yield what it trains."""
    name, start, seed = key
    problem = replace(problem, request=problem.request.model_copy(update={"seed": seed}))
    strategy = strategy_of(problem, rows, name, start)
    records = [trial(rows, row) for row in done]
    for number in range(len(records), problem.request.trials):
        started = time.process_time()
        candidate = strategy.ask(records, number)
        seconds = time.process_time() - started
        assert candidate is not None
        spec = spec_of(problem, number, candidate.assignment, 0, (1.0,))
        found = train(engine, problem, spec, candidate.assignment)
        told = {"search": seed, "strategy": name, "start": start, "seconds": seconds}
        row = {**found, **told, "origin": candidate.notes["origin"]}
        records.append(trial(rows, row))
        yield row


def trial(rows: Rows, row: Row) -> TrialRecord:
    """Return what was trained as a trial of a study."""
    training, status = training_of(row), TrialStatus(row["status"])
    if status is TrialStatus.COMPLETE:
        found = record(rows.table, training)
    else:
        like = record(rows.table, replace(training, reports=rows.table.first_seed[0].reports))
        found = replace(like, reports=(), result=TrialResult(status=status, seconds=0.0))
    return replace(found, spec=replace(found.spec, number=row["number"]))


def as_run(rows: Rows, key: Key, trained: Sequence[Row]) -> dict[str, Any]:
    """Return a search as a run of `compare.py`; what diverged adds nothing."""
    records = [trial(rows, row) for row in trained]
    pairs = [(r.quality or 0.0, float(r.cost.adapter_params)) for r in records]
    return {
        "strategy": f"{key[0]}, {key[1]}",
        "seed": key[2],
        "curve": shares_of(rows, pairs),
        "seconds": sum(row["seconds"] for row in trained) / len(trained),
    }


def read(path: Path) -> dict[Key, list[Row]]:
    """Return the searches that a file holds."""
    found: dict[Key, list[Row]] = {}
    if path.exists():
        for row in map(json.loads, path.read_text(encoding="utf-8").splitlines()):
            found.setdefault((row["strategy"], row["start"], row["search"]), []).append(row)
    return found


def add_data_options(parser: argparse.ArgumentParser) -> None:
    """Add what is trained on, as the table was; the defaults are those of the table of SST-2."""
    parser.add_argument("--task", default="sst2")
    parser.add_argument("--data", type=Path, help="without it, what was trained is shown")
    parser.add_argument("--rows", type=int, default=1000)
    parser.add_argument("--eval-rows", type=int, default=600)
    parser.add_argument("--epochs", type=float, default=1.0)
    parser.add_argument("--table", type=Path, help="default: TASK.jsonl beside this file")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add_data_options(parser)
    strategies = (*get_args(Surrogate), PLAIN)
    parser.add_argument("--strategy", choices=strategies, default="matern")
    parser.add_argument("--start", choices=(PORTFOLIO, SOBOL), default=PORTFOLIO)
    parser.add_argument("--seeds", type=int, default=6)
    parser.add_argument("--trials", type=int, default=40)
    parser.add_argument("--part", default="0/1")
    parser.add_argument("--to", type=Path, help="default: real-TABLE.jsonl beside this file")
    options = parser.parse_args()
    torch.set_num_threads(1)
    table = options.table or HERE / f"{options.task}.jsonl"
    to = options.to or HERE / f"real-{table.stem}.jsonl"
    rows = rows_of(table, options.task)
    if options.data is not None:
        index, parts = map(int, options.part.split("/"))
        asked = {} if options.strategy == PLAIN else {"surrogate": options.strategy}
        problem = problem_of(options, trials=options.trials, **asked)
        engine = engine_of(problem)
        for seed in range(options.seeds)[index::parts]:
            start = SOBOL if options.strategy == PLAIN else options.start
            key = (options.strategy, start, seed)
            for row in search(problem, engine, rows, key, read(to).get(key, [])):
                with to.open("a", encoding="utf-8") as file:
                    file.write(json.dumps(row) + "\n")
    searches = {k: s for k, s in read(to).items() if len(s) >= options.trials}
    runs = [run(table, options.task, RANDOM, order, MANY) for order in range(ORDERS)]
    runs += [as_run(rows, key, trained[: options.trials]) for key, trained in searches.items()]
    draw(runs, MANY, to.with_suffix(".png"))
    print(summary(runs, [n for n in (10, 20, 30, options.trials) if n <= options.trials]))


if __name__ == "__main__":
    main()
