"""`run_search`: from a checked request to a study on disk, on the one straight way."""

import logging
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path
from typing import Any

from autopeft.api.data_notes import cut_notes
from autopeft.api.live_report import LiveReport
from autopeft.api.problem import Problem, resolve
from autopeft.api.provenance import manifest
from autopeft.api.recorded import recorded_request
from autopeft.api.report import write_report_page
from autopeft.api.request import RESUMABLE, SearchRequest
from autopeft.api.result import SearchResult, recorded_trials, storage_url
from autopeft.api.tracking import close_tracker, log_winner, study_tracker, tracking_place
from autopeft.api.warm_start import keep_past, kept_past, read_past
from autopeft.api.wiring import build_runner, build_strategy
from autopeft.errors import AutopeftError, RequestError, StudyError
from autopeft.models.weights import check_weights, check_writing_head
from autopeft.report.files import write_report
from autopeft.report.tracking import MlflowTracker
from autopeft.study.objective import ReferencePoint
from autopeft.study.study import PointCosts, Study, StudyObserver
from autopeft.trials.database import log_ahead
from autopeft.trials.engine import Workload
from autopeft.trials.folder import StudyFolder
from autopeft.trials.ports import Runner, SystemClock
from autopeft.trials.store import TrialStore
from autopeft.trials.trial import TrialRecord

logger = logging.getLogger(__name__)

STUDIES = Path("studies")

#: Makes the observers of a study when it begins; the study's folder and plan are known then.
ObserverFactory = Callable[[Problem, StudyFolder], Sequence[StudyObserver]]


def run_search(
    request: SearchRequest,
    folder: Path | None = None,
    observers: ObserverFactory = lambda *_: (),
) -> SearchResult:
    """Run a search in a new study.

    Args:
        request: What is searched.
        folder: The study's folder; `None` names one after task, model and date.
        observers: Makes further observers, such as a progress view.

    Raises:
        AutopeftError: If the request cannot be met; nothing has been written then.
        KeyboardInterrupt: On Ctrl-C; all that was measured is in the study's folder.
    """
    if folder is not None:
        StudyFolder(folder).check_free()  # before anything is loaded, and the lock makes a folder
    problem = resolve(request)
    reference = problem.reference_point()
    study_folder = StudyFolder(folder or _new_folder(problem))
    past = read_past(problem, study_folder)
    problem, workload = _workload(problem)
    with study_folder:
        study_id = uuid.uuid4().hex
        recorded = manifest(problem, study_id, reference, past)
        study_folder.create(recorded, problem.space_text)
        try:
            keep_past(past, study_folder)
            search = _prepare(problem, study_folder, workload, observers)
        except BaseException:  # a storage that does not answer, say: nothing stays half-written
            study_folder.discard()
            raise
        return _run(search, study_folder)


def resume_search(
    folder: Path, changes: dict[str, Any], observers: ObserverFactory = lambda *_: ()
) -> SearchResult:
    """Go on with a study.

    Args:
        folder: The study's folder.
        changes: Settings to change, of those in `RESUMABLE`.
        observers: Makes further observers, such as a progress view.

    Raises:
        RequestError: If a setting cannot be changed any more.
        StudyError: If there is no study, it cannot be written, another search writes to it, or its
            data has changed.
        KeyboardInterrupt: On Ctrl-C; all that was measured is in the study's folder.
    """
    study_folder = StudyFolder(folder)
    recorded = study_folder.manifest()
    study_folder.check_writable()  # before anything is loaded
    recorded_request(recorded)
    asked = {**SearchRequest.described(recorded["request"]), **changes}
    meant = SearchRequest.build(**asked).model_dump(mode="json")  # as it was recorded
    for name in changes:
        if name not in RESUMABLE and recorded["request"].get(name) != meant[name]:
            raise RequestError(
                f"--{name.replace('_', '-')} of a study cannot change: start a new one, or leave "
                "it out."
            )
    if changes.get("until_converged") and "trials" not in changes:
        del asked["trials"]  # it ends when it has converged, not when it would have ended before
    if asked.get("configuration") is None:
        # The user's file may have changed since, and a shipped one with the version.
        asked["space"] = str(study_folder.recorded_space())
    request = SearchRequest.build(**asked)
    problem = resolve(request)
    if problem.data.fingerprint != recorded["task"]["fingerprint"]:
        raise StudyError(
            "The rows are not those that the study was started with, because the data has changed "
            "or this version splits it in another way: new trials could not be compared with the "
            "old ones."
        )
    problem, workload = _workload(problem)
    with study_folder:
        return _run(_prepare(problem, study_folder, workload, observers), study_folder)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Search:
    """A study with what runs it and what shows it."""

    study: Study
    runner: Runner
    tracker: MlflowTracker


