"""A study as one page: what was asked, the answer, figures, all trials, how to do it again."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from autopeft.report import tables
from autopeft.report.analysis_figure import importances_figure, winners_figure
from autopeft.report.answer import front_line, headline, pick_lines
from autopeft.report.axes import COST_AXES, PARAMS, CostAxis
from autopeft.report.blocks import Block, plots
from autopeft.report.derived import WORDS as DERIVED_WORDS
from autopeft.report.derived import derived_rows
from autopeft.report.derived_figure import bytes_figure
from autopeft.report.figures import pareto_figure
from autopeft.report.layer_use import layer_use
from autopeft.report.parallel_figure import parallel_figure
from autopeft.report.points import hover_text, out_of_view
from autopeft.report.progress_figures import hypervolume_figure, learning_figure, progress
from autopeft.report.stopping import rung_lines
from autopeft.report.summary import Summary
from autopeft.report.templates import render
from autopeft.space.wording import count_text
from autopeft.study.analysis.budgets import Winner
from autopeft.study.analysis.importance import LEAST_TRIALS, Importance

if TYPE_CHECKING:
    from plotly.graph_objects import Figure


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """Where a study comes from.

    Attributes:
        asked: What was asked, a name and its value each.
        again: What it takes to do it again, a name and its value each.
        commands: Commands with what each is for.
        written: When the page was written.
    """

    asked: tuple[tuple[str, str], ...]
    again: tuple[tuple[str, str], ...]
    commands: tuple[tuple[str, str], ...]
    written: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Findings:
    """What was worked out of the trials beyond their front.

    Attributes:
        winners: The best method within each budget.
        importances: How much each fact explains; empty with too few trials.
        n_trials: Configurations with a complete trial.
    """

    winners: Sequence[Winner] = ()
    importances: Sequence[Importance] = ()
    n_trials: int = 0


@dataclass(frozen=True, slots=True)
class _Blocks:
    """The figures of a page, by section."""

    front: list[Block] = field(default_factory=list)
    course: list[Block] = field(default_factory=list)
    choices: list[Block] = field(default_factory=list)

    def all(self) -> list[Block]:
        return [*self.front, *self.course, *self.choices]


def study_page(summary: Summary, origin: Origin, findings: Findings) -> str:
    """Return the page of a study.

    Args:
        summary: The study.
        origin: Where it comes from.
        findings: What was worked out of its trials.
    """
    measured = [r for r in summary.records if r.quality is not None]
    blocks = _blocks(summary, findings)
    failures = tables.failure_table(summary)
    return render(
        "report.html.j2",
        plots(blocks.all()),
        {r.number: hover_text(summary, r) for r in measured},
        title=f"{summary.task} on {summary.model}",
        summary=summary,
        headline=headline(summary),
        picks=pick_lines(summary),
        front_line=front_line(summary),
        front=tables.front_table(summary),
        blocks=blocks,
        costs=tables.cost_table(summary),
        derived=tables.rows_table(derived_rows(summary)),
        derived_words=DERIVED_WORDS,
        layers=layer_use(summary),
        trials=tables.trial_table(summary),
        failures=failures,
        stopping=rung_lines(summary),
        too_few=_too_few(findings),
        origin=origin,
    )


def study_figures(summary: Summary, findings: Findings) -> dict[str, "Figure"]:
    """Return the figures of a study's page by their names; none if nothing was measured."""
    return {block.name: block.plot for block in _blocks(summary, findings).all()}


def _blocks(summary: Summary, findings: Findings) -> _Blocks:
    if all(r.quality is None for r in summary.records):
        return _Blocks()
    return _Blocks(
        front=[
            *(_front_block(summary, axis) for axis in COST_AXES if axis.known(summary)),
            *([_bytes_block(summary)] if summary.derived else []),
        ],
        course=_course(summary),
        choices=[*_choices(summary, findings)],
    )


def _front_block(summary: Summary, axis: CostAxis) -> Block:
    line = (
        "the line is the front"
        if axis.orders(summary)
        else "the large marks are the front, which this cost does not order"
    )
    limit = axis.limit(summary)
    words = (
        f"Validation {summary.metric} of each trial over {axis.title}{_scale(axis)}. "
        f"Colour and shape tell the method, faint marks are behind the front, open ones were "
        f"stopped early, and {line}"
    )
    words += ", with standard errors over seeds" if summary.repeated else ""
    words += f". The dotted line is the {limit[1]}." if limit else "."
    below = out_of_view(summary)
    words += f" {below} of the trials end far below the picture: double-click shows all." * bool(
        below
    )
    short = "size" if axis is PARAMS else axis.name
    if summary.derived and axis.derived is not None:
        words += f" Bow ties are derived points, joined to what they were made of. {DERIVED_WORDS}"
    return Block(
        name=f"front-{axis.name}",
        title=f"Quality against {short}",
        words=words,
        plot=pareto_figure(summary, axis),
    )


def _bytes_block(summary: Summary) -> Block:
    return Block(
        name="derived-bytes",
        title="Quality against the file's size",
        words=f"Validation {summary.metric} of derived points over the bytes of their smallest "
        "file, on a logarithmic axis, as bow ties, joined to the adapters as they were trained, as "
        f"circles. {DERIVED_WORDS}",
        plot=bytes_figure(summary),
    )


def _scale(axis: CostAxis) -> str:
    return ", on a logarithmic axis" if axis.logarithmic else ""


def _course(summary: Summary) -> list[Block]:
    history = progress(summary)
    last = history[-1]
    words = (
        f"The share of all that is possible which the front covers: {last.hypervolume:.4f} after "
        f"{count_text(last.n_trials, 'trial')}."
    )
    return [
        Block(
            name="hypervolume-trials",
            title="Hypervolume over trials",
            words=words,
            plot=hypervolume_figure(history, compute=False),
            numbers=tables.progress_table(history),
        ),
        Block(
            name="hypervolume-compute",
            title="Hypervolume over compute",
            words=f"The same over compute: all trials are worth {last.trainings:.2f} full "
            "trainings.",
            plot=hypervolume_figure(history, compute=True),
        ),
        Block(
            name="learning",
            title="Learning curves",
            words=f"Validation {summary.metric} at each rung, a line a trial; those behind the "
            "front are faint, open marks were stopped early.",
            plot=learning_figure(summary),
            numbers=tables.rung_table(summary),
        ),
    ]


def _choices(summary: Summary, findings: Findings) -> list[Block]:
    blocks = [
        Block(
            name="parallel",
            title="What was chosen, and what came out",
            words="A line a trial across parallel axes, each from its smallest to its largest "
            "value; those of the front are bold. Methods without a rank pass that axis by.",
            plot=parallel_figure(summary),
        )
    ]
    if findings.winners:
        blocks.append(
            Block(
                name="winners",
                title="Best method within a budget",
                words="The best quality that each method reached with at most so many adapter "
                "parameters.",
                plot=winners_figure(findings.winners, f"validation {summary.metric}"),
                numbers=tables.winner_table(findings.winners),
            )
        )
    if findings.importances:
        blocks.append(
            Block(
                name="importance",
                title="What mattered",
                words="Share of the variance of quality that each fact explains by itself, with "
                "the spread over forests that saw different trials.",
                plot=importances_figure(findings.importances),
                numbers=tables.importance_table(findings.importances),
            )
        )
    return blocks


def _too_few(findings: Findings) -> str:
    if findings.importances or findings.n_trials >= LEAST_TRIALS:
        return ""
    return (
        f"{count_text(findings.n_trials, 'complete configuration')} cannot say what mattered: "
        f"{LEAST_TRIALS} are needed."
    )
