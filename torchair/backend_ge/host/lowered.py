"""A trace whose calls have a route each and whose tensors are numbered values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from torchair.backend_ge.host.aten_schema import schema_of
from torchair.backend_ge.host.call_routes import Constant, ProxyRoute, Route, choose_route
from torchair.backend_ge.host.out_variants import OutCall
from torchair.backend_ge.host.products import RowProduct
from torchair.backend_ge.host.proxy import Proxy, load_proxy
from torchair.backend_ge.host.trace import AtenCall, Slot, Trace

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, slots=True)
class _Target:
    """An out argument: the value of a result that has memory already."""

    value: int


class Values:
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

    def reserve(self) -> int:
        self.count += 1
        return self.count - 1

    def define(self, slot: Slot) -> int:
        return self.bind(slot, self.reserve())

    def bind(self, slot: Slot, value: int) -> int:
        self._slots[slot] = value
        return value

    def is_defined(self, slot: Slot) -> bool:
        return slot in self._slots

    def number(self, operand: object) -> int:
        if isinstance(operand, Constant):
            return self._number_constant(operand)
        if isinstance(operand, _Target):
            return operand.value
        if not isinstance(operand, Slot):
            raise ValueError(f"a tensor argument must be a Slot, found {operand!r}")
        if operand not in self._slots:
            raise ValueError(f"{operand} is used before its definition")
        return self._slots[operand]

    def _number_constant(self, constant: Constant) -> int:
        if constant not in self._added:
            self._added[constant] = self.reserve()
            self.constants.append((self._added[constant], constant.build()))
        return self._added[constant]


@dataclass(slots=True)
class LoweredCall:
    """One call of the trace.

    Args:
        index: of the call in the trace.
        route: how it is made; None when there is nothing to do, because its results are views that
            exist already.
        defined: values of its results, None for one that nobody reads or that keeps the value it
            had.
        results: values of its results after the call, kept ones included.
    """

    index: int
    route: Route | None
    defined: list[int | None]
    results: list[int | None]

    @property
    def operands(self) -> list[int]:
        """Values that it reads or writes in place."""
        return [] if self.route is None else self.route.operands


@dataclass(slots=True)
class Lowered:
    """The calls of a trace, the values of its outputs, and the executor that proxy calls need."""

    values: Values
    calls: list[LoweredCall]
    outputs: list[int]
    nodes: dict[str, int]
    proxy: Proxy | None = None


class Rewrites:
    """What a plan makes of calls.

    Attributes:
        out_calls: calls that write into memory.
        products: those of them that the program computes itself.
        allocated: those of these whose result gets its memory in every run.
        dropped: calls that are not made at all.
    """

    def __init__(self) -> None:
        self.out_calls: dict[int, OutCall] = {}
        self.products: dict[int, RowProduct] = {}
        self.allocated: set[int] = set()
        self.dropped: set[int] = set()


def lower(trace: Trace, rewrites: Rewrites | None = None) -> Lowered:
    """Routes for all calls, with the proxy executor loaded; nodes that torch refuses take others.

    Raises:
        ValueError: the trace is malformed, e.g. uses a slot before its definition.
    """
    refused: set[str] = set()
    while True:
        lowered = _lower(trace, refused, rewrites or Rewrites())
        for call in lowered.calls:
            if isinstance(call.route, ProxyRoute):
                lowered.nodes.setdefault(call.route.node, len(lowered.nodes))
        if not lowered.nodes:
            return lowered
        try:
            lowered.proxy = load_proxy(list(lowered.nodes))
            return lowered
        except RuntimeError:
            newly_refused = {node for node in lowered.nodes if _is_refused(node)}
            if not newly_refused:
                raise
            refused |= newly_refused


def _is_refused(node: str) -> bool:
    try:
        load_proxy([node])
    except RuntimeError:
        return True
    return False


def _lower(trace: Trace, refused_nodes: set[str], rewrites: Rewrites) -> Lowered:
    values = Values(trace)
    calls: list[LoweredCall] = []
    for index, call in enumerate(trace.calls):
        if index in rewrites.dropped:
            defined = _define_results(call, values)
            calls.append(LoweredCall(index, None, defined, defined))
        elif index in rewrites.out_calls:
            calls.append(_lower_out(index, call, rewrites, values, refused_nodes))
        else:
            calls.append(_lower_call(index, call, values, refused_nodes))
    return Lowered(values, calls, [values.number(slot) for slot in trace.outputs], {})


def _lower_call(index: int, call: AtenCall, values: Values, refused_nodes: set[str]) -> LoweredCall:
    route = choose_route(
        call.op, call.args, call.kwargs, len(call.results), values.number, refused_nodes
    )
    defined = _define_results(call, values)
    results = [None if slot is None else values.number(slot) for slot in call.results]
    return LoweredCall(index, route, defined, results)


def _lower_out(
    index: int, call: AtenCall, rewrites: Rewrites, values: Values, refused_nodes: set[str]
) -> LoweredCall:
    """The operands are numbered before the results get their slots, which may be the same."""
    out = rewrites.out_calls[index]
    defined: list[int | None] = [values.reserve() for _ in call.results]
    targets: list[object] = [_Target(value) for value in defined if value is not None]
    args, kwargs = out.variant.arguments(out.args, out.kwargs, targets)
    route = choose_route(out.variant.op, args, kwargs, len(targets), values.number, refused_nodes)
    if isinstance(route, ProxyRoute):
        route.product, route.allocates = rewrites.products.get(index), index in rewrites.allocated
    elif index in rewrites.allocated:  # only a product gives its result memory
        return _lower_call(index, call, values, refused_nodes)
    for slot, value in zip(call.results, defined, strict=True):
        if slot is not None and value is not None:
            values.bind(slot, value)
    return LoweredCall(index, route, defined, defined)


def _define_results(call: AtenCall, values: Values) -> list[int | None]:
    """New values for the results. What a call wrote in place keeps the value it has."""
    returns = schema_of(call.op).returns
    in_place = len(returns) == len(call.results) and [returned.writes for returned in returns]
    return [
        None
        if slot is None or (in_place and in_place[index] and values.is_defined(slot))
        else values.define(slot)
        for index, slot in enumerate(call.results)
    ]


def last_uses(calls: Sequence[LoweredCall]) -> dict[int, list[int]]:
    """Per value, the positions in ``calls`` where it is defined or used, in order."""
    uses: dict[int, list[int]] = {}
    for position, call in enumerate(calls):
        for value in {*call.operands, *(v for v in call.results if v is not None)}:
            uses.setdefault(value, []).append(position)
    return uses
