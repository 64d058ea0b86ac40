"""`autopeft search`."""

import signal
import sys
from pathlib import Path
from typing import Any

from autopeft.api.problem import Problem
from autopeft.api.request import SearchRequest
from autopeft.api.result import SearchResult
from autopeft.api.search import STUDIES, resume_search, run_search
from autopeft.cli.output import console, head_text, print_json, print_notes, print_table
from autopeft.cli.progress import ProgressView
from autopeft.cli.study import of_the_front
from autopeft.errors import StudyError
from autopeft.report.stopping import rung_lines
from autopeft.report.summary import Summary
from autopeft.space.wording import count_text
from autopeft.study.objective import ReferencePoint
from autopeft.study.past import warm_start_notes
from autopeft.study.repeats import n_repeats
from autopeft.study.study import Ending, StudyObserver
from autopeft.trials.folder import StudyFolder, newest_study
from autopeft.trials.trial import TrialRecord

_ENDINGS: dict[Ending | None, str] = {
    "time": "The search's time is over: go on with --resume and --time or --trials.",
    "converged": "The search has converged: three points in a row promised next to nothing.",
    "space": "Every configuration of the space within the budget has been tried.",
}


def search_command(
    study: Path | None, settings: dict[str, Any], *, resume: bool, json_output: bool
) -> SearchResult:
    """Run or resume a search, print its front and return it."""
    interrupt = _Interrupt()
    # A job scheduler's SIGTERM ends a search as cleanly as Ctrl-C.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, interrupt.handle)
    session = _Session(interrupt, quiet=json_output)
    try:
        if resume:
            folder = study or newest_study(STUDIES).path
            result = resume_search(folder, settings, session.observers)
        else:
            result = run_search(SearchRequest.build(**settings), study, session.observers)
    except KeyboardInterrupt:
        session.end()
        if session.folder is None:
            raise
        _show(SearchResult(session.folder), json_output=json_output)
        print(
            f"Interrupted. Go on with: autopeft search --resume --study {_shown(session.folder)}",
            file=sys.stderr,
        )
        raise
    finally:
        session.end()
    _show(result, json_output=json_output)
    if not json_output:
        print_notes(_endings(result, interrupt))
    _check_trained(result)
    return result


def _endings(result: SearchResult, seen: "_Interrupt") -> list[str]:
    """Return why the search ended, where that was not by making the trials that were asked for."""
    if result.ending == "trials" and not seen.any_started:
        more = " or ".join(_more_of(result))
        what = f"ask for more with {more}" if more else "what failed is not made again"
        return [f"Nothing was left to do: {what}."]
    return [_ENDINGS[result.ending]] if result.ending in _ENDINGS else []


def _check_trained(result: SearchResult) -> None:
    """Check that a trial of the search, if it made any, did not fail."""
    trials = result.trials
    if trials and all(r.status.failed for r in trials):
        last = trials[-1].result
        assert last is not None  # it has failed
        of = f", the last of {len(trials)}," if len(trials) > 1 else ""
        raise StudyError(
            f"No trial of the study was trained: trial {trials[-1].number}{of} ended with "
            f"{last.status.value}: {last.reason}"
        )


class _Interrupt:
    """Ctrl-C, which is not lost when it arrives where Python cannot raise it.

    In a destructor or in a callback from C an exception is printed and forgotten; the study's
    next event raises it again.
    """

    def __init__(self) -> None:
        self._asked = False
        self.any_started = False

    def handle(self, *_: object) -> None:
        """Handle the signal."""
        self._asked = True
        raise KeyboardInterrupt

    def started(self, _: TrialRecord) -> None:
        self.any_started = True
        self._check()

    def reported(self, _: TrialRecord) -> None:
        self._check()

    def finished(self, _: TrialRecord) -> None:
        self._check()

    def _check(self) -> None:
        if self._asked:
            raise KeyboardInterrupt


class _Session:
    """The progress view of a search, and the folder it writes to."""

    def __init__(self, interrupt: "_Interrupt", *, quiet: bool) -> None:
        self._interrupt = interrupt
        self._quiet = quiet
        self._view: ProgressView | None = None
        self.folder: StudyFolder | None = None

    def observers(self, problem: Problem, folder: StudyFolder) -> list[StudyObserver]:
        self.folder = folder
        self._announce(problem, folder)
        self._view = ProgressView(
            problem.objectives,
            ReferencePoint.from_dict(folder.manifest()["reference"]),
            problem.request.trials,
            problem.spec.n_layers,
            quiet=self._quiet,
        )
        self._view.already(SearchResult(folder).trials)
        self._view.__enter__()
        return [self._view, self._interrupt]

    def end(self) -> None:
        if self._view is not None:
            self._view.__exit__(None, None, None)
            self._view = None

    def _announce(self, problem: Problem, folder: StudyFolder) -> None:
        if self._quiet:
            return
        out = console(stderr=True)
        data, spec, budget = problem.data, problem.spec, problem.space.budget
        out.print(
            f"{data.task.name} ({data.origin}): {count_text(len(data.train), 'row')} to train, "
            f"{len(data.validation):,} to evaluate, quality is {data.task.quality}",
            highlight=False,
        )
        out.print(
            f"{problem.reference.name}: {spec.base_params:,} parameters, budget {budget.text} = "
            f"{count_text(budget.limit, 'adapter parameter')}, {head_text(spec.head_params)}",
            highlight=False,
        )
        print_notes(problem.notes)
        for method, reason in problem.space.refused.items():
            out.print(f"left out {method}: {reason}", highlight=False)
        for note in warm_start_notes(folder.manifest()):
            out.print(note, highlight=False)
        out.print(f"study {_shown(folder)}", highlight=False)


def _show(result: SearchResult, *, json_output: bool) -> None:
    if json_output:
        print_json(result.to_dict())
        return
    out, summary, folder = console(), result.summary, _shown(result.folder)
    rows = of_the_front(summary.rows(result.front))
    if rows:
        title = f"Pareto front of {summary.name}"
        print_table(rows, title, f"autopeft pareto {folder} --format json")
    out.print(
        f"{count_text(len(summary.records), 'trial')} ({summary.statuses()}){_repeated(summary)}, "
        f"hypervolume {summary.hypervolume:.4f}",
        highlight=False,
    )
    for line in rung_lines(summary):
        out.print(line, highlight=False)
    out.print(f"\nLook:   autopeft report {folder} --open, or autopeft ui", highlight=False)
    if rows:
        out.print(f"Take:   autopeft export {folder} --pick best --to my-adapter", highlight=False)
    more = ", or ".join(_more_of(result)).replace("--repeats N", "--repeats N for more seeds")
    if more:
        go_on = f"autopeft search --resume --study {folder}"
        out.print(f"Go on:  {go_on} {more}", highlight=False)


def _more_of(result: SearchResult) -> list[str]:
    """Return the options with which a study goes on: what failed is not made again."""
    one = result.manifest["request"].get("configuration") is not None
    trials = [] if one else ["--trials N"]
    return [*trials, "--repeats N"] if result.front else trials


def _repeated(summary: Summary) -> str:
    n = n_repeats(summary.records)
    return f", {n} of them with further seeds" if n else ""


def _shown(folder: StudyFolder) -> Path:
    try:
        return folder.path.relative_to(Path.cwd())
    except ValueError:
        return folder.path
