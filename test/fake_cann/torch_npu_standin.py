"""What torchair uses of torch_npu, on the fake CANN: streams, the caching allocator, settings.

Tensors of an NPU are host tensors here whose memory the fake knows as device memory. For the tests
of GE a tensor type reports the device "npu"; for those of captures the NPU's device type is "cpu".
"""

from __future__ import annotations

import ctypes
import sys
import types
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import _disable_current_modes

from fake_cann.device import FakeCann
from fake_cann.torch_npu_operators import Address, Launches, NpuOperators


class _Device:
    type = "npu"
    index = 0


class NpuTensor(torch.Tensor):
    """A tensor over device memory. Operators see it as a host tensor."""

    @property
    def device(self) -> Any:
        return _Device()


class Stream:
    """``torch.npu.Stream``."""

    device = torch.device("cpu")

    def __init__(self, handle: int) -> None:
        self.npu_stream = handle

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Stream) and other.npu_stream == self.npu_stream

    def __hash__(self) -> int:
        return hash(self.npu_stream)


class MemPool:
    """``torch.npu.MemPool``: blocks that were freed, by stream and size; segments until it dies."""

    def __init__(self, standin: StandIn) -> None:
        self._standin = standin
        self._free: dict[tuple[int, int], list[int]] = {}
        self.segments: list[int] = []
        self.reused = 0

    def allocate(self, size: int, stream: int) -> int:
        blocks = self._free.get((stream, size))
        if blocks:
            self.reused += 1
            return blocks.pop()
        self.segments.append(self._standin.allocate(size))
        return self.segments[-1]

    def give_back(self, address: int, size: int, stream: int) -> None:
        self._free.setdefault((stream, size), []).append(address)


