"""Two ways to run a capture again: on the caller's thread, or as a graph captured on a device.

A graph captured on a device has fixed addresses, as on an NPU: when a tensor that it was captured
with has moved, it is captured again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Protocol

import torch

from torchair import _native
from torchair.backend_ge.host.program import Program
from torchair.errors import EngineError


class Replayer(Protocol):
    """Runs a program for one capture."""

    def run(self, arguments: list[torch.Tensor]) -> list[torch.Tensor]:
        """Results for these inputs of the program."""
        ...

    def close(self) -> None:
        """Give up what the device keeps."""
        ...


class InlineReplay:
    """Runs the program on the caller's thread, its inputs by reference."""

    def __init__(self, program: Program) -> None:
        self._program = program

    def run(self, arguments: list[torch.Tensor]) -> list[torch.Tensor]:
        """Results for these inputs of the program."""
        return self._program.run(arguments)

    def close(self) -> None:
        """Nothing is kept."""


@dataclass(frozen=True, slots=True)
class DeviceOptions:
    """How a graph is captured on a device.

    Args:
        device: ``host`` or ``cann``.
        mode: ``global``, ``thread_local`` or ``relaxed``: which calls are errors meanwhile.
        validate: capture again when an address has changed.
        tasks_file: where the device's list of the tasks of a capture goes.
    """

    device: str = "host"
    mode: str = "global"
    validate: bool = True
    tasks_file: str | None = None


class DeviceReplay:
    """Captures the program on streams of a device and replays the graph.

    Captures that are given the same pool share their memory, so they must not run at the same time.

    Args:
        program: what is captured.
        written: inputs of the program that it writes.
        pool: memory of the capture.
        options: see there.
        on_move: told which inputs of the program have moved, before a new capture.
    """

    def __init__(
        self,
        program: Program,
        written: Sequence[int],
        pool: _native.runtime.MemoryPool,
        options: DeviceOptions,
        on_move: Callable[[list[int]], None],
    ) -> None:
        self._program, self._written, self._on_move = program, written, on_move
        self._pool, self._options = pool, options
        self._device = device_named(options.device)
        self._addresses: list[int] = []
        self._launch: Any = None
        self._graph: _native.runtime.Graph | None = None
        self._streams = [self._device.create_stream() for _ in range(program.n_streams)]

    def run(self, arguments: list[torch.Tensor]) -> list[torch.Tensor]:
        """Replay, after a new capture when something has moved.

        Raises:
            ProgramError: a call failed.
            EngineError: the device refused.
        """
        if self._graph is None or self._options.validate:
            self._capture_if_moved(arguments)
        graph = self._graph
        assert graph is not None, "there is a capture by now"
        try:
            graph.replay(self._streams[0])
            self._streams[0].synchronize()
        except _native.OperatorError as error:
            raise self._launch.error(error) from None
        except _native.runtime.DeviceError as error:
            raise refused(error) from error
        for index in self._written:
            if not arguments[index].is_inference():
                torch.autograd.graph.increment_version(arguments[index])
        return self._launch.outputs()

    def _capture_if_moved(self, arguments: list[torch.Tensor]) -> None:
        addresses = [tensor.data_ptr() for tensor in arguments]
        if self._graph is not None:
            moved = moved_places(addresses, self._addresses)
            if not moved:
                return
            self._on_move(moved)
        try:
            self._capture(arguments)
        except _native.runtime.DeviceError as error:
            raise refused(error) from error
        self._addresses = addresses

    def _capture(self, arguments: list[torch.Tensor]) -> None:
        self.close()
        self._program.plan(arguments)
        bound = {place: tensor.detach() for place, tensor in enumerate(arguments)}
        launch = self._program.bind(bound, self._pool).launch()
        main = self._streams[0]
        main.begin_capture(self._options.mode, self._pool)
        try:
            launch.put_on(self._device, self._streams)
        finally:
            graph = main.end_capture()
        launch.share_memory()
        self._launch, self._graph = launch, graph

    def close(self) -> None:
        """Destroy the graph."""
        if self._graph is not None:
            self._graph.destroy()
        self._graph = self._launch = None


@cache
def device_named(name: str) -> _native.runtime.Device:
    """The device of that name; there is one of each in the process."""
    return _native.runtime.Device(name)


def moved_places(addresses: Sequence[int], before: Sequence[int]) -> list[int]:
    """Where the addresses are others than before."""
    pairs = zip(addresses, before, strict=True)
    return [place for place, (new, old) in enumerate(pairs) if new != old]


def refused(error: _native.runtime.DeviceError) -> EngineError:
    """The error of a device as one for the user."""
    code, name, text = error.args
    return EngineError(
        f"the device refused a captured graph: {text}",
        found=f"{name} ({code})",
        hint="config.debug.run_eagerly = True runs the same calls without a capture",
    )
