"""The sampler behaves as Optuna asks of every sampler: the suite that Optuna ships."""

from collections.abc import Callable
from typing import Any

import pytest
from optuna.samplers import BaseSampler
from optuna.testing.pytest_samplers import (
    BasicSamplerTestCase,
    MultiObjectiveSamplerTestCase,
    RelativeSamplerTestCase,
)

from autopeft import AutoPeftSampler

Make = Callable[[], BaseSampler]


class TestBasics(BasicSamplerTestCase):
    @pytest.fixture
    def sampler(self) -> Make:
        return lambda: AutoPeftSampler(seed=0, n_startup_trials=5)


class TestRelative(RelativeSamplerTestCase):
    @pytest.fixture
    def sampler(self) -> Make:
        return lambda: AutoPeftSampler(seed=0, n_startup_trials=5)


class TestSeveralObjectives(MultiObjectiveSamplerTestCase):
    @pytest.fixture
    def sampler(self) -> Make:
        return lambda: AutoPeftSampler(seed=0, n_startup_trials=5)
