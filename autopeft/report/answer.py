"""The answer of a study in words: the picks, by which rule, and what the front offers."""

from autopeft.report.summary import Summary
from autopeft.space.wording import count_text, layer_text, setting_text, target_text
from autopeft.trials.trial import TrialRecord

_RULES = {
    "best": "the highest quality",
    "knee": "the last point after which more parameters buy little",
    "smallest": "the fewest adapter parameters",
}
_SIZE = "adapter parameter"
_BEST_OF_SEVERAL = "the cheapest whose mean is within one standard error of the highest"


def headline(summary: Summary) -> str:
    """Return the pick in a sentence."""
    best = summary.best()
    if best is None:
        return "No trial is complete, so there is nothing to pick yet."
    return f"{_named(summary, best)}: {quality_text(summary, best)} with {size_text(best)}."


def pick_lines(summary: Summary) -> list[tuple[str, str]]:
    """Return each pick's names and what it is; a trial with several names is there once."""
    lines = []
    for record in dict.fromkeys(r.number for r in summary.picks.values() if r is not None):
        names = [n for n, r in summary.picks.items() if r is not None and r.number == record]
        pick = summary.picks[names[0]]
        assert pick is not None
        rules = "; ".join(rule_text(summary, name) for name in names)
        what = (
            f"{_named(summary, pick)}, {quality_text(summary, pick)}, {size_text(pick)}: {rules}."
        )
        lines.append((" and ".join(names), what))
    return lines


def rule_text(summary: Summary, pick: str) -> str:
    """Return by which rule a pick is chosen."""
    if pick == "best" and summary.repeated:
        return _BEST_OF_SEVERAL
    return _RULES[pick]


def front_line(summary: Summary) -> str:
    """Return in a sentence what the front spans."""
    front = summary.front
    if not front:
        return ""
    if len(front) == 1:
        return "The front is this one configuration: no other is cheaper, and none is better."
    means = [e.measured.mean for r in front if (e := summary.estimate(r)) is not None]
    params = [r.cost.adapter_params for r in front]
    return (
        f"The front has {len(front)} configurations, from {count_text(min(params), _SIZE)} to "
        f"{max(params):,}, and from {summary.metric} {min(means):.4f} to {max(means):.4f}: each is "
        "better than all that cost less."
    )


def quality_text(summary: Summary, record: TrialRecord) -> str:
    """Return a trial's quality with what is known of its noise."""
    found = summary.estimate(record)
    if found is None:
        return f"{summary.metric} {record.quality:.4f}"
    text = f"{summary.metric} {found.measured.mean:.4f} ± {found.error:.4f}"
    return f"{text} (mean of {found.n_seeds} seeds)" if found.n_seeds > 1 else text


def size_text(record: TrialRecord) -> str:
    """Return a trial's adapter parameters, and their share of the base."""
    share = record.cost.share_of_base_percent
    return f"{count_text(record.cost.adapter_params, _SIZE)} ({share:g} % of the base)"


def _named(summary: Summary, record: TrialRecord) -> str:
    configuration = record.spec.configuration
    places = (
        f" on {target_text(configuration)}, layers {layer_text(configuration, summary.n_layers)}"
        if configuration.components
        else ""
    )
    settings = setting_text(configuration)
    return f"trial {record.number}, {configuration.method}{places}" + (
        f" ({settings})" if settings else ""
    )
