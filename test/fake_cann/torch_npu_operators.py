"""Operators as torch_npu launches them, on the fake CANN: queued on a stream, run by the device.

Inside ``torch.npu.stream(s)`` every call of an operator allocates its results on the device and
queues a kernel on ``s``. The kernel computes when the stream comes to it, at every replay when it
was captured, on the addresses that the call was given: it keeps no memory alive.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Mapping
from typing import Any, Protocol

import torch
from torch.utils._python_dispatch import TorchDispatchMode, _disable_current_modes
from torch.utils._pytree import tree_flatten, tree_map_only, tree_unflatten


class Address:
    """Where a tensor lies on the device, and its geometry; calling it gives a tensor there.

    Args:
        tensor: in device memory.
        live: base address and bytes of what is allocated.
    """

    def __init__(self, tensor: torch.Tensor, live: Mapping[int, int]) -> None:
        storage = tensor.untyped_storage()
        self._base, self._nbytes, self._live = storage.data_ptr(), storage.nbytes(), live
        self._like = torch.empty(0, dtype=tensor.dtype)
        self._geometry = tensor.storage_offset(), tensor.size(), tensor.stride()

    def __call__(self) -> torch.Tensor:
        if self._base not in self._live:
            raise RuntimeError("a kernel uses memory that was freed")
        memory = (ctypes.c_char * self._nbytes).from_address(self._base)
        raw = torch.frombuffer(memory, dtype=torch.uint8)
        return self._like.new_empty(0).set_(raw.untyped_storage(), *self._geometry)


class Memory(Protocol):
    """Memory of the device."""

    def place(self, like: torch.Tensor) -> torch.Tensor:
        """A tensor on the device with the geometry of another."""
        ...

    def address_of(self, tensor: torch.Tensor) -> Address | torch.Tensor:
        """The address of a tensor on the device; a host tensor as it is."""
        ...


_HostFunction = ctypes.CFUNCTYPE(None, ctypes.c_void_p)


class Launches:
    """Kernels that were queued, by number.

    Args:
        acl: the fake's runtime library.
    """

    def __init__(self, acl: ctypes.CDLL) -> None:
        self._acl = acl
        self._kernels: list[Callable[[], None]] = []
        self.errors: list[BaseException] = []
        self._run = _HostFunction(self._run_kernel)

    def queue(self, stream: int, kernel: Callable[[], None]) -> None:
        """Put a kernel on a stream."""
        self._kernels.append(kernel)
        number = ctypes.c_void_p(len(self._kernels))
        code = self._acl.aclrtLaunchHostFunc(ctypes.c_void_p(stream), self._run, number)
        if code != 0:
            raise RuntimeError(f"the launch failed with {code}")

    def _run_kernel(self, number: int) -> None:
        try:
            with _disable_current_modes(), torch.no_grad():
                self._kernels[number - 1]()
        except BaseException as error:  # a callback cannot raise: the test does at its end
            self.errors.append(error)


class NpuOperators(TorchDispatchMode):
    """Operators go to a stream.

    Args:
        launches: where kernels go.
        stream: the handle of the stream.
        memory: of the device.
    """

    def __init__(self, launches: Launches, stream: int, memory: Memory) -> None:
        super().__init__()
        self._launches, self._stream, self._memory = launches, stream, memory

    def _queue(self, func: Any, args: Any, kwargs: Any, results: list[torch.Tensor]) -> None:
        flat, spec = tree_flatten((args, kwargs, results))
        places = [self._memory.address_of(x) if isinstance(x, torch.Tensor) else x for x in flat]

        def kernel() -> None:
            values = [x() if isinstance(x, Address) else x for x in places]
            args, kwargs, targets = tree_unflatten(values, spec)
            for target, value in zip(targets, _tensors(func(*args, **kwargs)), strict=False):
                target.copy_(value)

        self._launches.queue(self._stream, kernel)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if _is_view(func):
            return func(*args, **kwargs)
        if func._schema.is_mutable:
            self._queue(func, args, kwargs, [])
            return _written(func, args, kwargs)
        copies = tree_map_only(torch.Tensor, torch.clone, (args, kwargs))
        shapes = func(*copies[0], **copies[1])  # of the results; the values are nobody's
        results = tree_map_only(torch.Tensor, self._memory.place, shapes)
        flat = _tensors(results)
        if flat and "empty" not in func._schema.name:
            self._queue(func, args, kwargs, flat)
        return results


def _tensors(results: Any) -> list[torch.Tensor]:
    return [r for r in tree_flatten(results)[0] if isinstance(r, torch.Tensor)]


def _is_view(func: Any) -> bool:
    returns = func._schema.returns
    return bool(returns) and all(
        r.alias_info is not None and not r.alias_info.is_write for r in returns
    )


def _written(func: Any, args: Any, kwargs: Any) -> Any:
    """What an operator that writes its arguments returns: these arguments."""
    names = [a.name for a in func._schema.arguments]
    given = {**dict(zip(names, args, strict=False)), **kwargs}
    written = [
        given[a.name] for a in func._schema.arguments if a.alias_info and a.alias_info.is_write
    ]
    if not func._schema.returns:
        return None
    return written[0] if len(func._schema.returns) == 1 else tuple(written)
