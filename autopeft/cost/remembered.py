"""A function that keeps what it returned lately."""

from collections.abc import Callable
from functools import lru_cache
from typing import Any, Generic, ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")


class Remembered(Generic[P, R]):
    """A function with its latest results, of which none go along into a pickle or a copy."""

    def __init__(self, function: Callable[P, R], size: int) -> None:
        """Take a function.

        Args:
            function: Its arguments are hashable, and equal ones give equal results.
            size: Results that are kept.
        """
        self._made_of = function, size
        self._cached: Callable[..., R] = lru_cache(maxsize=size)(function)

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Return what the function returns."""
        return self._cached(*args, **kwargs)

    def __reduce__(self) -> tuple[Any, ...]:
        """Tell pickle how it is made."""
        return Remembered, self._made_of
