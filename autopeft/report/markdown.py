"""The front as a Markdown table, and its noise in words, for notes and model cards."""

from autopeft.report.summary import Summary
from autopeft.report.tables import front_table
from autopeft.trials.trial import TrialRecord


def front_markdown(summary: Summary) -> str:
    """Return the front, cheapest first, with the picks named; nothing if it is empty."""
    table = front_table(summary)
    if not table.rows:
        return ""
    rules = ["---:" if numeric else "---" for numeric in table.numeric]
    cells = [[cell.text for cell in row] for row in table.rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in (table.columns, rules, *cells))


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
