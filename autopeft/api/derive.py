"""Adapters that are made of a trial's weights without training, measured and shown."""

import math
import tempfile
from dataclasses import replace
from pathlib import Path

from autopeft.api.export import study_data
from autopeft.api.facts import reference_of
from autopeft.api.report import write_report_page
from autopeft.api.result import SearchResult
from autopeft.errors import RequestError
from autopeft.export.average import Averaged, average, check_averageable
from autopeft.export.compress import Compressed, Compression, check_compressible, compress
from autopeft.export.folder import check_trial
from autopeft.report.files import write_report
from autopeft.trials.derived import DerivedPoint, read_derived, record_derived
from autopeft.trials.engine import Engine, Workload, pick_device
from autopeft.trials.trial import TrialRecord


def compressed_adapter(
    result: SearchResult, record: TrialRecord, compression: Compression, keep: float
) -> Compressed:
    """Return a trial's adapter compressed, and what that does to its quality.

    Args:
        result: The study.
        record: The trial.
        compression: `ternary` or `int8`.
        keep: Share of the entries that a ternary adapter keeps.

    Raises:
        AutopeftError: If it cannot be compressed, or not be measured here.
    """
    if not 0 < keep <= 1:
        raise RequestError(f"--keep is a share above 0 and up to 1, not {keep:g}.")
    adapter = result.folder.adapter(record.number)
    check_trial(record, adapter)
    result.folder.check_writable()
    check_compressible(record, adapter, compression)
    engine = _engine(result)
    with tempfile.TemporaryDirectory() as scratch:
        return compress(record, adapter, engine, compression, keep=keep, scratch=Path(scratch))


def averaged_adapter(result: SearchResult, record: TrialRecord, penalty: float) -> Averaged:
    """Return the mean of the checkpoints that a trial kept, and its quality.

    Args:
        result: The study.
        record: The trial.
        penalty: How much a checkpoint with a larger validation loss counts less.

    Raises:
        AutopeftError: If there is nothing to average, or it cannot be measured here.
    """
    if not (math.isfinite(penalty) and penalty >= 0):
        raise RequestError(f"--penalty is a number from 0 on, not {penalty:g}.")
    adapter = result.folder.adapter(record.number)
    check_trial(record, adapter)
    result.folder.check_writable()
    checkpoints = check_averageable(record, result.folder.trial(record.number))
    return average(record, adapter, checkpoints, _engine(result), penalty)


def show_derived(result: SearchResult, point: DerivedPoint) -> None:
    """Record a derived point, and write the study's figures and its report again with it."""
    record_derived(result.folder.derived_file, point)
    derived = read_derived(result.folder.derived_file)
    result.summary = replace(result.summary, derived=derived)
    write_report(result.summary, result.to_dict(), result.folder.report)
    write_report_page(result)


def _engine(result: SearchResult) -> Engine:
    """Return the base model and the data of a study, to measure with.

    Raises:
        AutopeftError: If they are not there any more, or have changed.
    """
    request = result.manifest["request"]
    workload = Workload.prepare(
        reference_of(result.manifest),
        study_data(result.manifest),
        result.manifest["task"]["max_length"],
        trust_remote_code=request["trust_remote_code"],
        precision=request["precision"],
    )
    return Engine(workload, pick_device())
