"""What a density costs: parameters that may be non-zero, memory of what trains."""

from autopeft.cost.cost import CostModel
from autopeft.methods.compose import read_configuration
from autopeft.models.spec import inspect_model
from tests.tiny import build


def test_parameters_are_those_left_and_memory_that_of_all() -> None:
    spec = inspect_model(build("bert", "meta"))
    costs = CostModel(spec, lambda: build("bert", "meta"), 8)
    lora = {"method": "lora", "rank": 4}
    whole = read_configuration(lora, spec)
    by_size = read_configuration({**lora, "density": 0.25}, spec)
    by_sensitivity = read_configuration({**lora, "density": 0.25, "mask": "sensitivity"}, spec)
    dense = costs.cost(whole).adapter_params
    assert dense == 2 * 2 * 4 * 64
    assert costs.cost(by_size).adapter_params == dense // 4
    memory = costs.memory(whole)
    for configuration, a_parameter in ((by_size, 1), (by_sensitivity, 5)):
        masked = costs.memory(configuration)
        assert (masked.weights, masked.gradients) == (memory.weights, memory.gradients)
        assert masked.activations == memory.activations
        assert masked.optimizer == memory.optimizer + a_parameter * dense
