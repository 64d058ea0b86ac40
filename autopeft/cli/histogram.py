"""Histograms for a terminal: one line of blocks a group, over a common logarithmic axis."""

import math
from collections.abc import Mapping, Sequence

_BLOCKS = " ▁▂▃▄▅▆▇█"
#: Names may take as much of the width as bars do.
_LABEL_SHARE = 0.5
_PREFIXES = ("", "k", "M", "G", "T")


def log_histogram(groups: Mapping[str, Sequence[int]], width: int = 80) -> list[str]:
    """Return the lines of a histogram; every group is as high as its own tallest bar.

    Args:
        groups: Whole numbers by the name of their group; those below 1 stand at 1.
        width: Columns of the terminal.
    """
    label = min(int(_LABEL_SHARE * width), max(len(name) for name in groups))
    logs = {name: [math.log10(max(v, 1)) for v in values] for name, values in groups.items()}
    every = [x for values in logs.values() for x in values]
    low, high = math.floor(min(every)), max(math.ceil(max(every)), math.floor(min(every)) + 1)
    n_bins = max(high - low, width - label - 8)  # room for the label and the last tick
    lines = []
    for name, values in logs.items():
        counts = [0] * n_bins
        for x in values:
            counts[_bin(x, low, high, n_bins)] += 1
        lines.append(f"{_cut(name, label):<{label}} {_bars(counts)}".rstrip())
    return [*lines, f"{'':{label}} {_axis(low, high, n_bins)}"]


def _bin(x: float, low: int, high: int, n_bins: int) -> int:
    return min(int((x - low) / (high - low) * n_bins), n_bins - 1)


def _bars(counts: Sequence[int]) -> str:
    # What is there at all is seen: one point among many still has the lowest block.
    top, most = len(_BLOCKS) - 1, max(counts)
    return "".join(_BLOCKS[math.ceil(top * count / most)] for count in counts)


def _axis(low: int, high: int, n_bins: int) -> str:
    text = ""
    for power in range(low, high + 1):
        at = _bin(power, low, high, n_bins)
        if at >= len(text):  # ticks that would run into each other are left out
            text = text.ljust(at) + f"|{_power(power)} "
    return text.rstrip()


def _power(power: int) -> str:
    prefix = min(power // 3, len(_PREFIXES) - 1)
    return f"{10 ** (power - 3 * prefix)}{_PREFIXES[prefix]}"


def _cut(name: str, width: int) -> str:
    return name if len(name) <= width else name[: width - 1] + "…"
