"""Memory of the inputs that a captured graph keeps for itself.

A staged input is copied into the graph's own buffer before every replay, so that its address never
changes. Captures of one pool never run at the same time, so their buffers lie on top of each other.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence

import torch

from torchair import _native
from torchair.backend_ge.runtime.device_replay import device_named
from torchair.backend_ge.runtime.npu_device import NpuMemory, npu_device
from torchair.backend_ge.runtime.specialise import TensorSpec

ALIGNMENT = 64


class StagingPool:
    """Blocks of memory in which captures place their buffers.

    A capture keeps its place for as long as it lives. The pool keeps one block, the largest that
    was needed so far; a larger demand gets a new one of at least twice the size, so that the blocks
    of captures of growing shapes stay within twice the largest.

    Attributes:
        lock: held while a capture of this pool runs.
        arena: where captures on the caller's thread have their intermediate values, in turns.
    """

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.arena = _native.Arena()
        self._block: dict[torch.device, torch.Tensor] = {}
        self._blocks: list[int] = []
        self._npu_memory: NpuMemory | None = None
        self._device_pools: dict[str, _native.runtime.MemoryPool] = {}

    @property
    def bytes_reserved(self) -> int:
        """Bytes of all blocks given out, of the arena, and of the pools on devices."""
        on_devices = sum(p.bytes_reserved for p in self._device_pools.values())
        return sum(self._blocks) + self.arena.bytes_reserved + on_devices

    def device_pool(self, name: str) -> _native.runtime.MemoryPool:
        """The memory that captures of this pool share on a device."""
        with self.lock:
            if name not in self._device_pools:
                self._device_pools[name] = device_named(name).create_pool()
            return self._device_pools[name]

    def npu_memory(self) -> NpuMemory:
        """The memory that captures of this pool share on an NPU."""
        with self.lock:
            if self._npu_memory is None:
                self._npu_memory = NpuMemory(npu_device())
            return self._npu_memory

    def place(self, specs: Sequence[TensorSpec]) -> list[torch.Tensor]:
        """One uninitialised tensor per geometry, 64-byte aligned, not overlapping each other.

        All lie on the device of the first.
        """
        offsets: list[int] = []
        end = 0
        for spec in specs:
            offsets.append(end)
            size = spec.elements * spec.dtype.itemsize
            end += -(-size // ALIGNMENT) * ALIGNMENT
        with self.lock, torch.inference_mode(False):
            storage = self._block_of(specs[0].device, end).untyped_storage()
            return [
                torch.empty(0, dtype=spec.dtype, device=spec.device).set_(
                    storage, offset // spec.dtype.itemsize, spec.shape, spec.strides
                )
                for spec, offset in zip(specs, offsets, strict=True)
            ]

    def _block_of(self, device: torch.device, size: int) -> torch.Tensor:
        """The block on a device, a new one when it is too small."""
        block = self._block.get(device)
        kept = 0 if block is None else block.nbytes
        if block is None or size > kept:
            block = torch.empty(max(size, 2 * kept), dtype=torch.uint8, device=device)
            self._block[device] = block
            self._blocks.append(block.nbytes)
        return block


_shared: dict[tuple[int, ...], StagingPool] = {}
_lock = threading.Lock()


def pool_of(handle: tuple[int, ...] | None) -> StagingPool:
    """The pool of a handle (``use_custom_pool``), or a new one."""
    if handle is None:
        return StagingPool()
    with _lock:
        return _shared.setdefault(tuple(handle), StagingPool())


def forget_pools() -> None:
    """Forget the pools of all handles; captures that live keep theirs."""
    with _lock:
        _shared.clear()