class StandIn:
    """torch_npu's part: it starts and ends ACL, owns streams and the memory.

    Args:
        fake: the loaded fake.
    """

    def __init__(self, fake: FakeCann) -> None:
        self.acl = ctypes.CDLL(str(fake.folder / "libacl_rt.so"))
        self.fake = fake
        self.live: dict[int, int] = {}
        self.launches = Launches(self.acl)
        self.streams: list[int] = []
        self.pools: list[MemPool] = []
        self._active: list[MemPool] = []
        assert self.acl.aclInit(None) == 0 and self.acl.aclrtSetDevice(0) == 0
        self.stream = self.make_stream().npu_stream

    def make_stream(self) -> Stream:
        handle = ctypes.c_void_p()
        assert self.acl.aclrtCreateStreamWithConfig(ctypes.byref(handle), 0, 0) == 0
        self.streams.append(int(handle.value or 0))
        return Stream(self.streams[-1])

    def current(self) -> Stream:
        """``torch.npu.current_stream()``."""
        return Stream(self.stream)

    @contextmanager
    def on(self, stream: Stream) -> Iterator[None]:
        """``torch.npu.stream(stream)``: operators go there."""
        before, self.stream = self.stream, stream.npu_stream
        try:
            with NpuOperators(self.launches, stream.npu_stream, self):
                yield
        finally:
            self.stream = before

    def make_pool(self) -> MemPool:
        self.pools.append(MemPool(self))
        return self.pools[-1]

    @contextmanager
    def use_pool(self, pool: MemPool, device: int) -> Iterator[None]:
        """``torch.npu.use_mem_pool(pool, device)``."""
        assert device == 0
        self._active.append(pool)
        yield
        self._active.pop()

    def place(self, like: torch.Tensor) -> torch.Tensor:
        """A tensor on the device with the geometry of another; its block goes back with it."""
        stream = self.stream
        nbytes = max(like.untyped_storage().nbytes(), 1)
        pool = self._active[-1] if self._active else None
        address = self.allocate(nbytes) if pool is None else pool.allocate(nbytes, stream)
        memory = (ctypes.c_char * nbytes).from_address(address)
        if pool is not None:
            weakref.finalize(memory, pool.give_back, address, nbytes, stream)
        with _disable_current_modes():
            raw = torch.frombuffer(memory, dtype=torch.uint8, count=nbytes)
            raw.fill_(0xA5)
            return torch.empty(0, dtype=like.dtype).set_(
                raw.untyped_storage(), like.storage_offset(), like.size(), like.stride()
            )

    def address_of(self, tensor: torch.Tensor) -> Address | torch.Tensor:
        """The address of a tensor on the device; a host tensor as it is."""
        is_here = tensor.untyped_storage().data_ptr() in self.live
        return Address(tensor, self.live) if is_here else tensor

    def allocate(self, size: int, device: int | None = None, stream: int | None = None) -> int:
        assert stream in (None, self.stream), "memory of the stream that the graph runs on"
        address = ctypes.c_void_p()
        code = self.acl.aclrtMalloc(ctypes.byref(address), ctypes.c_size_t(max(size, 1)), 0)
        if code != 0:
            raise RuntimeError(f"NPU out of memory ({code})")
        self.live[int(address.value or 0)] = size
        return int(address.value or 0)

    def delete(self, address: int) -> None:
        for stream in self.streams:  # a caching allocator keeps the memory; this one has to wait
            self.wait(stream)
        del self.live[address]
        assert self.acl.aclrtFree(ctypes.c_void_p(address)) == 0

    def wait(self, stream: int) -> None:
        code = self.acl.aclrtSynchronizeStreamWithTimeout(ctypes.c_void_p(stream), -1)
        assert code == 0

    def synchronize(self) -> None:
        self.wait(self.stream)
        assert not self.launches.errors, self.launches.errors

    def tensor(self, values: torch.Tensor) -> torch.Tensor:
        """A copy of a host tensor on the device, whose type says so."""
        return self.plain_tensor(values).as_subclass(NpuTensor)

    def plain_tensor(self, values: torch.Tensor) -> torch.Tensor:
        """A copy of a host tensor in device memory."""
        dense = values.contiguous()
        address = self.allocate(dense.nbytes, stream=self.stream)
        memory = (ctypes.c_char * max(dense.nbytes, 1)).from_address(address)
        made = torch.frombuffer(memory, dtype=dense.dtype, count=dense.numel())
        made.copy_(dense.flatten())
        return made.view(dense.shape)

    def close(self) -> None:
        for address in list(self.live):
            self.delete(address)
        for stream in self.streams:
            self.acl.aclrtDestroyStream(ctypes.c_void_p(stream))
        self.acl.aclrtResetDevice(0)
        assert self.acl.aclFinalize() == 0

    def module(self) -> types.ModuleType:
        """The module ``torch_npu``."""
        npu = types.SimpleNamespace(
            is_available=lambda: True,
            current_device=lambda: 0,
            current_stream=self.current,
            Stream=self.make_stream,
            stream=self.on,
            MemPool=self.make_pool,
            use_mem_pool=self.use_pool,
            caching_allocator_alloc=self.allocate,
            caching_allocator_delete=self.delete,
            conv=types.SimpleNamespace(allow_hf32=True),
            matmul=types.SimpleNamespace(allow_hf32=True),
        )
        made: Any = types.ModuleType("torch_npu")
        made.npu = npu
        made.__spec__ = types.SimpleNamespace(name="torch_npu")
        return made


@contextmanager
def torch_npu(fake: FakeCann, monkeypatch: pytest.MonkeyPatch) -> Iterator[StandIn]:
    """The stand-in as ``torch_npu``; ``torch.empty(device="npu")`` gives memory of the device."""
    standin = StandIn(fake)
    empty = torch.empty

    def empty_on(*args: Any, device: Any = None, **kwargs: Any) -> torch.Tensor:
        if device == "npu":
            return standin.tensor(empty(*args, **kwargs))
        return empty(*args, device=device, **kwargs)

    monkeypatch.setitem(sys.modules, "torch_npu", standin.module())
    monkeypatch.setattr(torch, "empty", empty_on)
    yield standin
    monkeypatch.setattr(torch, "empty", empty)
