"""What `meta` says a step keeps equals what a real step keeps, byte for byte."""

import pytest

from autopeft.cost.memory import estimate_memory, saved_bytes
from autopeft.methods.compose import attach, count_parameters, read_configuration
from autopeft.methods.method import AttachContext
from autopeft.methods.registry import get_method, method_names
from autopeft.models.spec import inspect_model
from tests.contracts.test_methods import CASES
from tests.tiny import build


@pytest.mark.filterwarnings("ignore:Sparse CSR")
@pytest.mark.parametrize(("method", "extra", "family"), CASES)
def test_meta_counts_what_a_real_forward_keeps(
    method: str, extra: dict[str, str], family: str
) -> None:
    model = build(family)
    spec = inspect_model(model)
    configuration = read_configuration({"method": method, **extra}, spec)
    context = AttachContext(spec=spec, total_steps=8, seed=0)
    real = attach(model, configuration, context).model.train()
    on_meta = get_method(method).on_meta(
        build(family, "meta"), configuration.components[0], context
    )
    expected = saved_bytes(real, 4, 10)
    assert expected > 0
    assert saved_bytes(on_meta.train(), 4, 10) == expected


@pytest.mark.parametrize("method", method_names())
def test_parts_add_up(method: str) -> None:
    spec = inspect_model(build("bert", "meta"))
    configuration = read_configuration({"method": method}, spec)
    params = count_parameters(configuration, spec)
    memory = estimate_memory(
        configuration, spec, lambda: build("bert", "meta"), n_adapter_params=params, seq_length=8
    )
    trainable = params + spec.head_params
    held = spec.base_params + spec.head_params + (0 if method == "full" else params)
    assert memory.weights == 4 * held
    assert memory.gradients == 4 * trainable
    assert memory.optimizer == 8 * trainable
    assert memory.total == memory.weights + 12 * trainable + memory.activations


def test_fewer_layers_and_shorter_inputs_keep_less() -> None:
    spec = inspect_model(build("bert", "meta"))

    def activations(layers: str, seq_length: int) -> int:
        configuration = read_configuration({"method": "lora", "layers": layers}, spec)
        return estimate_memory(
            configuration,
            spec,
            lambda: build("bert", "meta"),
            n_adapter_params=1,
            seq_length=seq_length,
        ).activations

    assert activations("last:1", 16) < activations("all", 16)
    assert activations("all", 8) < activations("all", 16)
