"""What captures on an NPU use of torch_npu: its streams, and memory of its caching allocator.

torch_npu puts launches in a queue of its own and gives them to the device later. Reading a stream's
``npu_stream`` waits until that queue is empty, so it is read before every call of our runtime.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Generator
from contextlib import contextmanager
from functools import cache
from typing import Any

import torch

from torchair import _native
from torchair.backend_ge.cann import process, tensors
from torchair.errors import EngineError

_QUEUE_VARIABLE = "TASK_QUEUE_ENABLE"


class NpuDevice:
    """The NPU that is torch's current device at the first capture.

    Args:
        module: ``torch_npu``.

    Attributes:
        npu: ``torch.npu``.
        runtime: its streams, events and captures.
        type: type of its tensors' device, ``npu``.

    Raises:
        EngineError: CANN is not here, or lacks the functions of capture; or torch_npu prepares
            operators on another thread.
    """

    def __init__(self, module: Any) -> None:
        _refuse_second_queue()
        self.npu = module.npu
        self.index = int(self.npu.current_device())
        self.runtime = process.open_device(self.index, owned=False)
        self.type: str = self.npu.current_stream().device.type
        self._borrowed: dict[int, _native.runtime.Stream] = {}

    def make_stream(self) -> Any:
        """A stream of torch; torch keeps it as long as the process runs."""
        return self.npu.Stream()

    def current(self) -> Any:
        """Torch's current stream."""
        return self.npu.current_stream()

    def on(self, stream: Any) -> Any:
        """A scope in which torch's operators go to a stream of torch."""
        return self.npu.stream(stream)

    def native(self, stream: Any) -> _native.runtime.Stream:
        """A stream of torch for our runtime, after all that torch has launched on it."""
        handle = int(stream.npu_stream)
        found = self._borrowed.get(handle)
        if found is None:
            found = self._borrowed[handle] = self.runtime.borrow_stream(handle)
        return found

    def make_event(self) -> _native.runtime.Event:
        """An event that orders streams."""
        return self.runtime.create_event()

    def order(self, first: Any, then: Any) -> None:
        """Let one stream of torch wait for what another holds now."""
        event = self.make_event()
        self.native(first).record(event)
        self.native(then).wait(event)


def _refuse_second_queue() -> None:
    """With level 2 torch_npu allocates for operators on its queue's thread, which knows nothing of
    the capture's memory; it refuses such captures itself."""
    if os.environ.get(_QUEUE_VARIABLE) == "2":
        raise EngineError(
            "graphs cannot be captured while torch_npu prepares operators on another thread",
            found=f"{_QUEUE_VARIABLE}=2",
            hint=f"set {_QUEUE_VARIABLE}=1",
        )


class NpuMemory:
    """Memory that captures share. Their graphs follow each other on the device.

    What a capture has freed, the next one may use. What it keeps (outputs) stays its own.

    Args:
        device: the NPU.
    """

    def __init__(self, device: NpuDevice) -> None:
        self._device = device
        self._pool = device.npu.MemPool()
        self._latest: Any = None

    @contextmanager
    def allocating(self) -> Generator[None]:
        """A scope in which torch's operators on this thread take their memory from here."""
        with self._device.npu.use_mem_pool(self._pool, self._device.index):
            yield

    def follow(self, stream: Any) -> None:
        """Let a stream of torch wait for the latest work on this memory, and be the latest."""
        if self._latest is not None and self._latest != stream:
            self._device.order(self._latest, stream)
        self._latest = stream

    def synchronize(self) -> None:
        """Wait for all work on this memory."""
        if self._latest is not None:
            self._device.native(self._latest).synchronize()


_lock = threading.Lock()


def npu_device() -> NpuDevice:
    """The NPU of this process.

    Raises:
        EngineError: torch_npu is not installed, or finds no NPU.
    """
    with _lock:
        return _npu_device()


@cache
def _npu_device() -> NpuDevice:
    module = tensors.torch_npu()
    if module is None:
        raise EngineError(
            "graphs are captured on an NPU through torch_npu, which is not here or finds no device",
            expected="torch_npu, and torch.npu.is_available()",
            hint="config.mode = 'max-autotune' needs no torch_npu; config.engine = 'host' no NPU",
        )
    return NpuDevice(module)


def forget_npu_device() -> None:
    """Give the NPU up; its captures must be closed before."""
    with _lock:
        if _npu_device.cache_info().currsize:
            _npu_device.cache_clear()
            process.close_device()


@contextmanager
def below_autograd() -> Generator[None]:
    """A scope in which operators compute only: no gradients, no autocast, no versions."""
    with torch._C._DisableAutocast(), torch._C._AutoDispatchBelowADInplaceOrView():
        yield
