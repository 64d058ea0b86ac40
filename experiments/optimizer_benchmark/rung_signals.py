"""How well does a rung rank trainings as their end does, with averaged weights and without?

    python experiments/optimizer_benchmark/rung_signals.py --task sst2

Printed is Spearman's rank correlation with the quality at the end, and its standard error (Bonett
and Wright 2000): over all trainings, and over those that were measured both ways. Then the members
of the front at the end: how much of the hypervolume would be lost without each, and its place
among all by the blend of a rung.
"""

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from table import Table, Training, read_table

from autopeft.study.pareto import contributions, front, hypervolume
from autopeft.study.signals import SIGNALS, correlation, mid_ranks, signal_ranks
from autopeft.trials.trial import RungReport

HERE = Path(__file__).parent


def without_averaging(training: Training) -> tuple[RungReport, ...]:
    """Return what a training would have reported without averaged weights."""
    *rungs, end = training.reports
    plain = [replace(r, **shown) for r, shown in zip(rungs, training.plain, strict=True)]
    return (*plain, end)


def line(name: str, trainings: Sequence[Training], curves: Sequence[Sequence[RungReport]]) -> str:
    """Return a row of the table: the correlation of each signal."""
    ends = mid_ranks(np.array([t.quality for t in trainings]))
    ranks = signal_ranks(curves, next(iter(curves[0][-1].metrics)))
    cells = []
    for signal in SIGNALS:
        found = correlation(ranks[signal], ends, np.ones(len(ends)))
        error = np.sqrt((1 + found**2 / 2) / (len(ends) - 3)) * (1 - found**2)
        cells.append(f"{found:.2f} ± {error:.2f}")
    return f"| {name} | {len(trainings)} | {' | '.join(cells)} |"


def front_members(table: Table) -> str:
    """Return the front at the end as a table: what each member adds, and its place at the rungs."""
    trainings, scaled = table.first_seed, table.scaled
    position, members = table.reference.position, front(scaled)
    lost = contributions(scaled[members], position) / hypervolume(scaled, position)
    metric = next(iter(trainings[0].reports[-1].metrics))
    rungs = range(len(trainings[0].reports) - 1)
    places = [
        len(trainings) + 1 - signal_ranks([t.reports[: r + 1] for t in trainings], metric)["blend"]
        for r in rungs
    ]
    at = " | ".join(f"place at {trainings[0].reports[r].fidelity:.2f}" for r in rungs)
    lines = [
        f"| number | method | parameters | quality | of the hypervolume | {at} |",
        "| --- |" + " --- |" * (4 + len(rungs)),
    ]
    for i, share in sorted(zip(members, lost, strict=True), key=lambda pair: -pair[1]):
        t = trainings[i]
        found = " | ".join(f"{place[i]:.0f}" for place in places)
        lines.append(
            f"| {t.number} | {t.point['method']} | {t.adapter_params:,} | {t.quality:.3f} | "
            f"{share:.3f} | {found} |"
        )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--task", default="sst2")
    parser.add_argument("--table", type=Path, help="default: TASK.jsonl beside this file")
    options = parser.parse_args()
    table = read_table(options.table or HERE / f"{options.task}.jsonl", options.task)
    both = [t for t in table.first_seed if t.plain]
    print("| rung | trainings |", " | ".join(SIGNALS), "|")
    print("| --- | --- |" + " --- |" * len(SIGNALS))
    for rung, report in enumerate(table.first_seed[0].reports[:-1]):
        at = f"{report.fidelity:.2f} ({report.step} steps)"
        for trainings in (table.first_seed, both) if both else (table.first_seed,):
            reported = [t.reports[: rung + 1] for t in trainings]
            print(line(f"{at}, as reported", trainings, reported))
        if both:
            plain = [without_averaging(t)[: rung + 1] for t in both]
            print(line(f"{at}, weights as they are", both, plain))
    print(f"\n{front_members(table)}")


if __name__ == "__main__":
    main()
