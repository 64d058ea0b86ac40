"""How well does a rung rank trainings as their end does, with averaged weights and without?

    python experiments/optimizer_benchmark/rung_signals.py --task sst2

Printed is Spearman's rank correlation with the quality at the end, over the trainings that were
measured both ways, and its standard error (Bonett and Wright 2000).
"""

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from table import Training, read_table

from autopeft.study.signals import SIGNALS, correlation, mid_ranks, signal_ranks
from autopeft.trials.trial import RungReport

HERE = Path(__file__).parent


def without_averaging(training: Training) -> tuple[RungReport, ...]:
    """Return what a training would have reported without averaged weights."""
    *rungs, end = training.reports
    plain = [replace(r, **shown) for r, shown in zip(rungs, training.plain, strict=True)]
    return (*plain, end)


def line(name: str, curves: Sequence[Sequence[RungReport]], ends: np.ndarray) -> str:
    """Return a row of the table: the correlation of each signal."""
    metric = next(iter(curves[0][-1].metrics))
    ranks = signal_ranks(curves, metric)
    cells = []
    for signal in SIGNALS:
        found = correlation(ranks[signal], ends, np.ones(len(ends)))
        error = np.sqrt((1 + found**2 / 2) / (len(ends) - 3)) * (1 - found**2)
        cells.append(f"{found:.2f} ± {error:.2f}")
    return f"| {name} | {' | '.join(cells)} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--task", default="sst2")
    parser.add_argument("--table", type=Path, help="default: TASK.jsonl beside this file")
    options = parser.parse_args()
    table = read_table(options.table or HERE / f"{options.task}.jsonl", options.task)
    both = [t for t in table.first_seed if t.plain]
    ends = mid_ranks(np.array([t.quality for t in both]))
    print(f"{len(both)} trainings of {options.task}\n")
    print("| rung |", " | ".join(SIGNALS), "|")
    print("| --- |" + " --- |" * len(SIGNALS))
    for rung, report in enumerate(both[0].reports[:-1]):
        at = f"{report.fidelity:.2f} ({report.step} steps)"
        plain = [without_averaging(t)[: rung + 1] for t in both]
        print(line(f"{at}, weights as they are", plain, ends))
        print(line(f"{at}, as reported", [t.reports[: rung + 1] for t in both], ends))


if __name__ == "__main__":
    main()
