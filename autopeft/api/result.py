"""`SearchResult`: a study's trials, its front, and the way to take one home."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from autopeft.errors import RequestError, StudyError, UnknownNameError
from autopeft.export.folder import check_export, export_trial
from autopeft.report.stopping import rung_facts
from autopeft.report.summary import Summary
from autopeft.study.objective import ReferencePoint, parse_objectives
from autopeft.study.study import Ending
from autopeft.study.uncertainty import Estimate
from autopeft.tasks.metrics import METRICS
from autopeft.trials.database import sqlite_url
from autopeft.trials.derived import read_derived
from autopeft.trials.folder import StudyFolder
from autopeft.trials.store import read_records
from autopeft.trials.trial import TrialRecord

if TYPE_CHECKING:
    from autopeft.export.average import Averaged
    from autopeft.export.compress import Compressed, Compression
    from autopeft.study.analysis.analysis import Analysis

PICKS = ("best", "knee", "smallest")


class SearchResult:
    """What a search found; it can be opened again from its folder at any time.

    Attributes:
        folder: The study's folder.
        manifest: What was asked, with which versions and data.
        summary: Trials, front and hypervolume.
        ending: Why the search that returned this ended; `None` where the study was only opened.
    """

    ending: Ending | None = None

    def __init__(self, folder: StudyFolder) -> None:
        """Open a study.

        Raises:
            StudyError: If the folder holds no study, or one that cannot be read.
        """
        self.folder = folder
        self.manifest = folder.manifest()
        self.summary = _summary(folder, self.manifest)

    @classmethod
    def open(cls, path: str | Path) -> "SearchResult":
        """Open the study in a folder.

        Raises:
            StudyError: If the folder holds no study, or one that cannot be read.
        """
        return cls(StudyFolder(Path(path)))

    @property
    def trials(self) -> list[TrialRecord]:
        """All trials, by number."""
        return list(self.summary.records)

    @property
    def front(self) -> list[TrialRecord]:
        """The configurations that no other dominates, cheapest first, as their first trials.

        They are compared by their mean qualities over all their seeds.
        """
        return self.summary.front

    @property
    def hypervolume(self) -> float:
        """Hypervolume of the front, between 0 and 1."""
        return self.summary.hypervolume

    def best(self) -> TrialRecord:
        """Return the front's best trial: see `Summary.best`."""
        return self.pick("best")

    def estimate(self, trial: TrialRecord) -> Estimate | None:
        """Return mean, standard error, seeds and the chance of being on the front.

        `None` for a trial of a configuration without a complete training.
        """
        return self.summary.estimate(trial)

    def pick(self, which: str) -> TrialRecord:
        """Return a trial.

        Args:
            which: `best`, `knee`, `smallest`, or the number of a trial.

        Raises:
            StudyError: If no trial is complete, or there is no trial of that number.
            UnknownNameError: If it is neither a pick nor a number.
        """
        if which.isdecimal():
            found = next((r for r in self.trials if r.number == int(which)), None)
            if found is None:
                numbers = f"0 to {len(self.trials) - 1}" if self.trials else "none"
                raise StudyError(f"There is no trial {which}: the study has {numbers}.")
            return found
        if which not in PICKS:
            raise UnknownNameError("pick", which, PICKS, "A trial's number also does.")
        record: TrialRecord | None = getattr(self.summary, which)()
        if record is None:
            raise StudyError("No trial of the study is complete yet.")
        return record

    def export(
        self,
        to: str | Path,
        pick: str = "best",
        formats: Sequence[str] = ("peft",),
        *,
        merge: bool = False,
        derived: "Compressed | Averaged | None" = None,
    ) -> Path:
        """Write a trial as a folder that needs only transformers and peft.

        Args:
            to: Folder to make.
            pick: As for `pick`.
            formats: What is written beside the adapter: see `autopeft.api.export.FORMATS`.
            merge: Whether the merged model is written too, into the folder's `merged/`.
            derived: What `compress` or `average` returned for the trial, to be written instead.

        Raises:
            AutopeftError: If the trial cannot be exported, or not in these formats.
        """
        # These load models, which a look does not need.
        from autopeft.api.export import further_parts
        from autopeft.api.facts import export_facts

        target = Path(to).resolve()
        if target == self.folder.path or target in self.folder.path.parents:
            raise RequestError(f"'{to}' holds the study itself: name another folder.")
        record = self.pick(pick)
        facts = export_facts(self, record)
        adapter = self.folder.adapter(record.number)
        check_export(record, adapter, target)
        if derived is not None:
            if merge or derived.point.trial != record.number:
                raise RequestError(
                    "A derived adapter is exported alone, for the trial that it was made of."
                )
            point = derived.point
            facts = replace(facts, measured=point.quality, derived=point.sentence())
        parts = further_parts(self.manifest, record, adapter, facts, formats, merge=merge)
        if derived is not None:
            parts.insert(0, derived.write)  # the others take what is in the folder then
        return export_trial(record, adapter, facts, target, parts)

    def compress(
        self, pick: str = "best", compression: "Compression" = "ternary", keep: float = 0.1
    ) -> "Compressed":
        """Make a trial's adapter smaller without training, and measure it on the validation rows.

        What is measured is added to the study's `derived.jsonl` and shown in its figures and its
        report; `summary` holds it too.

        Args:
            pick: As for `pick`.
            compression: `ternary` (ComPEFT, of lora and ia3) or `int8`.
            keep: Share of the entries that a ternary adapter keeps.

        Raises:
            AutopeftError: If the adapter cannot be compressed, or not be measured here.
        """
        from autopeft.api.derive import compressed_adapter, show_derived

        found = compressed_adapter(self, self.pick(pick), compression, keep)
        show_derived(self, found.point)
        return found

    def average(self, pick: str = "best", penalty: float = 1.0) -> "Averaged":
        """Average the checkpoints that a trial kept (MWA), and measure the mean like `compress`.

        Args:
            pick: As for `pick`.
            penalty: How much a checkpoint with a larger validation loss counts less; 0 for a mean
                of all alike.

        Raises:
            AutopeftError: If there is nothing to average, or it cannot be measured here.
        """
        from autopeft.api.derive import averaged_adapter, show_derived

        found = averaged_adapter(self, self.pick(pick), penalty)
        show_derived(self, found.point)
        return found

    def analyze(self) -> "Analysis":
        """Return what matters, which method wins at which budget, and what more would buy.

        Raises:
            StudyError: If no trial is complete.
        """
        from autopeft.study.analysis.analysis import analyze

        summary, metric = self.summary, METRICS[self.summary.metric]
        n_rows = self.manifest["task"]["eval_rows"]
        picks = {"knee": summary.knee(), "best": summary.best()}
        return analyze(
            summary.records,
            {name: record for name, record in picks.items() if record is not None},
            summary.n_layers,
            summary.budget_limit,
            lambda quality: metric.error(quality, n_rows),
        )

    def to_dict(self) -> dict[str, Any]:
        """Return the study as plain data, for machines."""
        summary = self.summary
        return {
            "study": str(self.folder.path),
            "task": summary.task,
            "model": summary.model,
            "metric": summary.metric,
            "budget": {"text": summary.budget_text, "limit": summary.budget_limit},
            "objectives": [o.name for o in summary.objectives],
            "hypervolume": summary.hypervolume,
            "rungs": [evidence.to_dict() for evidence in rung_facts(summary)],
            "front": [record.number for record in self.front],
            **{name: _number(record) for name, record in summary.picks.items()},
            "estimates": [_estimate(e) for e in summary.estimates.values()],
            "derived": [point.to_dict() for point in summary.derived],
            "trials": [record.to_dict() for record in self.trials],
        }


