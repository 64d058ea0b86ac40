"""How much time does a trial cost beside its training and evaluation, here and on Ray?

The same search of the embedded task runs on both runners with one worker. Overhead is the wall
time between the first start and the last end of a trial that no trial spent in training or
evaluation: asking the strategy, recording, attaching, checkpoints, tracking, dispatch.

    python experiments/trial_overhead.py
"""

import argparse
import json
import tempfile
import time
from pathlib import Path
from typing import Any

from autopeft.api.request import SearchRequest
from autopeft.api.search import run_search
from autopeft.trials.trial import TrialRecord


class Stopwatch:
    """An observer that notes when trials start and end."""

    def __init__(self) -> None:
        self.first_start = 0.0
        self.last_end = 0.0

    def started(self, _: TrialRecord, /) -> None:
        self.first_start = self.first_start or time.perf_counter()

    def reported(self, _: TrialRecord, /) -> None:
        pass

    def finished(self, _: TrialRecord, /) -> None:
        self.last_end = time.perf_counter()


def measure(runner: str, strategy: str, trials: int) -> dict[str, Any]:
    watch = Stopwatch()
    request = SearchRequest.build(
        runner=runner,
        strategy=strategy,
        trials=trials,
        repeats=1,
        workers=1,
        train_rows=600,
        eval_rows=400,
    )
    with tempfile.TemporaryDirectory() as folder:
        begun = time.perf_counter()
        result = run_search(request, Path(folder) / "studies" / "s", lambda *_: [watch])
        ended = time.perf_counter()
    spent = sum(t.seconds for t in result.trials)
    return {
        "runner": runner,
        "strategy": strategy,
        "trials": trials,
        "start_seconds": round(watch.first_start - begun, 2),
        "overhead_seconds_per_trial": round(
            (watch.last_end - watch.first_start - spent) / trials, 3
        ),
        "training_seconds_per_trial": round(spent / trials, 2),
        "end_seconds": round(ended - watch.last_end, 2),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trials", type=int, default=10)
    parser.add_argument("--to", type=Path, help="file for the result")
    options = parser.parse_args()
    measure("local", "random", 1)  # imports and the file cache are paid here
    rows = [
        measure(runner, strategy, options.trials)
        for strategy in ("random", "bayesian")
        for runner in ("local", "ray")
    ]
    for row in rows:
        print(row)
    if options.to:
        options.to.write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()
