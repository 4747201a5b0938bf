"""Lowered calls as a native program: values get registers, calls get frees and placements."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import astuple, dataclass, field
from typing import Any

from torchair import _native
from torchair.backend_ge.host.call_routes import ProxyRoute, PythonRoute, Route
from torchair.backend_ge.host.lowered import Lowered, LoweredCall, last_uses
from torchair.backend_ge.host.proxy import to_capsules
from torchair.backend_ge.host.schedule import Schedule, keep_calls

Layout = tuple[int, list[int], list[int]]
"""torch's number of the dtype, sizes and strides in elements."""


@dataclass(slots=True)
class Places:
    """Values whose memory is known before the program runs.

    Args:
        input_layouts: what inputs must look like; empty when any will do.
        arena_bytes: size of the arena.
        arena: value -> (offset in the arena, layout).
        views: value -> (value of an input or constant, offset in bytes, layout).
    """

    input_layouts: list[Layout] = field(default_factory=list[Layout])
    arena_bytes: int = 0
    arena: dict[int, tuple[int, Layout]] = field(default_factory=dict[int, tuple[int, Layout]])
    views: dict[int, tuple[int, int, Layout]] = field(
        default_factory=dict[int, tuple[int, int, Layout]]
    )


@dataclass(slots=True)
class Emitted:
    """A native program.

    Args:
        native: the program.
        calls: per instruction, the call of the trace that it makes.
        results: per instruction, the registers of its results, of those that have one.
    """

    native: _native.Program
    calls: list[int]
    results: list[list[int]]


def emit(
    lowered: Lowered,
    schedule: Schedule,
    places: Places | None = None,
    arena: _native.Arena | None = None,
) -> Emitted:
    """Builds the native program; the memory of ``places`` is in the arena, or its own."""
    places = places or Places()
    made = [call for call in lowered.calls if call.route is not None]
    registers = _Registers(lowered, made, schedule, places)
    placements, n_events = keep_calls(schedule, [call.index for call in made])
    planned = [
        (*_instruction(call, index, registers, lowered.nodes), placements[index])
        for index, call in enumerate(made)
    ]
    builder = _native.ProgramBuilder(
        len(lowered.values.inputs),
        to_capsules([tensor for _, tensor in lowered.values.constants]),
        registers.n_temporaries,
        lowered.proxy.handle if lowered.proxy is not None else 0,
    )
    for method, arguments, placement in planned:
        getattr(builder, method)(*arguments, placement)
    _add_places(builder, registers, places)
    outputs = [registers.of(value) for value in lowered.outputs]
    native = builder.build(outputs, schedule.n_streams, n_events, arena)
    results = [[registers.of(v) for v in call.results if v is not None] for call in made]
    return Emitted(native, [call.index for call in made], results)


class _Registers:
    """Places values in registers: inputs, constants, then temporaries, reused when free."""

    def __init__(
        self,
        lowered: Lowered,
        calls: Sequence[LoweredCall],
        schedule: Schedule,
        places: Places,
    ) -> None:
        values = lowered.values
        fixed = values.inputs + [value for value, _ in values.constants]
        self._of = {value: index for index, value in enumerate(fixed)}
        self._first_temporary = len(fixed)
        self._free: list[int] = []
        self._end = len(fixed)
        self._kept = {*lowered.outputs, *places.arena, *places.views}
        self._reuses = schedule.n_streams == 1
        self._dying = _dying(calls, schedule)
        for value in (*places.arena, *places.views):
            self.take(value)

    @property
    def n_temporaries(self) -> int:
        return self._end - self._first_temporary

    def of(self, value: int) -> int:
        return self._of[value]

    def take(self, value: int) -> int:
        if value not in self._of:
            self._of[value] = self.take_scratch()
        return self._of[value]

    def take_scratch(self) -> int:
        if self._free:
            return self._free.pop()
        self._end += 1
        return self._end - 1

    def release(self, position: int, scratch: Sequence[int]) -> list[int]:
        """The temporaries that nobody reads after this call; they are free from here on."""
        dying = [v for v in self._dying.get(position, []) if v not in self._kept]
        freed = [self._of[v] for v in dying if self._of[v] >= self._first_temporary]
        freed.extend(scratch)
        if self._reuses:
            self._free.extend(freed)
        return freed


def _dying(calls: Sequence[LoweredCall], schedule: Schedule) -> dict[int, list[int]]:
    """Per call, the values that are in nobody's use after it.

    On several streams a value whose uses do not all come before one of them lives to the end of the
    run.
    """
    dying: dict[int, list[int]] = {}
    for value, uses in last_uses(calls).items():
        last = uses[-1]
        index = calls[last].index
        if all(schedule.is_before(calls[use].index, index) for use in uses[:-1]):
            dying.setdefault(last, []).append(value)
    return dying


def _instruction(
    call: LoweredCall, position: int, registers: _Registers, nodes: dict[str, int]
) -> tuple[str, tuple[Any, ...]]:
    """The builder method and its arguments."""
    route = call.route
    assert route is not None, "calls without a route are not emitted"
    defined = [None if value is None else registers.take(value) for value in call.defined]
    operands = [registers.of(value) for value in route.operands]
    targets = defined
    scratch: list[int] = []
    if isinstance(route, ProxyRoute):  # the executor needs a place for every result
        targets = [registers.take_scratch() if t is None else t for t in defined]
        scratch = [t for t, d in zip(targets, defined, strict=True) if d is None]
    frees = registers.release(position, scratch)
    return _arguments(route, registers, operands, targets, frees, nodes)


def _arguments(
    route: Route,
    registers: _Registers,
    operands: list[int],
    targets: list[Any],
    frees: list[int],
    nodes: dict[str, int],
) -> tuple[str, tuple[Any, ...]]:
    if isinstance(route, ProxyRoute) and route.product is not None:
        product = (*astuple(route.product)[:3], route.allocates, route.product.threads)
        return "add_product_call", (nodes[route.node], operands + targets, product, frees)
    if isinstance(route, ProxyRoute):
        return "add_proxy_call", (nodes[route.node], route.ints, operands + targets, frees)
    if isinstance(route, PythonRoute):
        return "add_python_call", (route.function, operands, targets, frees)
    arguments = [_place(argument, registers) for argument in route.arguments]
    n_tensors = route.list_results.count(False)
    remaining = iter(targets)
    results = [
        (is_list, [next(remaining) for _ in range(len(targets) - n_tensors if is_list else 1)])
        for is_list in route.list_results
    ]
    return "add_dispatcher_call", (route.name, route.overload, arguments, results, frees)


def _place(argument: Any, registers: _Registers) -> Any:
    """A native argument tree over registers instead of values."""
    match argument:
        case ("tensor", value):
            return ("tensor", registers.of(value))
        case ("some", inner):
            return ("some", _place(inner, registers))
        case ("list", items):
            return ("list", [_place(item, registers) for item in items])
        case _:
            return argument


def _add_places(builder: _native.ProgramBuilder, registers: _Registers, places: Places) -> None:
    for layout in places.input_layouts:
        builder.add_input_layout(layout)
    builder.set_arena(places.arena_bytes)
    for value, (offset, layout) in places.arena.items():
        builder.add_arena_tensor(registers.of(value), offset, layout)
    for value, (base, offset, layout) in places.views.items():
        builder.add_view(registers.of(value), registers.of(base), offset, layout)