def storage_url(folder: StudyFolder, storage: str | None) -> str:
    """Return the URL of a study's storage: SQLite in its folder, unless another was named."""
    return storage or sqlite_url(folder.database)


def recorded_trials(folder: StudyFolder, url: str, study_id: str) -> list[TrialRecord]:
    """Return the trials of a study.

    Raises:
        StudyError: If the storage holds none, though the folder has what was trained: it would be
            trained again, and written over.
    """
    records = read_records(url, study_id)
    if not records and folder.has_trained:
        raise StudyError(
            f"'{folder.path}' has trials that its storage does not hold: bring the storage back, "
            "or, if it is a SQLite file with a relative path, go to the folder that it lies in."
        )
    return records


def _summary(folder: StudyFolder, manifest: dict[str, Any]) -> Summary:
    try:
        url = storage_url(folder, manifest["request"]["storage"])
        return Summary(
            name=folder.path.name,
            task=manifest["task"]["name"],
            model=manifest["model"]["name"],
            metric=manifest["task"]["metric"],
            budget_text=manifest["budget"]["text"],
            budget_limit=manifest["budget"]["limit"],
            n_layers=manifest["model"]["n_layers"],
            eval_rows=manifest["task"]["eval_rows"],
            objectives=parse_objectives(",".join(manifest["objectives"])),
            reference=ReferencePoint.from_dict(manifest["reference"]),
            records=tuple(recorded_trials(folder, url, manifest["study_id"])),
            memory_limit=manifest.get("max_memory_bytes"),
            derived=read_derived(folder.derived_file),
        )
    except KeyError as error:
        raise StudyError(f"'{folder.path}' is incomplete: {error} is missing.") from error


def _number(record: TrialRecord | None) -> int | None:
    return None if record is None else record.number


def _estimate(found: Estimate) -> dict[str, Any]:
    return {
        "trials": [record.number for record in found.measured.trials],
        "mean": found.measured.mean,
        "standard_error": found.error,
        "evaluation_error": found.evaluation_error,
        "on_front": found.probability,
    }
