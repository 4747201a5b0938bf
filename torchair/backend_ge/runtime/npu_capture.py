"""Captures a trace on an NPU: torch's operators run once, on streams that record them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from torchair import _native
from torchair.backend_ge.host.trace import AtenCall, Slot, Trace
from torchair.backend_ge.runtime.aten_graph import Argument, AtenGraph, Call
from torchair.backend_ge.runtime.npu_device import NpuDevice, NpuMemory, below_autograd
from torchair.backend_ge.runtime.npu_updates import UpdatedCall, prepare_update
from torchair.backend_ge.runtime.reinplace import slots_in
from torchair.backend_ge.runtime.specialise import TensorSpec, call_error, flat_results
from torchair.backend_ge.runtime.update_slots import site_of
from torchair.errors import EngineError, TorchairError

_SITE = "torchair_updates::call"


@dataclass(slots=True)
class NpuCapture:
    """A captured graph with what it needs to live.

    Args:
        graph: None when there is nothing to run.
        outputs: what a replay writes, or inputs and constants.
        updates: calls whose numbers change.
        kept: tensors whose memory the graph uses.
    """

    graph: _native.runtime.Graph | None
    outputs: list[torch.Tensor]
    updates: list[UpdatedCall] = field(default_factory=list[UpdatedCall])
    kept: list[torch.Tensor] = field(default_factory=list[torch.Tensor])


def capture_on_npu(
    graph: AtenGraph,
    trace: Trace,
    arguments: Sequence[torch.Tensor],
    device: NpuDevice,
    streams: Sequence[Any],
    memory: NpuMemory,
    mode: str,
) -> NpuCapture:
    """Run the calls of a trace once, captured.

    Args:
        graph: what was traced, for messages.
        trace: the calls.
        arguments: its inputs; the graph keeps and uses them.
        device: the NPU.
        streams: of torch, one per stream of the trace.
        memory: where operators allocate.
        mode: ``global``, ``thread_local`` or ``relaxed``.

    Raises:
        EngineError: a call cannot be captured, or failed; names the operator and the source line.
        DeviceError: the device refused.
    """
    _refuse_random_numbers(graph, trace)
    walk = _Walk(graph, trace, arguments, device, streams)
    if not trace.calls:
        return NpuCapture(None, walk.outputs())
    main = device.native(streams[0])
    with torch.no_grad(), memory.allocating(), below_autograd():
        main.begin_capture(mode)
        try:
            walk.run()
            captured = main.end_capture()
        except BaseException:
            _abandon(main)
            raise
        outputs = walk.outputs()
    for update in walk.updates:
        update.note_captured()
    kept = [*arguments, *trace.constants.values(), *walk.kept]
    return NpuCapture(captured, outputs, walk.updates, kept)


def _abandon(stream: _native.runtime.Stream) -> None:
    """End a capture that failed; its first error is on its way."""
    try:
        stream.end_capture()
    except _native.runtime.DeviceError:
        return  # the capture is over in any case


def check_inputs(inputs: Mapping[Argument, TensorSpec], device: NpuDevice) -> None:
    """Refuse an input that lies elsewhere: a replay would use the values of the capture.

    Raises:
        EngineError: naming it.
    """
    for argument, spec in inputs.items():
        if spec.device.type != device.type or spec.device.index not in (None, device.index):
            raise EngineError(
                f"the {argument.kind} '{argument.label}' of a graph that is captured on an NPU "
                "does not lie there",
                expected=f"{device.type}:{device.index}",
                found=str(spec.device),
                hint="move it to the NPU before the call, or set config.engine = 'host' for a "
                "model on the CPU",
            )


def _refuse_random_numbers(graph: AtenGraph, trace: Trace) -> None:
    for call in trace.calls:
        if torch.Tag.nondeterministic_seeded in call.op.tags:
            source = _call_of(graph, call)
            raise EngineError(
                f"{source.name} draws random numbers, and a replay would draw the same ones",
                op=source.origin or source.name,
                loc=source.source,
                hint="config.debug.run_eagerly = True, or leave the call outside the compiled "
                "region",
            )


def _call_of(graph: AtenGraph, call: AtenCall) -> Call:
    return graph.calls[min(call.origin, len(graph.calls) - 1)]


class _Walk:
    """The values of a trace while its calls run.

    A value is let go after its last use, so that later calls of its stream take its memory. One
    that several streams use is kept: the allocator knows only the stream that it was made on.
    """

    def __init__(
        self,
        graph: AtenGraph,
        trace: Trace,
        arguments: Sequence[torch.Tensor],
        device: NpuDevice,
        streams: Sequence[Any],
    ) -> None:
        self._graph, self._trace, self._device, self._streams = graph, trace, device, streams
        given = zip(trace.inputs, arguments, strict=False)
        self._values = {slot: tensor.detach() for slot, tensor in given}
        self._values.update(trace.constants)
        self._last = _last_uses(trace)
        self._events: dict[int, _native.runtime.Event] = {}
        self._users: dict[int, set[int]] = {}
        self.kept: list[torch.Tensor] = []
        self.updates: list[UpdatedCall] = []

    def run(self) -> None:
        """Make all calls. Side streams begin after the first stream, and lead back to it."""
        for stream in self._streams[1:]:
            self._device.order(self._streams[0], stream)
        for index, call in enumerate(self._trace.calls):
            self._make(call)
            for slot in self._last.get(index, ()):
                self._let_go(slot)
        for stream in self._streams[1:]:
            self._device.order(stream, self._streams[0])

    def outputs(self) -> list[torch.Tensor]:
        """Values of the outputs."""
        return [self._values[slot] for slot in self._trace.outputs]

    def _make(self, call: AtenCall) -> None:
        stream = self._streams[call.stream]
        for event in call.waits:
            self._device.native(stream).wait(self._events[event])
        try:
            with self._device.on(stream):
                results = self._results(call, stream)
            native = self._device.native(stream)
        except TorchairError:
            raise
        except _native.runtime.DeviceError:
            raise
        except Exception as error:
            source = _call_of(self._graph, call)
            raise call_error(source, error, "failed while it was captured") from error
        for slot, value in zip(call.results, results, strict=False):
            if slot is not None:
                self._values[slot] = value
        self._note_users(call)
        for event in call.records:
            self._events[event] = self._device.make_event()
            native.record(self._events[event])

    def _results(self, call: AtenCall, stream: Any) -> list[Any]:
        args = [_fill(item, self._values) for item in call.args]
        if call.op._schema.name == _SITE:
            return self._make_updatable(args[1], args[0], stream)
        kwargs = {name: _fill(item, self._values) for name, item in call.kwargs.items()}
        return flat_results(call.op(*args, **kwargs))

    def _make_updatable(
        self, number: int, tensors: list[torch.Tensor], stream: Any
    ) -> list[torch.Tensor]:
        update = prepare_update(site_of(number), tensors)
        self._device.native(stream).begin_task_group()
        update.launch()
        update.group = self._device.native(stream).end_task_group()
        self.updates.append(update)
        return update.results

    def _note_users(self, call: AtenCall) -> None:
        if len(self._streams) == 1:
            return
        for slot in slots_in([call.args, call.kwargs, call.results]):
            self._users.setdefault(_memory_of(self._values[slot]), set()).add(call.stream)

    def _let_go(self, slot: Slot) -> None:
        value = self._values.pop(slot)
        if len(self._users.get(_memory_of(value), ())) > 1:
            self.kept.append(value)


def _last_uses(trace: Trace) -> dict[int, list[Slot]]:
    """Slots that nobody needs after a call, by the call's index."""
    last: dict[Slot, int] = {}
    for index, call in enumerate(trace.calls):
        last.update((slot, index) for slot in slots_in([call.args, call.kwargs, call.results]))
    staying = {*trace.outputs, *trace.inputs, *trace.constants}
    found: dict[int, list[Slot]] = {}
    for slot, index in last.items():
        if slot not in staying:
            found.setdefault(index, []).append(slot)
    return found


def _memory_of(tensor: torch.Tensor) -> int:
    return tensor.untyped_storage()._cdata


def _fill(item: Any, values: dict[Slot, torch.Tensor]) -> Any:
    if isinstance(item, Slot):
        return values[item]
    if isinstance(item, list | tuple):
        return [_fill(part, values) for part in item]
    return item
