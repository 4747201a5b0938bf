"""Aten graph -> native program, for one set of input shapes, strides and guarded host values."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch._subclasses.fake_tensor import (
    DataDependentOutputException,
    DynamicOutputShapeException,
)

from torchair.backend_ge.host.program import Trace
from torchair.backend_ge.host.tracing import Tracer, active, real_execution
from torchair.backend_ge.runtime.aten_graph import AtenGraph, Call, fill
from torchair.backend_ge.runtime.fold import fold, written_slots
from torchair.backend_ge.runtime.placement import place_on_streams
from torchair.backend_ge.runtime.reinplace import Storages, reinplace
from torchair.backend_ge.runtime.update_slots import UpdateSlots
from torchair.errors import EngineError, TorchairError

_VIEWS = ("aten.view", "aten._unsafe_view")
Composite = Callable[[Any], Callable[..., Any] | None]
"""From a torch operator to a function that computes it by others, or None."""


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """Geometry of a tensor input: what a program depends on."""

    shape: tuple[int, ...]
    strides: tuple[int, ...]
    dtype: torch.dtype
    device: torch.device = torch.device("cpu")  # noqa: RUF009

    @staticmethod
    def of(tensor: torch.Tensor) -> TensorSpec:
        """The geometry of a real tensor."""
        return TensorSpec(tuple(tensor.shape), tensor.stride(), tensor.dtype, tensor.device)

    def make(self) -> torch.Tensor:
        """An uninitialised tensor of this geometry."""
        return torch.empty_strided(self.shape, self.strides, dtype=self.dtype, device=self.device)

    @property
    def elements(self) -> int:
        """Number of elements."""
        return math.prod(self.shape)

    @property
    def is_dense(self) -> bool:
        """Whether its elements fill one stretch of memory without gaps or overlaps."""
        expected = 1
        for stride, size in sorted(zip(self.strides, self.shape, strict=True)):
            if size != 1 and stride != expected:
                return False
            expected *= size
        return 0 not in self.shape


@dataclass(slots=True)
class SpecialiseOptions:
    """What shapes a program besides its inputs.

    Args:
        frozen: arguments whose tensors become constants of the program.
        slots: arguments and calls that are updated before each replay.
        strides: wanted strides of each output; None leaves an output as it is.
        composite: operators that are traced into others.
        reinplace_values: values that nobody reads afterwards are written in place.
    """

    frozen: Mapping[int, torch.Tensor] = field(default_factory=dict[int, torch.Tensor])
    slots: UpdateSlots | None = None
    strides: Sequence[tuple[int, ...] | None] = ()
    composite: Composite = lambda op: None
    reinplace_values: bool = True


@dataclass(frozen=True, slots=True)
class Specialised:
    """A program and what it does to its inputs.

    Args:
        trace: the calls; takes the tensors of ``positions``, then those of the slots.
        positions: arguments that are inputs of the program, in order.
        written: arguments whose memory it writes.
        escaping: arguments whose memory an output shares.
        fixed_layout: whether some call depends on where in its storage an input lies.
        operators: name of every call, e.g. ``aten::add.Tensor``.
        streams: stream of every call.
    """

    trace: Trace
    positions: list[int]
    written: frozenset[int]
    escaping: frozenset[int]
    fixed_layout: bool
    operators: tuple[str, ...]
    streams: tuple[int, ...]


def specialise(
    graph: AtenGraph, inputs: Sequence[TensorSpec | Any], options: SpecialiseOptions
) -> Specialised:
    """Flatten a graph into calls.

    Args:
        graph: the graph.
        inputs: per argument, a ``TensorSpec`` or a Python number.
        options: see there.

    Raises:
        EngineError: a call is illegal for these shapes; names the operator and the source line.
    """
    with real_execution():
        return _finish(*trace_calls(graph, inputs, options))


def trace_calls(
    graph: AtenGraph, inputs: Sequence[TensorSpec | Any], options: SpecialiseOptions
) -> tuple[Trace, Storages, list[int]]:
    """The calls of a program before it is built, arguments as of ``specialise``.

    Returns:
        The trace, which slots share memory, and the arguments that are inputs, in order.
    """
    tracer = Tracer()
    values: dict[int, Any] = {}
    positions: list[int] = []
    with real_execution():
        values.update((n, tracer.fake_of(t)) for n, t in graph.constants.items())
        for index, given in enumerate(inputs):
            frozen = options.frozen.get(index)
            if frozen is not None:
                values[index] = tracer.fake_of(frozen)
            elif isinstance(given, TensorSpec):
                values[index] = _add_input(tracer, given)
                positions.append(index)
            else:
                values[index] = given
        with active(tracer):
            _trace_calls(graph, values, tracer, options)
            tracer.origin = len(graph.calls)
            outputs = list(_own_outputs(graph, values, tracer, options.strides))
        if options.slots is not None:
            options.slots.fold(values)
        trace, storages = tracer.trace(outputs), _storages(tracer)
        for call in trace.calls:
            call.stream = graph.calls[call.origin].stream if call.origin < len(graph.calls) else 0
        if options.reinplace_values:
            reinplace(trace, storages)
        frozen = [tracer.slot_of(values[index]) for index in options.frozen]
        fold(trace, storages, frozenset(frozen))
        place_on_streams(trace.calls, graph)
        return trace, storages, positions


def _add_input(tracer: Tracer, spec: TensorSpec) -> torch.Tensor:
    with tracer.fake_mode:
        fake = spec.make()
    tracer.inputs.append(tracer._bind(fake))
    return fake


def _trace_calls(
    graph: AtenGraph, values: dict[int, Any], tracer: Tracer, options: SpecialiseOptions
) -> None:
    for index, call in enumerate(graph.calls):
        tracer.origin = index
        try:
            if options.slots is not None and options.slots.has_call(index):
                found = options.slots.trace(index, values, tracer)
            else:
                found = _run(call, values, options.composite)
        except TorchairError:
            raise
        except (DataDependentOutputException, DynamicOutputShapeException) as error:
            raise call_error(call, error, "cannot be captured: it depends on data") from error
        except Exception as error:
            raise call_error(call, error, "cannot be captured") from error
        values.update(zip(call.results, flat_results(found), strict=False))


def _run(call: Call, values: dict[int, Any], composite: Composite) -> Any:
    args = [fill(item, values) for item in call.args]
    if call.on_host:
        return call.function(*args)
    kwargs = {name: fill(item, values) for name, item in call.kwargs.items()}
    return _implementation(call, args, composite)(*args, **kwargs)


def _implementation(call: Call, args: list[Any], composite: Composite) -> Callable[..., Any]:
    """What to call. A view of a tensor that allows no view becomes a copy."""
    if call.name in _VIEWS and not args[0].is_contiguous():
        return torch.ops.aten.reshape.default
    return composite(call.function) or call.function


def flat_results(found: Any) -> list[Any]:
    """Results of a call, lists flattened, undefined ones None."""
    if isinstance(found, list | tuple):
        return [value for item in found for value in flat_results(item)]
    return [found]


def call_error(call: Call, error: Exception, what: str) -> EngineError:
    """An EngineError that names the operator and the user's line."""
    return EngineError(
        f"{call.name} {what}: {error}",
        op=call.origin or call.name,
        loc=call.source,
        hint="compare the shapes and dtypes with the eager call at this line",
    )


