"""Records of trials that were never run, for what works on records alone."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from autopeft.cost.cost import Cost
from autopeft.report.summary import Summary
from autopeft.space.configuration import Component, Configuration, TrainingParams
from autopeft.study.objective import ReferencePoint, parse_objectives
from autopeft.trials.trial import (
    RungReport,
    TrialRecord,
    TrialResult,
    TrialSpec,
    TrialStatus,
)

RUNGS = (1 / 3, 1.0)


def report(rung: int, quality: float, rungs: Sequence[float] = RUNGS) -> RungReport:
    return RungReport(
        rung=rung,
        step=10 * (rung + 1),
        fidelity=rungs[rung],
        metrics={"accuracy": quality},
        eval_loss=1.0 - quality,
        train_loss=1.0,
        seconds=2.0 * (rung + 1),
        last=rung == len(rungs) - 1,
    )


def record(
    number: int,
    qualities: Sequence[float],
    params: int,
    status: TrialStatus | None = TrialStatus.COMPLETE,
    **changes: Any,
) -> TrialRecord:
    """Return a trial with a quality at each rung; `status=None` leaves it running."""
    component = Component(
        method=changes.get("method", "lora"),
        targets=("attn.q",),
        layers=(0, 1),
        params=(("rank", number + 1),),
    )
    training = TrainingParams(learning_rate=1e-3)
    spec = TrialSpec(
        number=number,
        configuration=Configuration(components=(component,), training=training),
        rungs=RUNGS,
        epochs=1.0,
        seed=0,
    )
    return TrialRecord(
        spec=spec,
        assignment=changes.get("assignment", {"method": "lora"}),
        cost=Cost(
            adapter_params=params,
            head_params=10,
            base_params=1_000_000,
            peak_memory_bytes=changes.get("memory", 1_000 * params),
        ),
        reports=tuple(report(rung, q) for rung, q in enumerate(qualities)),
        result=None if status is None else TrialResult(status=status, seconds=3.0),
        quality_metric="accuracy",
        notes=changes.get("notes", {}),
    )


def repeat(of: TrialRecord, number: int, quality: float | None) -> TrialRecord:
    """Return a repeat of a trial with a quality, or one that failed."""
    n_reports = len(RUNGS) if quality is not None else 0
    status = TrialStatus.NAN if quality is None else TrialStatus.COMPLETE
    return replace(
        of,
        spec=replace(of.spec, number=number, seed=number),
        reports=tuple(report(rung, quality or 0.0) for rung in range(n_reports)),
        result=TrialResult(status=status, seconds=3.0),
        notes={"origin": "repeat", "of": of.number},
    )


def summary(records: Sequence[TrialRecord], *names: str) -> Summary:
    """Return a study of trials of one million base parameters, with a budget of 1 %."""
    objectives = parse_objectives(",".join(names or ("quality", "params")))
    best = {"quality": 1.0, "params": 100.0, "memory": 1e5}
    worst = {"quality": 0.5, "params": 10_000.0, "memory": 1e7}
    return Summary(
        name="study",
        task="task",
        model="model",
        metric="accuracy",
        budget_text="1%",
        budget_limit=10_000,
        n_layers=2,
        eval_rows=400,
        objectives=objectives,
        reference=ReferencePoint.between(
            objectives, [best[o.name] for o in objectives], [worst[o.name] for o in objectives]
        ),
        records=tuple(records),
    )
