"""Beginning above layers that do not change gives what going through them gives."""

import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from autopeft.methods.compose import attach, read_configuration
from autopeft.methods.depth import frozen_depth
from autopeft.methods.method import AttachContext
from autopeft.methods.registry import method_names
from autopeft.models.gguf import cache_folder
from autopeft.models.spec import inspect_model, layers_of
from autopeft.trials.engine import Engine
from autopeft.trials.training import TrialRun
from autopeft.trials.trial import RungReport, TrialSpec
from tests.families import DECODERS
from tests.tiny import build, data_of, save_tiny
from tests.workload import WRITING, tiny_engine, trial


@pytest.fixture(scope="module")
def plain(tiny_model: Path, tiny_data: Path) -> Engine:
    return tiny_engine(tiny_model, tiny_data, cache_bytes=0)


@pytest.fixture
def caching(tiny_model: Path, tiny_data: Path) -> Iterator[Engine]:
    shutil.rmtree(cache_folder(), ignore_errors=True)
    yield tiny_engine(tiny_model, tiny_data)
    shutil.rmtree(cache_folder(), ignore_errors=True)


def reports(engine: Engine, spec: TrialSpec) -> list[RungReport]:
    run = TrialRun(engine, spec)
    try:
        return [run.advance() for _ in spec.rungs]
    finally:
        run.close()


def losses(found: list[RungReport]) -> list[float]:
    return [loss for report in found for loss in (report.train_loss, report.eval_loss)]


def states_are_used(engine: Engine, depth: int) -> bool:
    return any(engine.prefix(depth)._files.values())


@pytest.fixture(scope="module")
def shared(tiny_model: Path, tiny_data: Path) -> Engine:
    return tiny_engine(tiny_model, tiny_data)


@pytest.mark.parametrize("method", method_names())
def test_every_method_learns_the_same_above_kept_states(
    plain: Engine, shared: Engine, method: str
) -> None:
    spec = trial(plain, method=method, layers="last:1")
    depth = frozen_depth(spec.configuration, plain.spec)
    found = reports(shared, spec)
    assert losses(found) == pytest.approx(losses(reports(plain, spec)), rel=1e-5)
    assert states_are_used(shared, depth) == (depth > 0)


#: T5's first layer makes the position bias of all, so that it cannot begin inside the encoder.
FAMILIES = [
    *(("gpt2", "last:1", True), ("llama", "last:1", True), ("deberta", "last:1", True)),
    *(("bart", "last:2", True), ("t5", "last:2", True), ("t5", "last:3", False)),
]


@pytest.mark.parametrize(("family", "layers", "used"), FAMILIES)
def test_families(family: str, layers: str, used: bool, tiny_data: Path, tmp_path: Path) -> None:
    model = save_tiny(family, tmp_path / "model")
    without, with_states = tiny_engine(model, tiny_data, 0), tiny_engine(model, tiny_data)
    spec = trial(without, layers=layers)
    found = reports(with_states, spec)
    assert losses(found) == pytest.approx(losses(reports(without, spec)), rel=1e-5)
    depth = frozen_depth(spec.configuration, without.spec)
    assert states_are_used(with_states, depth) == used


#: Families that write text, by what is adapted, and whether they can begin above the rest.
WRITERS = [
    *((family, "last:1", True) for family in DECODERS),
    *((family, "last:2", True) for family in ("t5", "bart")),
    *(("t5", "last:3", False), ("bart", "last:3", True)),
]


