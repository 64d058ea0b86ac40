"""The front as a Markdown table, for notes and model cards."""

from autopeft.report.summary import Summary


def front_table(summary: Summary) -> str:
    """Return the front, cheapest first, with the picks named."""
    shown = ("trial", summary.metric, "adapter_params", "method", "targets", "layers", "pick")
    lines = ["| " + " | ".join(shown) + " |", "| " + " | ".join("---" for _ in shown) + " |"]
    rows = summary.rows(summary.front)
    lines += ["| " + " | ".join(str(row[name]) for name in shown) + " |" for row in rows]
    return "\n".join(lines)
