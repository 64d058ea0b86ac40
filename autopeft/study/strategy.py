"""`Strategy`: decides the next candidate from what is known."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from autopeft.space.hyperparameter import Assignment
from autopeft.trials.trial import TrialRecord

#: Kinds of models of what is measured (`strategies/surrogate.py`).
Surrogate = Literal["matern", "saas", "saas-nuts"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A point to try.

    Attributes:
        assignment: The point; it fits the budget.
        notes: What the strategy wants to find in the trial's record later.
    """

    assignment: Assignment
    notes: Mapping[str, Any] = field(default_factory=dict)


class Strategy(Protocol):
    """Decides the next candidate.

    A strategy keeps nothing between calls that the records do not hold: what it asks for depends
    on the records, the number of the trial and the study's seed alone. So a resumed study asks
    for what an uninterrupted one would have.
    """

    def ask(self, records: Sequence[TrialRecord], number: int) -> Candidate | None:
        """Return candidate `number` of the study, or `None` if all points have been tried.

        Args:
            records: All trials so far, running ones included.
            number: How many candidates the study has tried before: the number of the trial that
                will try this one, as long as none repeats another.
        """
