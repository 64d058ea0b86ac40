"""Keeps the report of a running search fresh, at a hundredth of its time."""

import logging
from collections.abc import Callable
from pathlib import Path

from autopeft.api.report import write_report_page
from autopeft.api.result import SearchResult
from autopeft.errors import AutopeftError
from autopeft.trials.folder import StudyFolder
from autopeft.trials.ports import Clock
from autopeft.trials.trial import TrialRecord

logger = logging.getLogger(__name__)

#: Seconds between two reports at least, and times as long as the last one took.
INTERVAL, PATIENCE = 60.0, 100.0


class LiveReport:
    """Writes the report again when trials have ended; an observer of the study.

    A report that cannot be written costs the report, never the search: the first failure is logged
    and no further one is tried until the search ends.
    """

    def __init__(self, folder: StudyFolder, keep: Callable[[Path], None], clock: Clock) -> None:
        """Begin; the first report is due after the interval.

        Args:
            folder: The study's folder.
            keep: Is given each report, to keep it elsewhere too.
            clock: Tells when a report is due.
        """
        self._folder = folder
        self._keep = keep
        self._clock = clock
        self._due = clock.now() + INTERVAL
        self._broken = False

    def started(self, _: TrialRecord) -> None:
        """Nothing has come out yet."""

    def reported(self, _: TrialRecord) -> None:
        """The trial goes on: its end will do."""

    def finished(self, _: TrialRecord) -> None:
        """Write the report if it is due."""
        begun = self._clock.now()
        if self._broken or begun < self._due:
            return
        path = self._write()
        if path is not None:
            self._keep(path)
        ended = self._clock.now()
        self._due = ended + max(INTERVAL, PATIENCE * (ended - begun))

    def _write(self) -> Path | None:
        try:
            return write_report_page(SearchResult(self._folder), quick=True)
        except (AutopeftError, OSError) as error:
            self._broken = True
            logger.warning("The report is not written until the search ends: %s", error)
            return None
