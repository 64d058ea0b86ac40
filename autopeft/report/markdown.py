"""The front as a Markdown table, and its noise in words, for notes and model cards."""

from autopeft.report.summary import Summary
from autopeft.trials.trial import TrialRecord


def front_table(summary: Summary) -> str:
    """Return the front, cheapest first, with the picks named."""
    noise = ("mean", "standard_error", "seeds") if summary.repeated else ("standard_error",)
    what = ("on_front", "adapter_params", "method", "targets", "layers", "pick")
    shown = ("trial", summary.metric, *noise, *what)
    lines = ["| " + " | ".join(shown) + " |", "| " + " | ".join("---" for _ in shown) + " |"]
    rows = summary.rows(summary.front)
    lines += ["| " + " | ".join(str(row[name]) for name in shown) + " |" for row in rows]
    return "\n".join(lines)


def noise_text(summary: Summary, record: TrialRecord) -> str:
    """Return how sure a trial's quality is, in words; empty if nothing is known of it."""
    found = summary.estimate(record)
    if found is None:
        return ""
    rows = f"{found.evaluation_error:.4f} for the choice of the validation rows"
    if found.n_seeds < 2:
        return f"standard error {rows}"
    return (
        f"of seed {record.spec.seed}; the mean of {found.n_seeds} seeds is "
        f"{found.measured.mean:.4f}, standard error {found.error:.4f} between seeds and {rows}"
    )
