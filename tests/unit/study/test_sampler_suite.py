"""The sampler behaves as Optuna asks of every sampler: the suite that Optuna ships."""

from collections.abc import Callable

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
        return lambda: AutoPeftSampler(seed=0)


class TestRelative(RelativeSamplerTestCase):
    @pytest.fixture
    def sampler(self) -> Make:
        return lambda: AutoPeftSampler(seed=0)


class TestSeveralObjectives(MultiObjectiveSamplerTestCase):
    @pytest.fixture
    def sampler(self) -> Make:
        return lambda: AutoPeftSampler(seed=0)
