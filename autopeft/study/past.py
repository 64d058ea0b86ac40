"""What an earlier study measured, as far as a new search can use it."""

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Self

from autopeft.methods.registry import catalogue
from autopeft.space.configuration import Configuration
from autopeft.space.wording import count_text
from autopeft.trials.trial import TrialRecord

#: Fewer trials than these say nothing of what is better than what.
LEAST_TRIALS = 3
#: Studies of which nothing is taken that are named to the user; the manifest has all.
_NAMED = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class PastTrial:
    """One trial of an earlier study.

    Attributes:
        number: Its number there.
        configuration: What was trained.
        adapter_params: Its adapter parameters on the model of that study.
        measured: Share of a full training and quality, at each rung that it reached.
        failure: How it failed; empty if it did not.
    """

    number: int
    configuration: Configuration
    adapter_params: int
    measured: tuple[tuple[float, float], ...]
    failure: str = ""

    @classmethod
    def of(cls, record: TrialRecord) -> Self:
        """Take what matters of a trial's record."""
        return cls(
            number=record.number,
            configuration=record.spec.configuration,
            adapter_params=record.cost.adapter_params,
            measured=tuple((r.fidelity, r.metrics[record.quality_metric]) for r in record.reports),
            failure=record.status.value if record.status.failed else "",
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class PastStudy:
    """An earlier study.

    Attributes:
        name: Where it was read from.
        study_id: Its unique name.
        task: Its task.
        model: Its model.
        n_layers: Layers of the model.
        base_params: Parameters of the model.
        trials: Its trials; after `usable_for` those that can be used.
        left_out: Number and reason of each trial that cannot.
    """

    name: str
    study_id: str
    task: str
    model: str
    n_layers: int
    base_params: int
    trials: tuple[PastTrial, ...]
    left_out: tuple[tuple[int, str], ...] = field(default=())

    def usable_for(self, methods: Sequence[str]) -> "PastStudy":
        """Return the study with the trials that a search over these methods can use.

        A measurement that is no number is left out, and the trial with it if it has no other.
        """
        kept: list[PastTrial] = []
        left_out = list(self.left_out)
        for trial in self.trials:
            reason = _obstacle(trial, methods)
            if reason:
                left_out.append((trial.number, reason))
            else:
                finite = tuple(m for m in trial.measured if math.isfinite(m[1]))
                kept.append(replace(trial, measured=finite))
        return replace(self, trials=tuple(kept), left_out=tuple(left_out))

    def with_enough_trials(self) -> "PastStudy":
        """Return the study, with all trials left out where they are too few to tell anything."""
        if len(self.trials) >= LEAST_TRIALS:
            return self
        reason = f"belonged to a study with fewer than {LEAST_TRIALS} trials of use"
        alone = tuple((trial.number, reason) for trial in self.trials)
        return replace(self, trials=(), left_out=(*self.left_out, *alone))

    def facts(self) -> dict[str, Any]:
        """Return what the record of a search says of the study."""
        named = {name: getattr(self, name) for name in ("name", "study_id", "task", "model")}
        left_out = [{"trial": number, "reason": reason} for number, reason in self.left_out]
        return {**named, "trials": len(self.trials), "left_out": left_out}

    def to_dict(self) -> dict[str, Any]:
        """Return plain data that `from_dict` reads back."""
        trials = [
            {
                "number": trial.number,
                "configuration": trial.configuration.to_dict(),
                "adapter_params": trial.adapter_params,
                "measured": [list(pair) for pair in trial.measured],
            }
            for trial in self.trials
        ]
        shape = {"n_layers": self.n_layers, "base_params": self.base_params}
        return {**self.facts(), **shape, "trials": trials}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Rebuild a study from plain data."""
        trials = tuple(
            PastTrial(
                number=trial["number"],
                configuration=Configuration.from_dict(trial["configuration"]),
                adapter_params=trial["adapter_params"],
                measured=tuple((float(share), float(q)) for share, q in trial["measured"]),
            )
            for trial in data["trials"]
        )
        left_out = tuple((entry["trial"], entry["reason"]) for entry in data["left_out"])
        return cls(**{**data, "trials": trials, "left_out": left_out})


def counted(reasons: Iterable[str]) -> str:
    """Return reasons with how often each holds: `2 failed (oom_gpu), 1 had no quality yet`."""
    return ", ".join(f"{n} {reason}" for reason, n in Counter(reasons).most_common())


def warm_start_notes(manifest: Mapping[str, Any]) -> Iterator[str]:
    """Yield a line on each earlier study that a study began with, and one on all others.

    Args:
        manifest: The study's manifest, or its plan.
    """
    unused = []
    for facts in manifest.get("warm_start", []):  # studies were made before there was any
        if not facts["trials"]:
            unused.append(facts)
            continue
        text = f"warm start from {facts['name']}: "
        text += f"{count_text(facts['trials'], 'trial')} of {facts['task']} on {facts['model']}"
        reasons = counted(entry["reason"] for entry in facts["left_out"])
        yield f"{text}; left out: {reasons}" if reasons else text
    if unused:
        names = [facts["name"] for facts in unused]
        more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
        reasons = counted(entry["reason"] for facts in unused for entry in facts["left_out"])
        yield f"no warm start from {', '.join(names[:_NAMED])}{more}: {reasons or 'no trials'}"


def _obstacle(trial: PastTrial, methods: Sequence[str]) -> str:
    """Return why a trial cannot be used, empty if it can."""
    used = [component.method for component in trial.configuration.components]
    foreign = sorted(set(used) - set(methods))
    if not used:
        return "trained the head alone"
    if foreign:
        return f"used {' and '.join(foreign)}, which this search does not have"
    return _unknown_setting(trial.configuration) or _unmeasured(trial)


def _unknown_setting(configuration: Configuration) -> str:
    for component in configuration.components:
        known = catalogue()[component.method].domains
        unknown = sorted({name for name, _ in component.params} - set(known))
        if unknown:
            return f"had the setting {unknown[0]}, which {component.method} does not have"
    return ""


def _unmeasured(trial: PastTrial) -> str:
    if trial.failure:
        return f"failed ({trial.failure})"
    if not trial.measured:
        return "had no quality yet"
    if not any(math.isfinite(quality) for _, quality in trial.measured):
        return "had a quality that is no number"
    return ""
