"""Which learning rates and which layers did well in a table of random trainings?

    python experiments/optimizer_benchmark/table_means.py --task sst2

Means of the quality at the end with their standard errors: by the multiple of the method's default
learning rate, for each method, and by layers. And where the start of a search, trained by
`real_search.py`, lies among the random points.
"""

import argparse
import itertools
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from compare import HERE, mean_and_error
from real_search import PORTFOLIO, read
from table import Training, read_table, training_of

#: Multiples of the default learning rate are counted from one of these to the next.
MULTIPLES = (0.0, 0.5, 1.0, 2.0, 4.0, np.inf)
ALL = "all"


def means(trainings: Sequence[Training], group: Callable[[Training], str]) -> dict[str, str]:
    """Return number, mean and standard error of each group of trainings."""
    names = sorted({group(training) for training in trainings})
    found = {n: [t.quality for t in trainings if group(t) == n] for n in names}
    return {n: f"{mean_and_error(values)} ({len(values)})" for n, values in found.items()}


def by_multiple(trainings: Sequence[Training]) -> str:
    """Return a table in Markdown: a line for each method, a column for each range."""
    edges = list(itertools.pairwise(MULTIPLES))
    labels = [f"from {low:g}" if high == np.inf else f"{low:g} to {high:g}" for low, high in edges]

    def place(training: Training) -> str:
        multiple = float(training.point["learning_rate_multiple"])
        return labels[int(np.searchsorted(MULTIPLES, multiple, side="right")) - 1]

    lines = ["| method | " + " | ".join(labels) + " |", "| --- |" + " --- |" * len(labels)]
    for method in (ALL, *sorted({str(t.point["method"]) for t in trainings})):
        own = [t for t in trainings if method in (ALL, t.point["method"])]
        found = means(own, place)
        lines.append(f"| {method} | " + " | ".join(found.get(n, "-") for n in labels) + " |")
    return "\n".join(lines)


def start(trainings: Sequence[Training], trained: Path) -> str:
    """Return a line for each point of a search's start: quality, and the share of points below."""
    qualities = np.array([t.quality for t in trainings])
    searches = (rows for key, rows in read(trained).items() if key[1] == PORTFOLIO)
    rows = [row for row in next(searches) if row["origin"] not in ("nehvi", "sobol")]
    lines = []
    for row in rows:
        training = training_of(row)
        below = float((qualities < training.quality).mean())
        lines.append(
            f"{row['point']['method']}, {row['adapter_params']} parameters: "
            f"{training.quality:.3f}, better than {below:.0%}"
        )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--task", default="sst2")
    options = parser.parse_args()
    trainings = read_table(HERE / f"{options.task}.jsonl", options.task).first_seed
    print(by_multiple(trainings), end="\n\n")
    for layers, text in means(trainings, lambda t: str(t.point["layers"])).items():
        print(f"layers {layers}: {text}")
    print("\n" + start(trainings, HERE / f"real-{options.task}.jsonl"))


if __name__ == "__main__":
    main()
