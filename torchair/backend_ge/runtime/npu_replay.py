"""A capture on an NPU: torch's operators are captured on streams of torch and replayed by ACL.

Torch launches the operators and allocates; the capture itself, its events, task groups and replays
go through our runtime (aclmdlRICapture*, aclmdlRIExecuteAsync). Addresses are fixed: when a tensor
that it was captured with has moved, the graph is captured again. A replay is queued on the current
stream of torch, as an operator is; nothing waits for the device.
"""

from __future__ import annotations

import atexit
import weakref
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from functools import cache
from typing import Any

import torch

from torchair import _native
from torchair.backend_ge.host.trace import Slot, Trace
from torchair.backend_ge.runtime.aten_graph import AtenGraph
from torchair.backend_ge.runtime.device_replay import DeviceOptions, moved_places, refused
from torchair.backend_ge.runtime.npu_capture import NpuCapture, capture_on_npu
from torchair.backend_ge.runtime.npu_device import (
    NpuDevice,
    NpuMemory,
    below_autograd,
    forget_npu_device,
)
from torchair.backend_ge.runtime.npu_updates import launch_updates


class NpuReplay:
    """Captures the calls of a trace on an NPU and replays the graph.

    Outputs lie where the capture put them: the next replay of this capture overwrites them.

    Args:
        graph: what was traced, for messages.
        trace: the calls.
        written: inputs of the trace that it writes.
        device: the NPU.
        memory: memory of the capture.
        options: see there.
        on_move: told which inputs have moved, before a new capture.
    """

    def __init__(
        self,
        graph: AtenGraph,
        trace: Trace,
        written: Sequence[int],
        device: NpuDevice,
        memory: NpuMemory,
        options: DeviceOptions,
        on_move: Callable[[list[int]], None],
    ) -> None:
        self._graph, self._trace, self._written = graph, trace, written
        self._device, self._memory, self._options = device, memory, options
        self._on_move = on_move
        self._addresses: list[int] = []
        self._capture: NpuCapture | None = None
        self._streams = [device.make_stream() for _ in range(_stream_count(trace))]
        self._update_stream: Any = None
        _live.add(self)
        _close_at_exit()

    @contextmanager
    def scope(self) -> Generator[None]:
        """The scope of one call, copies to staged inputs included: all of it on the stream that is
        current now, after the latest work on the memory of the capture."""
        stream = self._device.current()
        self._memory.follow(stream)
        with self._device.on(stream):
            yield

    def run(self, arguments: list[torch.Tensor]) -> list[torch.Tensor]:
        """Queue a replay, after a new capture when something has moved.

        Raises:
            EngineError: a call failed while it was captured, or the device refused.
        """
        try:
            if self._capture is None or self._options.validate:
                self._capture_if_moved(arguments)
            assert self._capture is not None, "there is a capture by now"
            self._queue(self._capture)
        except _native.runtime.DeviceError as error:
            raise refused(error) from error
        for index in self._written:
            if not arguments[index].is_inference():
                torch.autograd.graph.increment_version(arguments[index])
        return self._outputs(self._capture, arguments)

    def _queue(self, capture: NpuCapture) -> None:
        stream = self._device.current()
        self._update(capture, stream)
        if capture.graph is not None:
            capture.graph.replay(self._device.native(stream))

    def _update(self, capture: NpuCapture, stream: Any) -> None:
        """Give the task groups their new numbers, between the replay before and the next one."""
        stale = [call for call in capture.updates if call.is_stale]
        if not stale:
            return
        if self._update_stream is None:
            self._update_stream = self._device.make_stream()
        side, device = self._update_stream, self._device
        device.order(stream, side)
        with device.on(side), self._memory.allocating(), below_autograd():
            launch_updates(stale, device.native(side), lambda: device.native(side))
        device.order(side, stream)

    def _outputs(self, capture: NpuCapture, arguments: list[torch.Tensor]) -> list[torch.Tensor]:
        """What the capture wrote; an output that is an input is the caller's tensor."""
        given: dict[Slot, torch.Tensor] = dict(zip(self._trace.inputs, arguments, strict=False))
        return [
            given.get(slot, value)
            for slot, value in zip(self._trace.outputs, capture.outputs, strict=True)
        ]

    def _capture_if_moved(self, arguments: list[torch.Tensor]) -> None:
        addresses = [tensor.data_ptr() for tensor in arguments]
        if self._capture is not None:
            moved = moved_places(addresses, self._addresses)
            if not moved:
                return
            self._on_move(moved)
        self.close()
        self._capture = capture_on_npu(
            self._graph,
            self._trace,
            arguments,
            self._device,
            self._streams,
            self._memory,
            self._options.mode,
        )
        self._addresses = addresses
        if self._options.tasks_file is not None and self._capture.graph is not None:
            self._capture.graph.write_json(self._options.tasks_file)

    def close(self) -> None:
        """Destroy the graph, when the device is done with it."""
        capture, self._capture = self._capture, None
        if capture is not None and capture.graph is not None:
            self._memory.synchronize()
            capture.graph.destroy()


def _stream_count(trace: Trace) -> int:
    return 1 + max((call.stream for call in trace.calls), default=0)


_live: weakref.WeakSet[NpuReplay] = weakref.WeakSet()


def close_all() -> None:
    """Destroy every captured graph and give the NPU up, before torch_npu ends ACL."""
    for replay in list(_live):
        replay.close()
    forget_npu_device()


@cache
def _close_at_exit() -> None:
    """Called when torch_npu is there, so that this comes before what it does at exit."""
    atexit.register(close_all)
