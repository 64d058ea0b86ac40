"""What the points of all figures share: groups by method, and the text that hovers over one."""

import math
from collections.abc import Sequence

import numpy as np

from autopeft.report.summary import Summary
from autopeft.space.wording import count_text, layer_text, setting_text, target_text
from autopeft.study.objective import counts_for_front
from autopeft.trials.trial import TrialRecord

#: Shows a point's text and nothing else.
HOVER = "%{text}<extra></extra>"


def by_method(records: Sequence[TrialRecord]) -> dict[str, list[TrialRecord]]:
    """Return the trials that measured something, by method."""
    grouped: dict[str, list[TrialRecord]] = {}
    for record in records:
        if record.quality is not None:
            grouped.setdefault(record.spec.configuration.method, []).append(record)
    return dict(sorted(grouped.items()))


def hover_text(summary: Summary, record: TrialRecord) -> str:
    """Return a trial with its whole configuration, in lines."""
    configuration = record.spec.configuration
    lines = [
        f"<b>trial {record.number}: {configuration.method}</b>",
        f"{summary.metric} {record.quality:.4f} at {100 * record.fidelity:.0f} % of a training",
        *_noise_lines(summary, record),
        count_text(record.cost.adapter_params, "adapter parameter"),
        f"{record.cost.peak_memory_bytes / 2**20:,.0f} MiB predicted training memory",
        f"targets {target_text(configuration)}",
        f"layers {layer_text(configuration, summary.n_layers)}",
        setting_text(configuration),
        f"learning rate {configuration.training.learning_rate:g}",
    ]
    return "<br>".join(line for line in lines if line)


def _noise_lines(summary: Summary, record: TrialRecord) -> list[str]:
    """Return what repeats tell of a complete trial."""
    found = summary.estimate(record)
    if found is None or not counts_for_front(record):
        return []
    lines = [f"on the front with a probability of {found.probability:.2f}"]
    if found.n_seeds > 1:
        numbers = ", ".join(str(r.number) for r in found.measured.trials)
        mean = f"mean {found.measured.mean:.4f} ± {found.error:.4f}"
        lines.insert(0, f"{mean} of {found.n_seeds} seeds (trials {numbers})")
    if record.repeat_of is not None:
        lines.append(f"trial {record.repeat_of} again, with seed {record.spec.seed}")
    return lines


def line_opacity(n_lines: int) -> float:
    """Return how opaque lines of trials behind the front are: hundreds would cover each other."""
    return max(0.08, min(0.45, 15 / max(n_lines, 1)))


def quality_range(summary: Summary) -> tuple[float, float] | None:
    """Return the qualities that a figure shows at first; `None` if nothing was measured.

    A training that diverged is far below all others, and would press them into a line. What lies
    more than three times the distance of the quartiles below the lower one (Tukey 1977, "far out")
    is left out of the first view; the standard errors of the front are in it, and derived points.
    """
    values = [q for r in summary.records for q in _qualities(r)]
    if not values:
        return None
    low, high = np.quantile(values, (0.25, 0.75))
    fence = low - 3 * (high - low)
    front = [e for r in summary.front if (e := summary.estimate(r)) is not None]
    bars = [e.measured.mean + sign * e.error for e in front for sign in (-1, 1)]
    shown = [v for v in values if v >= fence] + (bars if summary.repeated else [])
    shown += [q for p in summary.derived for q in (p.quality_before, p.quality)]
    pad = 0.08 * (max(shown) - min(shown)) or 0.01
    return min(shown) - pad, max(shown) + pad


def out_of_view(summary: Summary) -> int:
    """Return how many trials end below the first view."""
    shown = quality_range(summary)
    ends = [r.quality for r in summary.records if r.quality is not None]
    return 0 if shown is None else sum(quality < shown[0] for quality in ends)


def _qualities(record: TrialRecord) -> list[float]:
    """Return a trial's qualities at its rungs."""
    found = [report.metrics[record.quality_metric] for report in record.reports]
    return [quality for quality in found if math.isfinite(quality)]
