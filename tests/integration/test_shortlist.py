"""Searches whose trials pause: nothing is trained twice, and no checkpoint stays behind."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import autopeft
from autopeft.api.request import SearchRequest
from autopeft.api.result import SearchResult
from autopeft.api.search import resume_search, run_search
from autopeft.study import rungs
from autopeft.study.rungs import full_trainings
from autopeft.trials.trial import TrialRecord, TrialStatus
from tests.integration.test_search import outcome

N_TRIALS, N_KEPT = 6, 3


class Interruption:
    """An observer that presses Ctrl-C when so many rungs have been reported."""

    def __init__(self, after: int) -> None:
        self.left = after

    def started(self, _: TrialRecord) -> None:
        """Nothing."""

    def reported(self, _: TrialRecord) -> None:
        self.left -= 1
        if self.left == 0:
            raise KeyboardInterrupt

    def finished(self, _: TrialRecord) -> None:
        """Nothing."""


@pytest.fixture(scope="module", autouse=True)
def _short() -> Iterator[None]:
    """Keep fewer than a search does, so that a few trials are enough."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rungs, "LEAST_KEPT", N_KEPT)
        yield


@pytest.fixture(scope="module")
def settings(tiny_settings: dict[str, Any]) -> dict[str, Any]:
    changes = {"fidelity": "shortlist", "strategy": "random", "trials": N_TRIALS, "epochs": 2.0}
    return {**tiny_settings, **changes}


@pytest.fixture(scope="module")
def straight(settings: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> SearchResult:
    return autopeft.search(study=tmp_path_factory.mktemp("shortlist") / "s", **settings)


def test_the_short_list_is_complete_and_nothing_else_is_kept(straight: SearchResult) -> None:
    complete = [t for t in straight.trials if t.status is TrialStatus.COMPLETE]
    stopped = [t for t in straight.trials if t.status is TrialStatus.STOPPED]
    assert (len(complete), len(stopped)) == (N_KEPT, N_TRIALS - N_KEPT)
    assert straight.front
    kept = {int(path.name) for path in (straight.folder.path / "trials").iterdir()}
    assert kept == {t.number for t in complete}
    assert not list((straight.folder.path / "trials").rglob("checkpoint"))


def test_what_was_trained_is_what_was_planned(straight: SearchResult) -> None:
    trained = sum(trial.fidelity for trial in straight.trials)
    steps = straight.trials[0].reports[0].step / straight.trials[0].fidelity
    rounded_up = 3 * N_TRIALS / steps  # a rung comes after a whole step
    planned = full_trainings("shortlist", N_TRIALS, straight.trials[0].spec.rungs)[0]
    assert trained == pytest.approx(planned, abs=rounded_up)


@pytest.mark.parametrize(
    "after",
    [
        pytest.param(2, marks=pytest.mark.slow),
        N_TRIALS + 2,
        pytest.param(N_TRIALS + N_KEPT + 1, marks=pytest.mark.slow),
    ],
)
def test_interrupted_and_resumed_equals_uninterrupted(
    settings: dict[str, Any], straight: SearchResult, tmp_path: Path, after: int
) -> None:
    """While all are at the first rung, on the way to the second, and to the end."""
    request = SearchRequest.build(**settings)
    with pytest.raises(KeyboardInterrupt):
        run_search(request, tmp_path / "s", lambda *_: [Interruption(after)])
    resumed = resume_search(tmp_path / "s", {})
    assert outcome(resumed.trials) == outcome(straight.trials)
    assert [t.reports[-1].train_loss for t in resumed.trials] == [
        t.reports[-1].train_loss for t in straight.trials
    ]


@pytest.mark.slow
@pytest.mark.ray
@pytest.mark.timeout(600)
@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::ResourceWarning")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_two_workers_choose_what_one_does(
    settings: dict[str, Any], straight: SearchResult, tmp_path: Path
) -> None:
    """A trial pauses on one worker and goes on, maybe on another, from its checkpoint."""
    result = autopeft.search(study=tmp_path / "s", workers=2, runner="ray", **settings)
    assert outcome(result.trials) == outcome(straight.trials)
    assert not list((result.folder.path / "trials").rglob("checkpoint"))
