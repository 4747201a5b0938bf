"""What torchair uses of torch_npu, on the fake CANN: streams, the caching allocator, settings.

Tensors of an NPU are host tensors here whose memory the fake knows as device memory: a tensor type
reports the device "npu".
"""

from __future__ import annotations

import ctypes
import sys
import types
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch

from fake_cann.device import FakeCann


class _Device:
    type = "npu"
    index = 0


class NpuTensor(torch.Tensor):
    """A tensor over device memory. Operators see it as a host tensor."""

    @property
    def device(self) -> Any:
        return _Device()


class StandIn:
    """torch_npu's part: it starts and ends ACL, owns a stream and the memory.

    Args:
        fake: the loaded fake.
    """

    def __init__(self, fake: FakeCann) -> None:
        self.acl = ctypes.CDLL(str(fake.folder / "libacl_rt.so"))
        self.live: dict[int, int] = {}
        assert self.acl.aclInit(None) == 0 and self.acl.aclrtSetDevice(0) == 0
        handle = ctypes.c_void_p()
        assert self.acl.aclrtCreateStreamWithConfig(ctypes.byref(handle), 0, 0) == 0
        self.stream = int(handle.value or 0)

    def allocate(self, size: int, device: int | None = None, stream: int | None = None) -> int:
        assert stream == self.stream, "memory of the stream that the graph runs on"
        address = ctypes.c_void_p()
        code = self.acl.aclrtMalloc(ctypes.byref(address), ctypes.c_size_t(max(size, 1)), 0)
        if code != 0:
            raise RuntimeError(f"NPU out of memory ({code})")
        self.live[int(address.value or 0)] = size
        return int(address.value or 0)

    def delete(self, address: int) -> None:
        del self.live[address]
        self.synchronize()  # a caching allocator keeps the memory; the stand-in has to wait
        assert self.acl.aclrtFree(ctypes.c_void_p(address)) == 0

    def synchronize(self) -> None:
        code = self.acl.aclrtSynchronizeStreamWithTimeout(ctypes.c_void_p(self.stream), -1)
        assert code == 0

    def tensor(self, values: torch.Tensor) -> torch.Tensor:
        """A copy of a host tensor on the device."""
        dense = values.contiguous()
        address = self.allocate(dense.nbytes, stream=self.stream)
        memory = (ctypes.c_char * max(dense.nbytes, 1)).from_address(address)
        made = torch.frombuffer(memory, dtype=dense.dtype, count=dense.numel())
        made.copy_(dense.flatten())
        return made.view(dense.shape).as_subclass(NpuTensor)

    def close(self) -> None:
        for address in list(self.live):
            self.delete(address)
        self.acl.aclrtDestroyStream(ctypes.c_void_p(self.stream))
        self.acl.aclrtResetDevice(0)
        assert self.acl.aclFinalize() == 0

    def module(self) -> types.ModuleType:
        """The module ``torch_npu``."""
        npu = types.SimpleNamespace(
            is_available=lambda: True,
            current_device=lambda: 0,
            current_stream=lambda: types.SimpleNamespace(npu_stream=self.stream),
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
