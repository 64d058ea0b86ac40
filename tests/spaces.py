"""Search spaces for tests."""

from autopeft.methods.registry import catalogue
from autopeft.space.schema import ModelShape, read_space, shipped_spaces
from autopeft.space.space import SearchSpace

SHIPPED = {name: path.read_text() for name, path in shipped_spaces().items()}


def space_of(text: str, n_layers: int = 6, hidden_size: int = 32) -> SearchSpace:
    """Read a space from its text, or a shipped one by its name."""
    shape = ModelShape(n_layers, hidden_size)
    return read_space(SHIPPED.get(text, text), shape, "mine.yaml", catalogue())
