"""The earlier studies that `--warm-start` names, and what this search keeps of them."""

import json
from collections.abc import Sequence
from pathlib import Path

from autopeft.api.problem import Problem
from autopeft.api.result import SearchResult
from autopeft.api.tracking import tracking_place
from autopeft.errors import RequestError, StudyError
from autopeft.study.past import LEAST_TRIALS, PastStudy, PastTrial, counted
from autopeft.trials.folder import StudyFolder, write_json

MLFLOW = "mlflow:"


def read_past(problem: Problem, folder: StudyFolder) -> list[PastStudy]:
    """Return the studies that a request names, with the trials that the search can use.

    A study that is named twice, or that is in an experiment too, counts once. One with too few
    trials of use, beside others with enough, is returned without any.

    Args:
        problem: What is searched.
        folder: Where the new study will be; MLflow's default database lies beside it.

    Raises:
        RequestError: If a study has too few trials that are of use, or an experiment no such
            study.
        StudyError: If there is no such study or experiment, or it cannot be read.
    """
    found: dict[str, PastStudy] = {}
    for name in problem.request.warm_start:
        usable = [
            study.usable_for(problem.space.space.methods) for study in _named(name, problem, folder)
        ]
        if all(len(study.trials) < LEAST_TRIALS for study in usable):
            raise RequestError(_too_few(name, usable))
        for study in usable:
            known = found.get(study.study_id)
            if known is None or not known.trials:  # an experiment may be too long for it
                found[study.study_id] = study.with_enough_trials()
    return list(found.values())


def keep_past(past: Sequence[PastStudy], folder: StudyFolder) -> None:
    """Write what is taken from earlier studies into the study, which needs them no more then."""
    if past:
        write_json(folder.warm_start_file, [study.to_dict() for study in past])


def kept_past(problem: Problem, folder: StudyFolder) -> list[PastStudy]:
    """Return what was taken from earlier studies when the study began.

    Raises:
        StudyError: If it cannot be read.
    """
    if not problem.request.warm_start:
        return []
    try:
        data = json.loads(folder.warm_start_file.read_text(encoding="utf-8"))
        return [PastStudy.from_dict(study) for study in data]
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise StudyError(
            f"Cannot read '{folder.warm_start_file}', what the study took from earlier ones: "
            f"{error}."
        ) from error


def _named(name: str, problem: Problem, folder: StudyFolder) -> list[PastStudy]:
    if not name.startswith(MLFLOW):
        return [_in_folder(name)]
    from autopeft.report.tracked import tracked_studies

    place = tracking_place(folder, problem.request.mlflow_uri)
    return tracked_studies(place, name.removeprefix(MLFLOW))


def _in_folder(name: str) -> PastStudy:
    if not Path(name).is_dir():
        raise StudyError(
            f"There is no study '{name}' for --warm-start: name a study's folder, or "
            f"{MLFLOW}EXPERIMENT."
        )
    result = SearchResult.open(name)
    model = result.manifest["model"]
    return PastStudy(
        name=str(result.folder.path),
        study_id=result.manifest["study_id"],
        task=result.summary.task,
        model=result.summary.model,
        n_layers=model["n_layers"],
        base_params=model["base_params"],
        trials=tuple(map(PastTrial.of, result.trials)),
    )


def _too_few(name: str, studies: Sequence[PastStudy]) -> str:
    """Return that too few trials can be used, and why."""
    text = f"'{name}' cannot be a warm start: "
    if not studies:
        return f"{text}it holds no study."
    n_trials = max(len(study.trials) + len(study.left_out) for study in studies)
    if n_trials == 0:
        return f"{text}it has no trials."
    reasons = counted(reason for study in studies for _, reason in study.left_out)
    least = f"at least {LEAST_TRIALS} trials must be of use"
    n_used = max(len(study.trials) for study in studies)
    used = "none is" if n_used == 0 else f"{n_used} {'is' if n_used == 1 else 'are'}"
    return f"{text}{least}, and {used}" + (f" ({reasons})." if reasons else ".")
