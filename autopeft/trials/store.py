"""`TrialStore`: the one record of a study's trials, in Optuna's storage."""

import logging
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import asdict
from typing import Any

import optuna
from optuna.exceptions import StorageInternalError
from optuna.storages import BaseStorage, RDBStorage
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.pool import StaticPool

from autopeft.cost.cost import Cost
from autopeft.errors import MissingPackageError, StudyError
from autopeft.space.configuration import Configuration, Value
from autopeft.space.space import SearchSpace
from autopeft.trials.database import is_writable, memory_copy, sqlite_file
from autopeft.trials.distributions import distributions_of, optuna_values
from autopeft.trials.trial import (
    RungReport,
    TrialRecord,
    TrialResult,
    TrialSpec,
    TrialStatus,
)

_STATES = {TrialStatus.COMPLETE: TrialState.COMPLETE, TrialStatus.STOPPED: TrialState.PRUNED}


class TrialStore:
    """Trials of one study.

    Optuna's own fields hold what its tools show (parameters, values, states, intermediate
    values); user attributes hold the records. Every method returns after the database has
    committed.
    """

    def __init__(
        self, url: str, study_id: str, space: SearchSpace, objectives: Mapping[str, str]
    ) -> None:
        """Open the study's storage, creating it at the first time.

        Args:
            url: SQLAlchemy URL.
            study_id: Unique name of the study; a server's storage holds many.
            space: The search space, for Optuna's distributions.
            objectives: `maximize` or `minimize` by name of the objective, in order.

        Raises:
            StudyError: If the storage cannot be opened, or not be written.
        """
        self._space = space
        file = sqlite_file(url)
        if file is not None and not is_writable(file):
            raise StudyError(
                f"The storage '{file}' cannot be written: --storage names a file in a folder of "
                "yours."
            )
        self._storage = _open(url)
        directions = [StudyDirection[direction.upper()] for direction in objectives.values()]
        try:
            self._study_id = self._storage.get_study_id_from_name(study_id)
        except KeyError:
            self._study_id = self._storage.create_new_study(directions, study_id)
            self._storage.set_study_system_attr(
                self._study_id, "study:metric_names", list(objectives)
            )
        self._ids: dict[int, int] = {}
        self._records: dict[int, TrialRecord] = {}
        self._pauses: dict[int, int | None] = {}
        for frozen in self._storage.get_all_trials(self._study_id, deepcopy=False):
            record = _record(frozen)
            self._records[record.number] = record
            self._ids[record.number] = frozen._trial_id  # noqa: SLF001 - the storage's key
            self._pauses[record.number] = frozen.user_attrs.get("pause")

    @property
    def records(self) -> list[TrialRecord]:
        """All trials, by number."""
        return [self._records[number] for number in sorted(self._records)]

    def add(
        self,
        spec: TrialSpec,
        assignment: Mapping[str, Value],
        cost: Cost,
        quality_metric: str,
        notes: Mapping[str, Any],
        pause: int | None = None,
    ) -> None:
        """Record a trial as running.

        Args:
            spec: What is asked.
            assignment: The point of the search space.
            cost: What it costs.
            quality_metric: Name of the metric that is maximised.
            notes: What the strategy wants to find again.
            pause: Index of the rung at which the trial pauses; `None` if at none. That a trial
                pauses follows from this and from its reports, so no crash comes in between.
        """
        distributions = distributions_of(self._space, assignment)
        template = FrozenTrial(
            number=-1,  # the storage numbers trials
            trial_id=-1,
            state=TrialState.RUNNING,
            value=None,
            values=None,
            datetime_start=_now(),
            datetime_complete=None,
            params=optuna_values(assignment, distributions),
            distributions=distributions,
            user_attrs={
                "spec": _spec_to_dict(spec),
                "assignment": dict(assignment),
                "cost": asdict(cost),
                "quality_metric": quality_metric,
                "notes": dict(notes),
                "reports": [],
                "pause": pause,
            },
            system_attrs={},
            intermediate_values={},
        )
        trial_id = self._storage.create_new_trial(self._study_id, template)
        number = self._storage.get_trial_number_from_id(trial_id)
        if number != spec.number:
            raise StudyError("Another search has written to this study.")
        self._ids[number] = trial_id
        self._pauses[number] = pause
        self._records[number] = TrialRecord(
            spec=spec,
            assignment=dict(assignment),
            cost=cost,
            reports=(),
            result=None,
            quality_metric=quality_metric,
            notes=dict(notes),
        )

    def record_rung(self, number: int, report: RungReport) -> TrialRecord:
        """Record what a running trial measured at a rung; a rung measured again replaces it."""
        old = self._records[number]
        reports = (*(r for r in old.reports if r.rung < report.rung), report)
        trial_id = self._ids[number]
        self._storage.set_trial_user_attr(trial_id, "reports", [r.to_dict() for r in reports])
        quality = report.metrics[old.quality_metric]
        self._storage.set_trial_intermediate_value(trial_id, report.step, float(quality))
        result = _paused(reports, self._pauses[number])
        return self._replace(old, reports=reports, result=result)

    def finish(
        self, number: int, result: TrialResult, values: Sequence[float] | None
    ) -> TrialRecord:
        """Record how a trial ended.

        Args:
            number: The trial.
            result: How it ended.
            values: For a complete trial, the values of the objectives.
        """
        trial_id = self._ids[number]
        self._storage.set_trial_user_attr(trial_id, "result", result.to_dict())
        state = _STATES.get(result.status, TrialState.FAIL)
        complete = state == TrialState.COMPLETE
        self._storage.set_trial_state_values(trial_id, state, values if complete else None)
        return self._replace(self._records[number], result=result)

    def go_on(self, number: int) -> TrialRecord:
        """Record that a paused trial runs again, to the next rung."""
        record = self._records[number]
        pause = len(record.reports)
        self._storage.set_trial_user_attr(self._ids[number], "pause", pause)
        self._pauses[number] = pause
        return self._replace(record, result=None)

    def _replace(self, old: TrialRecord, **changes: Any) -> TrialRecord:
        fields = {name: getattr(old, name) for name in TrialRecord.__dataclass_fields__}
        self._records[old.number] = TrialRecord(**{**fields, **changes})
        return self._records[old.number]


