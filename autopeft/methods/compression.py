"""Compressed adapters of peft: ternary (ComPEFT, arXiv 2311.13171) or 8-bit integers, on disk."""

import json
import math
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from autopeft.errors import ModelError

FILE = "compressed_adapter.safetensors"
_INT8_MOST = 127


@dataclass(frozen=True, slots=True, kw_only=True)
class Ternary:
    """Tensors whose entries are `start`, `start + magnitude` or `start - magnitude`.

    Attributes:
        signs: -1, 0 or 1 for each entry, by name.
        magnitude: How far from the start those are that are not 0.
        start: Where an untrained adapter does nothing.
    """

    signs: Mapping[str, torch.Tensor]
    magnitude: float
    start: float

    def decoded(self) -> dict[str, torch.Tensor]:
        """Return the tensors in float32."""
        return {n: self.start + self.magnitude * s.float() for n, s in self.signs.items()}


def ternary(
    tensors: Mapping[str, torch.Tensor], *, keep: float, alpha: float, start: float
) -> Ternary:
    """Keep the entries that moved most, as signs of one magnitude.

    The magnitude is alpha times the standard deviation of all entries (ComPEFT).

    Args:
        tensors: What was trained, by name.
        keep: Share of the entries that are kept, of all tensors together.
        alpha: Factor of the magnitude.
        start: Value of an entry that does nothing.
    """
    moved = {name: tensor.float() - start for name, tensor in tensors.items()}
    vector = torch.cat([m.flatten() for m in moved.values()])
    n_kept = max(1, round(keep * vector.numel()))
    kept = torch.zeros_like(vector)
    largest = vector.abs().topk(n_kept).indices
    kept[largest] = vector[largest].sign()
    parts = kept.split([m.numel() for m in moved.values()])
    signs = {
        name: part.reshape(m.shape).to(torch.int8)
        for (name, m), part in zip(moved.items(), parts, strict=True)
    }
    magnitude = alpha * float(vector.std(correction=0))
    # As it is read again, so that what is measured is what is loaded.
    return Ternary(signs=signs, magnitude=float(np.float32(magnitude)), start=start)


def packed_ternary(found: Ternary) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
    """Return a bit for each entry, a sign for those that are not zero, and what else is needed."""
    packed = {}
    for name, signs in found.signs.items():
        flat = signs.flatten().numpy()
        packed[f"{name}|kept"] = torch.from_numpy(np.packbits(flat != 0))
        packed[f"{name}|up"] = torch.from_numpy(np.packbits(flat[flat != 0] > 0))
    shapes = {name: list(signs.shape) for name, signs in found.signs.items()}
    data = {"shapes": shapes, "magnitude": found.magnitude, "start": found.start}
    return packed, {"ternary": json.dumps(data)}


def packed_int8(tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Return matrices as 8-bit integers with a scale for each row; vectors stay as they are."""
    packed = {}
    for name, tensor in tensors.items():
        if tensor.dim() < 2:
            packed[name] = tensor
            continue
        rows = tensor.float().flatten(1)
        scales = rows.abs().amax(dim=1, keepdim=True) / _INT8_MOST
        values = (rows / scales.clamp_min(torch.finfo(torch.float32).tiny)).round()
        packed[f"{name}|int8"] = values.to(torch.int8).reshape(tensor.shape)
        packed[f"{name}|scales"] = scales.flatten()
    return packed


def write_compressed(
    folder: Path,
    packed: Mapping[str, torch.Tensor],
    metadata: Mapping[str, str],
    config: Path,
) -> int:
    """Write a compressed adapter with peft's config beside it; return the bytes of its tensors.

    Args:
        folder: Where to write; made if it is missing.
        packed: What `packed_ternary` or `packed_int8` returned, and tensors as they are.
        metadata: Likewise.
        config: peft's config of the adapter.
    """
    folder.mkdir(parents=True, exist_ok=True)
    save_file({n: t.contiguous() for n, t in packed.items()}, folder / FILE, dict(metadata))
    shutil.copy(config, folder / "adapter_config.json")
    return (folder / FILE).stat().st_size


def read_compressed(folder: Path) -> dict[str, torch.Tensor]:
    """Return the tensors of a compressed adapter in float32, by peft's names.

    Raises:
        ModelError: If the file is not complete.
    """
    try:
        with safe_open(folder / FILE, framework="pt") as file:
            stored = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            metadata = file.metadata() or {}
        return _decoded(stored, metadata)
    except (KeyError, ValueError) as error:
        raise ModelError(f"The adapter in '{folder}' is not complete: {error}.") from error


def _decoded(
    stored: Mapping[str, torch.Tensor], metadata: Mapping[str, str]
) -> dict[str, torch.Tensor]:
    tensors = {name: tensor for name, tensor in stored.items() if "|" not in name}
    for name in (n.removesuffix("|int8") for n in stored if n.endswith("|int8")):
        values, scales = stored[f"{name}|int8"].float(), stored[f"{name}|scales"]
        tensors[name] = values * scales.reshape(-1, *[1] * (values.dim() - 1))
    if "ternary" in metadata:
        data = json.loads(metadata["ternary"])
        signs = {
            name: _signs(stored[f"{name}|kept"], stored[f"{name}|up"], shape)
            for name, shape in data["shapes"].items()
        }
        found = Ternary(signs=signs, magnitude=data["magnitude"], start=data["start"])
        tensors |= found.decoded()
    return tensors


def _signs(kept: torch.Tensor, up: torch.Tensor, shape: list[int]) -> torch.Tensor:
    n_entries = math.prod(shape)
    found = np.unpackbits(kept.numpy(), count=n_entries).astype(np.int8)
    n_kept = int(found.sum())
    found[found != 0] = np.unpackbits(up.numpy(), count=n_kept).astype(np.int8) * 2 - 1
    return torch.from_numpy(found).reshape(shape)
