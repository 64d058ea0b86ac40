"""The end of a search: what the front stands on is trained again, with further seeds."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

from autopeft.study.objective import Objective
from autopeft.study.uncertainty import Estimate, EvaluationError, estimates
from autopeft.trials.trial import TrialRecord

#: Trainings of each member of the front in all, and the most further ones as a share of the
#: trials, unless the user says how many. One further seed of a few configurations already shows
#: the noise of all; a quarter more trials is what nobody has to be asked for.
DEFAULT_SEEDS, DEFAULT_SHARE = 2, 4
#: Share of a time limit after which repeats come before new configurations: a quarter more again.
SEARCH_SHARE = 0.8
#: Chance of being on the front from which a configuration behind it is trained again too. It is
#: that of one that lies one standard error behind a single other that is known exactly.
CONTENDER = 0.16

_SEEDS = 2**31


@dataclass(frozen=True, slots=True, kw_only=True)
class Repeat:
    """A training to do again.

    Attributes:
        record: The first training of the configuration.
        seed: The further seed.
    """

    record: TrialRecord
    seed: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Repeats:
    """Decides what is trained again, from the records alone.

    First every member of the front that was trained once; then, among members and those that may
    be on the front by noise, where it matters most: the uncertainty p (1 - p) of being on the
    front times what one more of n seeds takes off the variance of the mean, 1/n - 1/(n + 1).

    Attributes:
        seeds: Trainings of a configuration in all; with 1 nothing is repeated.
        most: Most repeats of a study, `None` for no limit.
    """

    seeds: int = 1
    most: int | None = None

    @classmethod
    def asked(cls, seeds: int | None, max_trials: int) -> Self:
        """Return what a request means; `None` leaves it to the defaults."""
        if seeds is not None:
            return cls(seeds=seeds)
        return cls(seeds=DEFAULT_SEEDS, most=max_trials // DEFAULT_SHARE)

    def bound(self, max_trials: int) -> int:
        """Return how many repeats there are at most, if every trial ends on the front."""
        every = (self.seeds - 1) * max_trials
        return every if self.most is None else min(self.most, every)

    def next(
        self,
        records: Sequence[TrialRecord],
        objectives: Sequence[Objective],
        evaluation_error: EvaluationError,
        front: Sequence[TrialRecord],
    ) -> Repeat | None:
        """Return what to train again next, `None` if there is nothing left.

        Args:
            records: All trials.
            objectives: What is improved.
            evaluation_error: Quality to the standard error that its rows alone give it.
            front: The first trainings of the configurations on the front.
        """
        if self.seeds < 2 or self._spent(records):
            return None
        # Trainings that run or failed count: none is asked for twice, none for ever.
        begun = Counter(r.spec.configuration.digest for r in records)
        on_front = {r.number for r in front}

        def n_begun(estimate: Estimate) -> int:
            return begun[estimate.measured.record.spec.configuration.digest]

        def urgency(estimate: Estimate) -> tuple[bool, float, int, int]:
            n, p = n_begun(estimate), estimate.probability
            unrepeated = estimate.number in on_front and n == 1
            gain = p * (1 - p) * (1 / n - 1 / (n + 1))
            # Of equal ones the cheapest.
            cost = estimate.measured.record.cost.adapter_params
            return unrepeated, gain, -cost, -estimate.number

        worth = [
            e
            for e in estimates(records, objectives, evaluation_error)
            if n_begun(e) < self.seeds and (e.number in on_front or e.probability >= CONTENDER)
        ]
        if not worth:
            return None
        chosen = max(worth, key=urgency)
        record = chosen.measured.record
        return Repeat(record=record, seed=(record.spec.seed + n_begun(chosen)) % _SEEDS)

    def _spent(self, records: Sequence[TrialRecord]) -> bool:
        if self.most is None:
            return False
        # A search may end before it has tried as many as it might.
        tried = (len(records) - n_repeats(records)) // DEFAULT_SHARE
        return n_repeats(records) >= min(self.most, tried)


#: For studies that repeat nothing.
NO_REPEATS = Repeats()


def n_repeats(records: Sequence[TrialRecord]) -> int:
    """Return how many trials repeat another one."""
    return sum(r.repeat_of is not None for r in records)