@pytest.mark.parametrize(("family", "layers", "used"), WRITERS)
def test_models_that_write_text(
    family: str,
    layers: str,
    used: bool,
    tiny_data: Path,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    model = save_tiny(family, tmp_path / "model", "language_modeling")
    found = []
    for cache_bytes in (0, 2**24):
        engine = tiny_engine(model, tiny_data, cache_bytes, WRITING)
        spec = trial(engine, layers=layers)
        run = TrialRun(engine, spec)
        found.append([*run._train_to(2), run.evaluate()[1]])
        run.close()
    assert found[1] == pytest.approx(found[0], rel=1e-5)
    assert states_are_used(engine, frozen_depth(spec.configuration, engine.spec)) == used
    assert ("t5 models compute all layers in every step: " in caplog.text) == (not used)


@pytest.mark.parametrize("method", method_names())
def test_nothing_below_the_depth_changes(method: str) -> None:
    model = build("bert").requires_grad_(requires_grad=False)
    spec = inspect_model(model)
    configuration = read_configuration(data_of(method, layers="last:1"), spec)
    depth = frozen_depth(configuration, spec)
    before = [layer.state_dict() for layer in layers_of(model)[:depth]]
    attach(model, configuration, AttachContext(spec=spec, total_steps=8, seed=0))
    assert (depth == 0) == (method in {"full", "p_tuning", "prompt_tuning"})
    for layer, weights in zip(layers_of(model)[:depth], before, strict=True):
        assert not any(p.requires_grad for p in layer.parameters())
        assert layer.state_dict().keys() == weights.keys()
        assert all(torch.equal(t, weights[name]) for name, t in layer.state_dict().items())


def test_the_depth_of_a_configuration() -> None:
    def depth(family: str, **data: Any) -> int:
        spec = inspect_model(build(family, "meta"))
        return frozen_depth(read_configuration(data, spec), spec)

    head_only = {"components": [], "training": {"learning_rate": 1e-3}}
    assert depth("bert", **head_only) == 2
    assert depth("bert", method="lora", layers="all") == 0
    assert (
        depth("bert", method="ln_tuning", targets="norm.all", layers="last:1") == 0
    )  # embeddings'
    assert depth("llama", method="ln_tuning", targets="norm.final", layers="last:1") == 2
    assert depth("bert", method="lora", targets="embed.tokens", layers="last:1") == 0
    assert depth("bart", method="lora", layers="last:1") == 2  # the decoder reads the encoder
    both = [{"method": "lora", "layers": "last:1"}, {"method": "ia3", "layers": "first:1"}]
    assert depth("bert", components=both, training={"learning_rate": 1e-3}) == 0


def test_the_head_alone_needs_no_layer(plain: Engine, caching: Engine) -> None:
    data = {"components": [], "training": {"learning_rate": 1e-2}}
    configuration = read_configuration(data, plain.spec)
    spec = replace(trial(plain), configuration=configuration)
    assert losses(reports(caching, spec)) == pytest.approx(losses(reports(plain, spec)), rel=1e-5)
    calls = counted(caching)
    reports(caching, spec)
    assert calls == [0, 0]


def counted(engine: Engine) -> list[int]:
    """Return how often each layer's attention is computed from now on."""
    calls = [0] * engine.spec.n_layers

    def count(number: int) -> None:
        calls[number] += 1

    for number, layer in enumerate(layers_of(engine.base)):
        layer.attention.register_forward_hook(lambda *_, n=number: count(n))
    return calls


def test_states_serve_later_epochs_trials_and_workers(
    caching: Engine, tiny_model: Path, tiny_data: Path
) -> None:
    spec = trial(caching, layers="last:1")
    calls = counted(caching)
    first = losses(reports(caching, spec))
    groups = sum(len(f._groups) for f in caching.prefix(1)._files.values() if f)
    tries = 3 + 4 + 2  # does it work: a batch, its rows, twice above; and the width of each file
    assert calls[0] <= groups + tries < calls[1]
    calls[:] = [0, 0]
    assert losses(reports(caching, spec)) == first
    assert calls[0] == 0
    another = tiny_engine(tiny_model, tiny_data)
    calls = counted(another)
    assert losses(reports(another, spec)) == first
    assert calls[0] <= tries


def test_damaged_states_are_made_again(caching: Engine, tiny_model: Path, tiny_data: Path) -> None:
    spec = trial(caching, layers="last:1")
    first = losses(reports(caching, spec))
    for file in cache_folder().rglob("states"):
        content = bytearray(file.read_bytes())
        content[100:104] = b"\0\0\x80\x7f"  # an infinity
        file.write_bytes(content)
    assert losses(reports(tiny_engine(tiny_model, tiny_data), spec)) == first


def test_other_weights_and_other_rows_have_their_own_states(
    caching: Engine, tiny_data: Path, tmp_path: Path
) -> None:
    spec = trial(caching, layers="last:1")
    reports(caching, spec)
    files = {p.parent.name for p in cache_folder().rglob("states")}
    other_weights = tiny_engine(save_tiny("bert", tmp_path / "other"), tiny_data)
    with torch.no_grad():
        next(other_weights.base.base_model.parameters()).mul_(1.5)
    expected = losses(reports(other_weights, spec))
    assert len({p.parent.name for p in cache_folder().rglob("states")} - files) == len(files)
    assert expected != losses(reports(caching, spec))


def test_without_room_all_layers_are_computed(
    plain: Engine, tiny_model: Path, tiny_data: Path, caplog: pytest.LogCaptureFixture
) -> None:
    small = tiny_engine(tiny_model, tiny_data, cache_bytes=8192)
    spec = trial(plain, layers="last:1")
    assert losses(reports(small, spec)) == losses(reports(plain, spec))
    assert "computed in every step: " in caplog.text
    assert "more than its limit" in caplog.text


def test_a_trial_above_kept_states_goes_on_from_any_step(caching: Engine, tmp_path: Path) -> None:
    """In the middle of an epoch, too."""
    spec = trial(caching, layers="last:1")
    straight = TrialRun(caching, spec)
    expected = straight._train_to(12)
    straight.close()
    for step in (1, 4, 7):
        run = TrialRun(caching, spec)
        run._train_to(step)
        run.save_checkpoint(tmp_path / str(step))
        run.close()
        resumed = TrialRun(caching, spec)
        resumed.load_checkpoint(tmp_path / str(step))
        assert resumed._train_to(12) == expected[step:]
        resumed.close()
