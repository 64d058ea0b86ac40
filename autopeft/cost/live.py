"""`LiveBytes`: follows every storage from its making to its end, and counts operations beside."""

import weakref
from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from autopeft.cost.flops import flops_of

Part = Literal["gradients", "activations", "loss", "transient"]
PARTS: tuple[Part, ...] = ("gradients", "activations", "loss", "transient")


@dataclass(slots=True)
class _Storage:
    """A live storage.

    Attributes:
        n_bytes: Its size.
        part: What it is counted as.
        born: How many came before it.
        reference: Tells of its end.
    """

    n_bytes: int
    part: Part
    born: int
    reference: weakref.ref[Any] | None


class LiveBytes(TorchDispatchMode):
    """Counts the bytes of the storages that are alive, at the most and by part.

    It sees what torch's operators return, on any device, in forward and backward. What a kernel
    takes for itself while it runs is not seen. The idea is that of
    `torch.distributed._tools.mem_tracker`: weak references to storages.

    Attributes:
        now: Bytes that are alive, by part.
        peak: The same when they were most.
        flops: Floating-point operations so far.
    """

    def __init__(self, held: Iterable[torch.Tensor]) -> None:
        """Start with nothing alive.

        Args:
            held: Dense tensors whose storages are there anyway and are not counted.
        """
        super().__init__()  # type: ignore[no-untyped-call]  # torch's
        self.now: dict[Part, int] = dict.fromkeys(PARTS, 0)
        self.peak = dict(self.now)
        self.flops = 0
        self._new: Part = "transient"
        self._n_bytes = 0
        self._most = 0
        self._most_at = 0
        self._n_seen = 0
        self._storages = {storage_key(tensor): _Storage(0, "transient", 0, None) for tensor in held}

    def __torch_dispatch__(
        self,
        func: Any,
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        out = func(*args, **kwargs)
        for tensor in out if isinstance(out, tuple | list) else (out,):
            if isinstance(tensor, torch.Tensor):
                self._see(tensor)
        self.flops += flops_of(func, args, kwargs, out)
        return out

    def __exit__(self, *exception: Any) -> None:
        super().__exit__(*exception)  # type: ignore[no-untyped-call]  # torch's
        self._storages.clear()  # and with them the references that report what ends later

    def begin(self, part: Part) -> None:
        """Count as `part` what is made from now on."""
        self._new = part

    def mark(self, tensor: torch.Tensor, part: Part) -> None:
        """Count the storage of a tensor as `part`, also at the peak if it was alive then."""
        for dense in dense_parts(tensor):
            storage = self._storages.get(storage_key(dense))
            if storage is not None and storage.reference is not None:
                self._move(storage, part)

    def mark_rest(self, part: Part) -> None:
        """Count as `part` whatever is alive and not yet counted as something."""
        for storage in self._storages.values():
            if storage.part == "transient":
                self._move(storage, part)

    def _move(self, storage: _Storage, part: Part) -> None:
        tables = [self.now]
        if storage.born <= self._most_at:  # alive at the peak, as it still is
            tables.append(self.peak)
        for table in tables:
            table[storage.part] -= storage.n_bytes
            table[part] += storage.n_bytes
        storage.part = part

    def _see(self, tensor: torch.Tensor) -> None:
        for dense in (tensor,) if tensor.layout is torch.strided else dense_parts(tensor):
            key = storage_key(dense)
            if key not in self._storages:
                self._add(key, dense.untyped_storage())

    def _add(self, key: int, storage: torch.UntypedStorage) -> None:
        n_bytes = storage.nbytes()
        self._n_seen += 1
        reference = weakref.ref(storage, partial(self._free, key))
        self._storages[key] = _Storage(n_bytes, self._new, self._n_seen, reference)
        self.now[self._new] += n_bytes
        self._n_bytes += n_bytes
        if self._n_bytes > self._most:
            self._most, self._most_at = self._n_bytes, self._n_seen
            self.peak = dict(self.now)

    def _free(self, key: int, _reference: weakref.ref[Any]) -> None:
        storage = self._storages.pop(key)
        self.now[storage.part] -= storage.n_bytes
        self._n_bytes -= storage.n_bytes


def storage_key(tensor: torch.Tensor) -> int:
    """Return the identity of a tensor's storage while it lives; `meta` has no addresses."""
    return int(tensor.untyped_storage()._cdata)  # noqa: SLF001 - torch's name for it


def dense_parts(tensor: torch.Tensor) -> list[torch.Tensor]:
    """Return the tensors with storages that a tensor is made of: itself unless it is sparse."""
    if tensor.layout is torch.sparse_coo:
        return [tensor._indices(), tensor._values()]  # noqa: SLF001 - of tensors not coalesced
    if tensor.layout is torch.sparse_csr:
        return [tensor.crow_indices(), tensor.col_indices(), tensor.values()]
    return [tensor]
