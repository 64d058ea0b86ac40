"""What files of adapters hold."""

from pathlib import Path

from safetensors.torch import load_file


def tensor_bytes(folder: Path) -> int:
    """Return the bytes of all tensors in the safetensors files of a folder."""
    return sum(
        tensor.numel() * tensor.element_size()
        for file in folder.glob("*.safetensors")
        for tensor in load_file(file).values()
    )