def read_records(url: str, study_id: str) -> list[TrialRecord]:
    """Return the trials of a study, by number; none if it has not begun.

    A SQLite file is left as it is, and may lie where nothing can be written.

    Raises:
        StudyError: If the storage cannot be opened or was not written by autopeft.
    """
    file = sqlite_file(url)
    if file is None:
        return _records(_open(url), study_id)
    if not file.exists():
        return []
    with closing(memory_copy(file)) as copy:
        storage = _open("sqlite://", creator=lambda: copy, poolclass=StaticPool)
        try:
            return _records(storage, study_id)
        except (SQLAlchemyError, StorageInternalError) as error:
            # Optuna's own words are of writing.
            reason = str(error.__cause__ or error).splitlines()[0]
            raise StudyError(f"'{file}' is not a study database: {reason}.") from error


def _records(storage: BaseStorage, study_id: str) -> list[TrialRecord]:
    try:
        number = storage.get_study_id_from_name(study_id)
    except KeyError:
        return []
    return [_record(frozen) for frozen in storage.get_all_trials(number, deepcopy=False)]


def _open(url: str, **engine: Any) -> BaseStorage:
    if url.startswith("postgresql"):
        try:
            import psycopg  # noqa: F401 - SQLAlchemy would name a module the user did not choose
        except ImportError as error:
            raise MissingPackageError("psycopg", "A PostgreSQL storage", "postgres") from error
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    logging.getLogger("alembic").setLevel(logging.WARNING)
    try:
        return RDBStorage(url, engine_kwargs=engine)
    except Exception as error:
        reason = str(error).strip().splitlines()[0]
        raise StudyError(f"Cannot open the study's storage: {reason}") from error


def _now() -> Any:
    from datetime import datetime

    return datetime.now()  # noqa: DTZ005 - Optuna's storages hold local times without a zone


def _paused(reports: Sequence[RungReport], pause: int | None) -> TrialResult | None:
    """Return that a trial pauses, if it has reported the rung at which it is to."""
    if pause is None or not reports or reports[-1].last or reports[-1].rung < pause:
        return None
    return TrialResult(status=TrialStatus.PAUSED, seconds=reports[-1].seconds)


def _spec_to_dict(spec: TrialSpec) -> dict[str, Any]:
    return {
        "number": spec.number,
        "configuration": spec.configuration.to_dict(),
        "rungs": list(spec.rungs),
        "epochs": spec.epochs,
        "seed": spec.seed,
    }


def _record(frozen: FrozenTrial) -> TrialRecord:
    attrs = frozen.user_attrs
    try:
        spec = attrs["spec"]
        reports = tuple(RungReport.from_dict(r) for r in attrs["reports"])
        ended = attrs.get("result")
        return TrialRecord(
            spec=TrialSpec(
                number=spec["number"],
                configuration=Configuration.from_dict(spec["configuration"]),
                rungs=tuple(spec["rungs"]),
                epochs=spec["epochs"],
                seed=spec["seed"],
            ),
            assignment=attrs["assignment"],
            cost=Cost(**attrs["cost"]),
            reports=reports,
            result=TrialResult.from_dict(ended) if ended else _paused(reports, attrs.get("pause")),
            quality_metric=attrs["quality_metric"],
            notes=attrs["notes"],
        )
    except (KeyError, TypeError, ValueError) as error:
        raise StudyError(
            f"Trial {frozen.number} of the study cannot be read ({error}): the storage was not "
            "written by autopeft."
        ) from error