class _Checkpoints:
    """Removes checkpoints that nobody needs any more: a paused trial may end without a worker."""

    def __init__(self, folder: StudyFolder) -> None:
        self._folder = folder

    def started(self, _: TrialRecord) -> None:
        """Keep all."""

    def reported(self, _: TrialRecord) -> None:
        """Keep all."""

    def finished(self, record: TrialRecord) -> None:
        """Remove the checkpoint of a trial that has ended."""
        if record.status.ended:
            self._folder.drop_checkpoint(record.number)


def _workload(problem: Problem) -> tuple[Problem, Workload]:
    """Return the workload, and the problem with what its lengths tell the user."""
    request = problem.request
    check_weights(problem.reference)
    if problem.data.head.writes_text:
        check_writing_head(problem.reference, trust_remote_code=request.trust_remote_code)
    parts = (problem.reference, problem.data, problem.max_length)
    workload = Workload.prepare(
        *parts,
        cache_bytes=problem.cache_bytes,
        trust_remote_code=request.trust_remote_code,
        precision=request.precision,
    )
    cut = cut_notes(*parts, workload, trust_remote_code=request.trust_remote_code)
    return replace(problem, notes=(*problem.notes, *cut)), workload


def _prepare(
    problem: Problem, folder: StudyFolder, workload: Workload, observers: ObserverFactory
) -> _Search:
    recorded = folder.manifest()
    reference = ReferencePoint.from_dict(recorded["reference"])
    runner = build_runner(problem, workload, folder)
    strategy = build_strategy(problem, reference, kept_past(problem, folder))
    if problem.request.storage is None:
        log_ahead(folder.database)
    url = storage_url(folder, problem.request.storage)
    recorded_trials(folder, url, recorded["study_id"])
    store = TrialStore(
        url,
        recorded["study_id"],
        problem.space.space,
        {o.name: o.direction for o in problem.objectives},
    )
    place = tracking_place(folder, problem.request.mlflow_uri)
    tracker = study_tracker(folder, recorded, place)
    tracker.catch_up(store.records)
    if problem.request.system_metrics:
        tracker.watch_system()
    checkpoints = _Checkpoints(folder)
    for record in store.records:
        checkpoints.finished(record)
    clock = SystemClock()
    live = LiveReport(folder, tracker.keep, clock)
    plan = problem.plan(reference)
    # What the first run was measured by stays, whatever a newer version would compute.
    if store.records:
        plan = replace(plan, rungs=store.records[0].spec.rungs)
    study = Study(
        plan,
        PointCosts(configuration=problem.configuration, cost=problem.cost),
        strategy,
        store,
        clock,
        [tracker, checkpoints, live, *observers(problem, folder)],
    )
    return _Search(study=study, runner=runner, tracker=tracker)


def _run(search: _Search, folder: StudyFolder) -> SearchResult:
    status = "FAILED"
    try:
        search.runner.run(search.study)
        status = "FINISHED"
    except KeyboardInterrupt:
        status = "KILLED"
        raise
    finally:
        result = SearchResult(folder)
        files = write_report(result.summary, result.to_dict(), folder.report)
        files.append(write_report_page(result))
        if status == "FINISHED":
            _log_winner(search.tracker, result)
        close_tracker(search.tracker, result, status, files)
    result.ending = search.study.ending
    return result


def _log_winner(tracker: MlflowTracker, result: SearchResult) -> None:
    """Log the best trial as a model; whatever keeps it from being one does not cost the search."""
    try:
        log_winner(tracker, result)
    except AutopeftError as error:
        logger.warning("The best trial is not logged as a model: %s", error)


def _new_folder(problem: Problem) -> Path:
    today = date.today().isoformat()  # noqa: DTZ011 - the user's own day
    name = f"{problem.data.task.name}-{problem.reference.short_name}-{today}"
    path, number = STUDIES / name, 2
    while path.exists():
        path, number = STUDIES / f"{name}-{number}", number + 1
    return path