def _own_outputs(
    graph: AtenGraph,
    values: dict[int, Any],
    tracer: Tracer,
    strides: Sequence[tuple[int, ...] | None],
) -> Iterator[torch.Tensor]:
    """The outputs with the strides that the caller counts on; constants are copied."""
    constants = {_storage(tracer.fake_of(t)) for t in graph.constants.values()}
    for index, result in enumerate(graph.results):
        output = values[result]
        wanted = strides[index] if index < len(strides) else None
        if wanted is not None and not _same_layout(output, wanted):
            like = torch.empty_strided(
                output.shape, wanted, dtype=output.dtype, device=output.device
            )
            output = torch.ops.aten.copy_.default(like, output)
        elif _storage(output) in constants:
            output = torch.clone(output)
        yield output


def _same_layout(tensor: torch.Tensor, strides: tuple[int, ...]) -> bool:
    return tensor.numel() == 0 or all(
        size == 1 or have == want
        for size, have, want in zip(tensor.shape, tensor.stride(), strides, strict=True)
    )


def _finish(trace: Trace, storages: Storages, positions: list[int]) -> Specialised:
    places = {storages.of(slot): p for slot, p in zip(trace.inputs, positions, strict=False)}
    written: set[int] = set()
    fixed_layout = False
    for call in trace.calls:
        fixed_layout |= "as_strided" in call.op._schema.name
        found = map(storages.of, written_slots(call))
        written.update(places[storage] for storage in found if storage in places)
    escaping = {places[s] for s in map(storages.of, trace.outputs) if s in places}
    return Specialised(
        trace,
        positions,
        frozenset(written),
        frozenset(escaping),
        fixed_layout,
        tuple(call.op.name() for call in trace.calls),
        tuple(call.stream for call in trace.calls),
    )


def _storages(tracer: Tracer) -> Storages:
    fakes = {tracer.slots[id(t)]: t for t in tracer._alive if id(t) in tracer.slots}
    fixed = set(tracer.inputs) | set(tracer.constants)
    return Storages(fakes, frozenset(fixed))


def _storage(value: torch.Tensor) -> int:
    return value.untyped_storage()._cdata
