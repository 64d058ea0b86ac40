"""The live view of a search: what runs, what is best, how long it will take."""

import time
from types import TracebackType
from typing import Self

from rich.console import Group
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from autopeft.cli.output import console
from autopeft.space.wording import count_text, layer_text, target_text
from autopeft.study.front import front_hypervolume, pareto_front
from autopeft.study.objective import Objective, ReferencePoint
from autopeft.study.repeats import n_repeats
from autopeft.study.uncertainty import measured_configurations
from autopeft.trials.trial import TrialRecord


class ProgressView:
    """Shows a search while it runs; one plain line a trial where there is no terminal."""

    def __init__(
        self,
        objectives: tuple[Objective, ...],
        reference: ReferencePoint,
        n_trials: int,
        n_layers: int,
        *,
        quiet: bool = False,
    ) -> None:
        """Prepare the view of a search of `n_trials`; a quiet view shows nothing."""
        self._objectives = objectives
        self._reference = reference
        self._n_trials = n_trials
        self._n_layers = n_layers
        self._records: dict[int, TrialRecord] = {}
        self._console = console(stderr=True)
        self._quiet = quiet
        self._live: Live | None = None
        self._begun = time.monotonic()
        self._ended_here = 0
        self._bar = Progress(
            TextColumn("trials"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("{task.fields[left]}"),
            console=self._console,
        )
        self._bar_task = self._bar.add_task("trials", total=n_trials, left="")

    def __enter__(self) -> Self:
        """Start the live view if there is a terminal."""
        if self._console.is_terminal and not self._quiet:
            self._live = Live(self._render(), console=self._console, refresh_per_second=4)
            self._live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Leave the last state on the screen."""
        if self._live is not None:
            self._live.stop()

    def already(self, records: list[TrialRecord]) -> None:
        """Take up the trials of a study that is resumed."""
        self._records = {record.number: record for record in records}
        self._refresh()

    def started(self, record: TrialRecord) -> None:
        """Show a running trial."""
        self._records[record.number] = record
        self._refresh()

    def reported(self, record: TrialRecord) -> None:
        """Show a trial's quality so far."""
        self._records[record.number] = record
        self._refresh()

    def finished(self, record: TrialRecord) -> None:
        """Show how a trial ended."""
        self._records[record.number] = record
        self._ended_here += 1
        self._refresh()
        if self._live is None and not self._quiet:
            # Plain text: what stands in brackets is no markup.
            self._console.print(self._line(record), highlight=False, markup=False)

    def _refresh(self) -> None:
        if self._live is not None:
            self._live.update(self._render())

    def _render(self) -> Group:
        self._bar.update(self._bar_task, completed=self._n_tried(), left=self._time_left())
        running = [r for r in self._records.values() if r.result is None]
        rows = Table.grid(padding=(0, 2))
        for record in sorted(running, key=lambda r: r.number):
            rows.add_row(f"trial {record.number}", self._words(record), self._state(record))
        return Group(self._bar, Text(self._best()), rows)

    def _best(self) -> str:
        records = list(self._records.values())
        front = pareto_front(records, self._objectives)
        if not front:
            return "no trial is complete yet"
        means = {m.record.number: m.mean for m in measured_configurations(records)}
        best, small = max(front, key=lambda r: means[r.number]), front[0]
        volume = front_hypervolume(records, self._objectives, self._reference)
        return (
            f"best {means[best.number]:.4f} with "
            f"{count_text(best.cost.adapter_params, 'parameter')}, "
            f"smallest {small.cost.adapter_params:,} with {means[small.number]:.4f}, "
            f"front of {len(front)}, hypervolume {volume:.4f}"
        )

    def _time_left(self) -> str:
        todo = self._n_trials - self._n_tried()
        if not self._ended_here or todo <= 0:
            return ""
        each = (time.monotonic() - self._begun) / self._ended_here
        minutes, seconds = divmod(round(todo * each), 60)
        return f"about {minutes}:{seconds:02d} left"

    def _line(self, record: TrialRecord) -> str:
        done = f"{self._n_tried()}/{self._n_trials}" if record.repeat_of is None else "repeat"
        return (
            f"[{done}] trial {record.number} {record.status.value}: "
            f"{self._state(record)}, {self._words(record)}"
        )

    def _n_tried(self) -> int:
        """Return how many configurations have had their trial."""
        ended = [r for r in self._records.values() if r.result is not None]
        return len(ended) - n_repeats(ended)

    def _words(self, record: TrialRecord) -> str:
        configuration = record.spec.configuration
        if record.repeat_of is not None:
            return (
                f"{configuration.method} of trial {record.repeat_of} with seed {record.spec.seed}"
            )
        if not configuration.components:
            return "the head alone"
        return (
            f"{configuration.method} on {target_text(configuration)}, "
            f"layers {layer_text(configuration, self._n_layers)}, "
            f"{count_text(record.cost.adapter_params, 'parameter')}"
        )

    def _state(self, record: TrialRecord) -> str:
        if record.status.failed and record.result is not None:
            return record.result.reason
        if record.quality is None:
            return "training"
        return f"{record.quality_metric} {record.quality:.4f} at {100 * record.fidelity:.0f} %"
