"""One capture: a program, and where each of its inputs lies when it is replayed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from torchair.backend_ge.host.program import Program, ProgramError
from torchair.backend_ge.runtime.aten_graph import AtenGraph
from torchair.backend_ge.runtime.capture_key import CaptureKey
from torchair.backend_ge.runtime.device_replay import (
    DeviceOptions,
    DeviceReplay,
    InlineReplay,
    Replayer,
)
from torchair.backend_ge.runtime.npu_capture import check_inputs
from torchair.backend_ge.runtime.npu_device import npu_device
from torchair.backend_ge.runtime.npu_replay import NpuReplay
from torchair.backend_ge.runtime.specialise import Specialised, TensorSpec, call_error
from torchair.backend_ge.runtime.staging import StagingPool
from torchair.backend_ge.runtime.update_slots import UpdateSlots
from torchair.errors import EngineError


@dataclass(frozen=True, slots=True)
class CapturePolicy:
    """How a capture treats its inputs and outputs.

    Args:
        stage_inputs: inputs of the user are copied into buffers of the graph before each replay.
        clone_outputs: outputs are copied out of the memory that the capture wrote.
        check: verify every replay: frozen parameters keep their addresses, what a replay must
            refresh is overwritten with poison after it.
        log_statistics: log minimum, maximum, mean and norm of inputs and outputs.
        device: capture on streams of a device, whose replays overwrite the outputs of the one
            before on an NPU; None replays on the caller's thread.
    """

    stage_inputs: bool = True
    clone_outputs: bool = False
    check: bool = False
    log_statistics: bool = False
    device: DeviceOptions | None = None

    @property
    def is_on_npu(self) -> bool:
        """Whether ACL captures the graph."""
        return self.device is not None and self.device.device == "cann"


class Capture:
    """A captured graph for one key.

    Parameters, inputs that are written and inputs that an output shares memory with are bound: the
    program works on the caller's tensors. Other inputs are staged, if they are dense.

    Args:
        graph: what was captured.
        key: what it was captured for.
        specialised: its program.
        specs: geometry of every argument (a number for a scalar).
        frozen: arguments that are constants of the program.
        slots: numbers that are updated before each replay.
        pool: where staged inputs lie.
        policy: see there.
        on_move: told the names of inputs that have moved, and whether one of them is written.

    Attributes:
        operators: name of every call of a replay, e.g. ``aten::add.Tensor``.
        streams: stream of every call; 0 is the caller's thread.
    """

    def __init__(
        self,
        graph: AtenGraph,
        key: CaptureKey,
        specialised: Specialised,
        specs: Sequence[Any],
        frozen: dict[int, torch.Tensor],
        slots: UpdateSlots,
        pool: StagingPool,
        policy: CapturePolicy,
        on_move: Callable[[list[str], bool], None],
    ) -> None:
        self.key = key
        self._on_move = on_move
        self.operators, self.streams = specialised.operators, specialised.streams
        self._graph = graph
        self._positions = specialised.positions
        self._frozen = {index: (tensor, tensor.data_ptr()) for index, tensor in frozen.items()}
        self._slots = slots
        self._pool = pool
        self._policy = policy
        if policy.is_on_npu:
            arguments = {graph.arguments[i]: specs[i] for i in self._positions} | {
                graph.arguments[i]: TensorSpec.of(tensor) for i, tensor in frozen.items()
            }
            check_inputs(arguments, npu_device())
        staged = [
            place
            for place, index in enumerate(self._positions)
            if policy.stage_inputs and self._may_stage(index, specialised, specs[index])
        ]
        self._staged = [(place, self._positions[place]) for place in staged]
        self._buffers = pool.place([specs[index] for _, index in self._staged]) if staged else []
        self._replayer = self._make_replayer(specialised)
        self._scope = self._replayer.scope if isinstance(self._replayer, NpuReplay) else None
        self._is_exclusive = bool(staged) or bool(slots.decided.uses) or policy.device is not None
        self._is_running = self._is_closed = False

    def _make_replayer(self, specialised: Specialised) -> Replayer:
        options, trace = self._policy.device, specialised.trace
        if options is None:
            return InlineReplay(Program(trace, arena=self._pool.arena))
        places = enumerate(self._positions)
        written = [place for place, index in places if index in specialised.written]

        def on_move(moved: list[int]) -> None:
            names = [self._graph.arguments[self._positions[place]].label for place in moved]
            self._on_move(names, not set(moved).isdisjoint(written))

        if self._policy.is_on_npu:
            memory = self._pool.npu_memory()
            return NpuReplay(self._graph, trace, written, npu_device(), memory, options, on_move)
        pool = self._pool.device_pool(options.device)
        return DeviceReplay(Program(trace), written, pool, options, on_move)

    def _may_stage(self, index: int, specialised: Specialised, spec: TensorSpec) -> bool:
        if self._graph.arguments[index].is_weight or specialised.fixed_layout:
            return False
        return spec.is_dense and index not in specialised.written | specialised.escaping

    @property
    def staged_bytes(self) -> int:
        """Bytes that are copied before each replay."""
        return sum(buffer.nbytes for buffer in self._buffers)

    @property
    def staged(self) -> list[str]:
        """Names of the staged inputs."""
        return [self._graph.arguments[index].label for _, index in self._staged]

    def replay(self, inputs: Sequence[Any]) -> list[torch.Tensor] | None:
        """Run once; does nothing and returns None when the capture has been dropped.

        Args:
            inputs: a tensor or number per argument of the graph, of this capture's key.

        Raises:
            EngineError: a call failed, or a check did.
        """
        if self._policy.check:
            self._check_frozen(inputs)
        arguments = [inputs[index] for index in self._positions]
        if not self._is_exclusive:
            return self._run(arguments)
        with self._pool.lock:
            if self._is_closed:
                return None
            if self._scope is None:
                return self._run_staged(arguments, inputs)
            with self._scope():
                return self._run_staged(arguments, inputs)

    def _run_staged(self, arguments: list[torch.Tensor], inputs: Sequence[Any]) -> list[Any]:
        nested, self._is_running = self._is_running, True
        try:
            if self._staged and not nested:  # a graph that calls itself is using the buffers
                self._stage([inputs[index] for _, index in self._staged])
                for (place, _), buffer in zip(self._staged, self._buffers, strict=True):
                    arguments[place] = buffer
            if self._slots.decided.uses:
                scalars = self._slots.decided.slots | self._slots.decided.guards
                self._slots.update({index: inputs[index] for index in scalars})
                arguments += self._slots.inputs()
            return self._run(arguments)
        finally:
            self._is_running = nested
            if self._policy.check and not nested:
                self._poison()

    def _stage(self, given: list[torch.Tensor]) -> None:
        if not torch.is_grad_enabled():
            torch._foreach_copy_(self._buffers, given)  # pyright: ignore
            return
        with torch.no_grad():
            torch._foreach_copy_(self._buffers, given)  # pyright: ignore

    def _run(self, arguments: list[torch.Tensor]) -> list[torch.Tensor]:
        try:
            outputs = self._replayer.run(arguments)
        except ProgramError as error:
            call = self._graph.calls[min(error.origin, len(self._graph.calls) - 1)]
            raise call_error(call, error, "failed") from error
        if self._policy.clone_outputs:
            return _cloned(outputs, arguments)
        return outputs

    def _check_frozen(self, inputs: Sequence[Any]) -> None:
        for index, (_, address) in self._frozen.items():
            if inputs[index].data_ptr() != address:
                named = self._graph.arguments[index].label
                raise EngineError(
                    f"the frozen parameter '{named}' has moved since the graph was captured",
                    expected=f"address {address:#x}",
                    found=f"address {inputs[index].data_ptr():#x}",
                    hint="call torchair.reset() after replacing parameters, or set "
                    "config.experimental_config.frozen_parameter = False",
                )

    def _poison(self) -> None:
        """Fill what the next replay must refresh, so that a replay that does not gives nonsense."""
        self._slots.poison()
        for buffer in self._buffers:
            storage = buffer.untyped_storage()
            start = buffer.storage_offset() * buffer.element_size()
            plain = torch.empty(0, dtype=torch.uint8, device=buffer.device)
            plain.set_(storage, start, (buffer.nbytes,), (1,)).fill_(255)

    def close(self) -> None:
        """Release what the process keeps for this capture."""
        with self._pool.lock:
            self._is_closed = True
            self._slots.close()
            self._replayer.close()


def _cloned(outputs: list[torch.Tensor], inputs: Sequence[torch.Tensor]) -> list[torch.Tensor]:
    """Clones of the outputs that share no memory with an input."""
    shared = {tensor.untyped_storage()._cdata for tensor in inputs}
    with torch.no_grad():
        return [
            tensor if tensor.untyped_storage()._cdata in shared else tensor.clone()
            for tensor in outputs
        ]
