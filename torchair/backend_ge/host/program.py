"""Native programs: a flat list of traced ATen calls that runs in C++ without Python per call.

``Program(trace)`` chooses a route for every call (call_routes.py), numbers tensors as registers
that are freed at their last use, and hands the result to the native executor.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch.utils._python_dispatch import _disable_current_modes

from torchair import _native
from torchair.backend_ge.host.aten_schema import bind_arguments, schema_of
from torchair.backend_ge.host.call_routes import (
    Constant,
    DispatcherRoute,
    ProxyRoute,
    PythonRoute,
    Route,
    choose_route,
)
from torchair.backend_ge.host.proxy import Proxy, from_capsules, load_proxy, to_capsules

if TYPE_CHECKING:
    from torch._ops import OpOverload

_ROUTE_NAMES = {ProxyRoute: "proxy", DispatcherRoute: "dispatcher", PythonRoute: "python"}


@dataclass(frozen=True, slots=True)
class Slot:
    """A tensor value of a trace."""

    index: int


@dataclass(slots=True)
class AtenCall:
    """One traced call.

    Arguments are nested lists of Slot, numbers, bool, str, None, dtype, layout, device and memory
    format. ``results`` has one entry per tensor result in order, lists flattened; None for a result
    that is undefined or not used. ``origin`` comes back in a ProgramError.
    """

    op: OpOverload
    args: tuple[object, ...]
    kwargs: dict[str, object]
    results: list[Slot | None]
    origin: int


@dataclass(slots=True)
class Trace:
    """A program in the making. Outputs may repeat, and may be inputs or constants."""

    inputs: list[Slot]
    constants: dict[Slot, torch.Tensor]
    calls: list[AtenCall]
    outputs: list[Slot]


class ProgramError(RuntimeError):
    """A call failed. The message has torch's text; ``origin`` is the call's, ``op`` its name."""

    def __init__(self, origin: int, op: str, text: str) -> None:
        super().__init__(f"{op}: {text}")
        self.origin = origin
        self.op = op


class Program:
    """An immutable program. Any number of threads may run it at once, and it may run itself.

    What calls compute never requires grad, whatever the inputs and the grad mode. The caller sees
    writes to inputs as in eager, and autograd counts them. An output that is an input or a constant
    is that very tensor, not a copy.

    Args:
        trace: the calls; not kept.

    Raises:
        ValueError: the trace is malformed, e.g. uses a slot before its definition.

    ``routes`` has the route of every call: "proxy", "dispatcher" or "python".
    """

    def __init__(self, trace: Trace) -> None:
        lowered, proxy, nodes = _lower_and_load(trace)
        self.routes = [_ROUTE_NAMES[type(route)] for route, _ in lowered.calls]
        self._origins = [(call.origin, str(call.op)) for call in trace.calls]
        self._proxy = proxy  # keeps the executor alive
        self._n_inputs = len(trace.inputs)
        self._written_inputs = _written_inputs(trace)
        self._native = _emit(lowered, nodes, proxy)

    def run(self, inputs: Sequence[torch.Tensor]) -> list[torch.Tensor]:
        """Runs the program with the GIL released.

        Raises:
            ValueError: a wrong number of inputs.
            ProgramError: a call failed. Writes to inputs that it or earlier calls made remain.
        """
        inputs = list(inputs)
        if len(inputs) != self._n_inputs:
            raise ValueError(f"the program takes {self._n_inputs} inputs, not {len(inputs)}")
        with ExitStack() as guards:
            guards.enter_context(torch._C._AutoDispatchBelowADInplaceOrView())
            if torch._C._is_any_autocast_enabled():
                guards.enter_context(torch._C._DisableAutocast())
            if torch._C._len_torch_dispatch_stack():
                # AOT watches the first call of a graph with custom operators
                guards.enter_context(_disable_current_modes())
            return from_capsules(self._run_native(inputs))

    def _run_native(self, inputs: list[torch.Tensor]) -> list[_native.Capsule]:
        capsules = to_capsules(inputs)
        try:
            return self._native.run(capsules)
        except _native.OperatorError as error:
            instruction, text = error.args
            origin, op = self._origins[instruction]
            raise ProgramError(origin, op, text) from None
        finally:
            if self._written_inputs:
                self._advance_versions(inputs)

    def _advance_versions(self, inputs: Sequence[torch.Tensor]) -> None:
        """Lets autograd see the writes, which are made below the layer that counts them."""
        for index in self._written_inputs:
            if not inputs[index].is_inference():
                torch.autograd.graph.increment_version(inputs[index])


class _Values:
    """Numbers the tensors of a trace. A slot that is defined again becomes a new value."""

    def __init__(self, trace: Trace) -> None:
        self.count = 0
        self._slots: dict[object, int] = {}
        self._added: dict[Constant, int] = {}
        self.constants: list[tuple[int, torch.Tensor]] = []
        self.inputs = [self.define(slot) for slot in trace.inputs]
        for slot, tensor in trace.constants.items():
            self.constants.append((self.define(slot), tensor))
        if len(self._slots) != self.count:
            raise ValueError("a slot is given twice among inputs and constants")

    def define(self, slot: Slot) -> int:
        self._slots[slot] = self.count
        self.count += 1
        return self._slots[slot]

    def is_defined(self, slot: Slot) -> bool:
        return slot in self._slots

    def number(self, operand: object) -> int:
        if isinstance(operand, Constant):
            return self._number_constant(operand)
        if not isinstance(operand, Slot):
            raise ValueError(f"a tensor argument must be a Slot, found {operand!r}")
        if operand not in self._slots:
            raise ValueError(f"{operand} is used before its definition")
        return self._slots[operand]

    def _number_constant(self, constant: Constant) -> int:
        if constant not in self._added:
            self._added[constant] = self.count
            self.constants.append((self.count, constant.build()))
            self.count += 1
        return self._added[constant]


@dataclass(slots=True)
class _Lowered:
    """Every call with its route and the values of its results."""

    values: _Values
    calls: list[tuple[Route, list[int | None]]]
    outputs: list[int]


def _lower(trace: Trace, refused_nodes: set[str]) -> _Lowered:
    values = _Values(trace)
    calls: list[tuple[Route, list[int | None]]] = []
    for call in trace.calls:
        route = choose_route(
            call.op, call.args, call.kwargs, len(call.results), values.number, refused_nodes
        )
        calls.append((route, _define_results(call, values)))
    return _Lowered(values, calls, [values.number(slot) for slot in trace.outputs])


def _define_results(call: AtenCall, values: _Values) -> list[int | None]:
    """New values for the results. What a call wrote in place keeps the value it has."""
    returns = schema_of(call.op).returns
    in_place = len(returns) == len(call.results) and [returned.writes for returned in returns]
    return [
        None
        if slot is None or (in_place and in_place[index] and values.is_defined(slot))
        else values.define(slot)
        for index, slot in enumerate(call.results)
    ]


def _lower_and_load(trace: Trace) -> tuple[_Lowered, Proxy | None, dict[str, int]]:
    """Lowers the calls and loads their proxy nodes; nodes that torch refuses take other routes."""
    refused: set[str] = set()
    while True:
        lowered = _lower(trace, refused)
        nodes: dict[str, int] = {}
        for route, _ in lowered.calls:
            if isinstance(route, ProxyRoute):
                nodes.setdefault(route.node, len(nodes))
        if not nodes:
            return lowered, None, nodes
        try:
            return lowered, load_proxy(list(nodes)), nodes
        except RuntimeError:
            newly_refused = {node for node in nodes if _is_refused(node)}
            if not newly_refused:
                raise
            refused |= newly_refused


def _is_refused(node: str) -> bool:
    try:
        load_proxy([node])
    except RuntimeError:
        return True
    return False


class _Registers:
    """Places values in registers: inputs, constants, then temporaries, reused when free."""

    def __init__(self, lowered: _Lowered) -> None:
        values = lowered.values
        fixed = values.inputs + [value for value, _ in values.constants]
        self._of = {value: index for index, value in enumerate(fixed)}
        self._first_temporary = len(fixed)
        self._free: list[int] = []
        self._end = len(fixed)
        self._last_use = _last_uses(lowered)
        self._kept = set(lowered.outputs)

    @property
    def n_temporaries(self) -> int:
        return self._end - self._first_temporary

    def of(self, value: int) -> int:
        return self._of[value]

    def take(self, value: int) -> int:
        self._of[value] = self.take_scratch()
        return self._of[value]

    def take_scratch(self) -> int:
        if self._free:
            return self._free.pop()
        self._end += 1
        return self._end - 1

    def release(self, call: int, used: Sequence[int], scratch: Sequence[int]) -> list[int]:
        """The temporaries that nobody reads after this call; they are free from here on."""
        last = {v for v in used if self._last_use[v] == call and v not in self._kept}
        freed = [self._of[v] for v in last if self._of[v] >= self._first_temporary]
        freed.extend(scratch)
        self._free.extend(freed)
        return freed


def _last_uses(lowered: _Lowered) -> dict[int, int]:
    last: dict[int, int] = {}
    for index, (route, results) in enumerate(lowered.calls):
        for value in (*route.operands, *results):
            if value is not None:
                last[value] = index
    return last


def _emit(lowered: _Lowered, nodes: dict[str, int], proxy: Proxy | None) -> _native.Program:
    registers = _Registers(lowered)
    planned: list[tuple[str, tuple[Any, ...]]] = []
    for index, (route, results) in enumerate(lowered.calls):
        operands = [registers.of(value) for value in route.operands]
        targets = [None if value is None else registers.take(value) for value in results]
        scratch: list[int] = []
        if isinstance(route, ProxyRoute):  # the executor needs a place for every result
            unread = [place for place, target in enumerate(targets) if target is None]
            scratch = [registers.take_scratch() for _ in unread]
            for place, register in zip(unread, scratch, strict=True):
                targets[place] = register
        used = [*route.operands, *(value for value in results if value is not None)]
        frees = registers.release(index, used, scratch)
        planned.append(_instruction(route, registers, operands, targets, frees, nodes))
    tensors = [tensor for _, tensor in lowered.values.constants]
    builder = _native.ProgramBuilder(
        len(lowered.values.inputs),
        to_capsules(tensors),
        registers.n_temporaries,
        proxy.handle if proxy is not None else 0,
    )
    for method, arguments in planned:
        getattr(builder, method)(*arguments)
    return builder.build([registers.of(value) for value in lowered.outputs])


def _instruction(
    route: Route,
    registers: _Registers,
    operands: list[int],
    targets: list[int | None],
    frees: list[int],
    nodes: dict[str, int],
) -> tuple[str, tuple[Any, ...]]:
    """The builder method and its arguments."""
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


def _written_inputs(trace: Trace) -> list[int]:
    """Indices of inputs that a call writes to, directly or through views that schemas declare."""
    base: dict[object, object] = {}
    written: set[object] = set()
    for call in trace.calls:
        schema = schema_of(call.op)
        by_alias: dict[str, object] = {}
        for argument in bind_arguments(schema, call.args, call.kwargs):
            if not argument.spec.aliases:
                continue
            roots = [base.get(slot, slot) for slot in _slots_in(argument.value)]
            by_alias.update((alias, root) for alias in argument.spec.aliases for root in roots)
            written.update(roots if argument.spec.writes else ())
        for index, slot in enumerate(call.results):
            returned = schema.returns[min(index, len(schema.returns) - 1)]
            for alias in returned.aliases & by_alias.keys():
                base.setdefault(slot, by_alias[alias])
    return [index for index, slot in enumerate(trace.inputs) if slot in written]


def _slots_in(value: object) -> list[Slot]:
    values = value if isinstance(value, list | tuple) else [value]
    return [slot for slot in values if isinstance(slot, Slot)]
