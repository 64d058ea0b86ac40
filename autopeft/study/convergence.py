"""`--until-converged`: when a search may end before its trials do."""

from collections.abc import Sequence

from autopeft.trials.trial import TrialRecord

#: The search has converged when the best point there was promised less than this share of the
#: largest possible hypervolume ...
THRESHOLD = 0.001
#: ... so many times in a row: one point's expectation may be low by the luck of a fit.
IN_A_ROW = 3
#: Trials that a search may take if nobody limits them.
MOST_TRIALS = 100


def has_converged(records: Sequence[TrialRecord]) -> bool:
    """Tell whether the latest points of the strategy promised next to nothing.

    A strategy notes the expected gain of hypervolume of each point that its model chose; points of
    the start have none, and no search ends within its start.

    Args:
        records: All trials, by number.
    """
    gains = [r.notes["gain"] for r in records if r.notes.get("gain") is not None]
    return len(gains) >= IN_A_ROW and max(gains[-IN_A_ROW:]) < THRESHOLD
