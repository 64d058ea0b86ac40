"""Compressed adapters: what is kept, how it is written, and that it is read as it was measured."""

from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save_file

from autopeft.errors import ModelError
from autopeft.methods.compression import (
    FILE,
    packed_int8,
    packed_ternary,
    read_compressed,
    ternary,
    write_compressed,
)

SHAPES = st.lists(st.tuples(st.integers(1, 7), st.integers(1, 9)), min_size=1, max_size=3)
SEEDS = st.integers(0, 2**31)


def made(shapes: list[tuple[int, int]], seed: int) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return {f"t{i}": torch.randn(shape, generator=generator) for i, shape in enumerate(shapes)}


def read_again(
    folder: Path, packed: dict[str, torch.Tensor], metadata: dict[str, str]
) -> dict[str, torch.Tensor]:
    config = folder / "config.json"
    config.write_text("{}")
    size = write_compressed(folder, packed, metadata, config)
    assert size == (folder / FILE).stat().st_size
    return read_compressed(folder)


@given(
    shapes=SHAPES,
    seed=SEEDS,
    keep=st.floats(0.01, 1.0),
    alpha=st.floats(0.5, 10.0),
    start=st.sampled_from([0.0, 1.0]),
)
def test_the_largest_moves_are_kept_with_one_magnitude(
    tmp_path_factory: pytest.TempPathFactory,
    shapes: list[tuple[int, int]],
    seed: int,
    keep: float,
    alpha: float,
    start: float,
) -> None:
    tensors = made(shapes, seed)
    found = ternary(tensors, keep=keep, alpha=alpha, start=start)
    moved = torch.cat([t.flatten() for t in tensors.values()]) - start
    signs = torch.cat([found.signs[name].flatten() for name in tensors]).float()
    assert int(signs.abs().sum()) == max(1, round(keep * len(moved)))
    kept = signs != 0
    if not kept.all():
        assert moved[kept].abs().min() >= moved[~kept].abs().max()
    assert torch.equal(signs[kept], moved[kept].sign())
    expected = alpha * float(moved.double().std(correction=0))
    assert found.magnitude == pytest.approx(expected, rel=1e-4)
    again = read_again(tmp_path_factory.mktemp("c"), *packed_ternary(found))
    assert again.keys() == tensors.keys()
    for name, tensor in found.decoded().items():
        assert torch.equal(again[name], tensor)


@given(shapes=SHAPES, seed=SEEDS)
def test_integers_are_within_half_a_step(
    tmp_path_factory: pytest.TempPathFactory, shapes: list[tuple[int, int]], seed: int
) -> None:
    tensors = made(shapes, seed) | {"vector": torch.randn(5), "nothing": torch.zeros(2, 3)}
    again = read_again(tmp_path_factory.mktemp("c"), packed_int8(tensors), {})
    assert again.keys() == tensors.keys()
    for name, tensor in tensors.items():
        assert again[name].shape == tensor.shape
        step = tensor.abs().flatten(1).amax(dim=1) / 127 if tensor.dim() > 1 else 0 * tensor
        error = (again[name] - tensor).abs()
        most = step[:, None] if tensor.dim() > 1 else step
        assert bool((error <= 0.5001 * most).all())


def test_a_ternary_file_takes_a_bit_an_entry_and_one_a_sign(tmp_path: Path) -> None:
    tensors = made([(512, 256)], 0)
    found = ternary(tensors, keep=0.1, alpha=1.0, start=0.0)
    packed, metadata = packed_ternary(found)
    read_again(tmp_path, packed, metadata)
    bits = 512 * 256 * 1.1
    assert sum(t.numel() for t in packed.values()) == pytest.approx(bits / 8, abs=2)
    assert (tmp_path / FILE).stat().st_size < bits / 8 + 1000


def test_a_file_that_is_not_complete_is_named(tmp_path: Path) -> None:
    packed, metadata = packed_ternary(ternary(made([(4, 4)], 0), keep=0.5, alpha=1.0, start=0.0))
    del packed["t0|up"]
    save_file(packed, tmp_path / FILE, metadata)
    with pytest.raises(ModelError, match=r"is not complete: 't0\|up'"):
        read_compressed(tmp_path)
