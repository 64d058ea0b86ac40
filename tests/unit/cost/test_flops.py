"""What `meta` counts of a step's operations equals what a real step does."""

import pytest

from autopeft.cost.flops import count_flops
from autopeft.methods.compose import attach, read_configuration
from autopeft.methods.composite import on_meta
from autopeft.methods.method import AttachContext
from autopeft.models.spec import inspect_model
from tests.contracts.test_methods import CASES
from tests.tiny import build, data_of

#: An encoder, a decoder with grouped queries and an encoder-decoder.
SOME = [case for case in CASES if case.values[2] in {"bert", "llama", "t5"}]
#: On a real device torch counts its product with a sparse matrix as if that were dense.
SPARSE = {"frod"}


@pytest.mark.filterwarnings("ignore:Sparse CSR")
@pytest.mark.parametrize(("method", "extra", "family"), SOME)
def test_meta_counts_what_a_real_step_does(method: str, extra: dict[str, str], family: str) -> None:
    model = build(family)
    spec = inspect_model(model)
    configuration = read_configuration(data_of(method, **extra), spec)
    context = AttachContext(spec=spec, total_steps=8, seed=0)
    real = count_flops(attach(model, configuration, context).model.train(), 4, 10)
    bare = build(family, "meta").requires_grad_(requires_grad=False)
    meta = count_flops(on_meta(bare, configuration.components, context).train(), 4, 10)
    assert real > 0
    if method in SPARSE:
        assert 0.8 * real <= meta <= real
    else:
        assert meta == real


def test_a_linear_model_by_hand() -> None:
    """The head alone: 2 n k m forward and, for its weights, as much backward."""
    model = build("bert").requires_grad_(requires_grad=False)
    spec = inspect_model(model)
    context = AttachContext(spec=spec, total_steps=8, seed=0)
    empty = read_configuration({"components": []}, spec)
    with_head = count_flops(attach(model, empty, context).model.train(), 2, 6)
    frozen = build("bert").requires_grad_(requires_grad=False).train()
    frozen.classifier.bias.requires_grad = True  # something must train
    head = frozen.classifier.weight
    assert with_head - count_flops(frozen, 2, 6) == 2 * 2 * head.numel()


def test_layers_below_the_lowest_that_trains_cost_no_backward() -> None:
    spec = inspect_model(build("bert", "meta"))
    context = AttachContext(spec=spec, total_steps=8, seed=0)

    def flops(layers: str) -> int:
        model = build("bert", "meta").requires_grad_(requires_grad=False)
        configuration = read_configuration({"method": "lora", "layers": layers}, spec)
        return count_flops(on_meta(model, configuration.components, context), 4, 10)

    assert flops("last:1") < flops("first:1") < flops("all")


def test_batches_cost_in_proportion() -> None:
    model = build("llama", "meta").requires_grad_(requires_grad=True)
    assert count_flops(model, 6, 10) == pytest.approx(3 * count_flops(model, 2, 10))
