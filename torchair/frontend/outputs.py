"""What a compiled graph returns: computed tensors, inputs themselves, views of inputs, or sizes.

Outputs that need no computation never enter the graph: an input that is returned (a saved
activation) is the same Python object, a view of an input is made with ``as_strided`` per call, and
symbolic sizes are evaluated from the inputs' sizes.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any

import sympy
import torch
from torch.fx import GraphModule, Node
from torch.fx.node import map_aggregate
from torch.utils._sympy.interp import sympy_interp
from torch.utils._sympy.reference import PythonReferenceAnalysis

from torchair.errors import EngineError, UnsupportedOpError
from torchair.frontend.fake_types import tensor_type


class SymbolTable:
    """Where each symbol's value is found among the runtime arguments."""

    def __init__(self, placeholders: Sequence[Node]) -> None:
        self._readers: dict[sympy.Symbol, Callable[[Sequence[Any]], Any]] = {}
        values = [node.meta.get("val") for node in placeholders]
        for index, value in enumerate(values):
            self._add(value, partial(_argument, index))
        tensors = [(i, v) for i, v in enumerate(values) if isinstance(v, torch.Tensor)]
        for index, value in tensors:
            for dim, size in enumerate(value.shape):
                self._add(size, partial(_size, index, dim))
        for index, value in tensors:
            if value.layout is torch.strided:
                for dim, stride in enumerate(value.stride()):
                    self._add(stride, partial(_stride, index, dim))
                self._add(value.storage_offset(), partial(_offset, index))

    def _add(self, number: Any, reader: Callable[[Sequence[Any]], Any]) -> None:
        """Note where a plain symbol is found; the first place stays."""
        expression = number.node.expr if isinstance(number, torch.SymInt) else None
        if isinstance(expression, sympy.Symbol):
            self._readers.setdefault(expression, reader)

    def knows(self, expression: sympy.Expr) -> bool:
        """Whether every symbol of an expression can be read."""
        return all(symbol in self._readers for symbol in expression.free_symbols)

    def evaluate(self, value: Any, arguments: Sequence[Any]) -> Any:
        """Value of an int or symbolic number for these arguments."""
        if not isinstance(value, torch.SymInt | torch.SymFloat | torch.SymBool):
            return value
        expression = value.node.expr
        known = {s: self._readers[s](arguments) for s in expression.free_symbols}
        if isinstance(expression, sympy.Symbol):
            return known[expression]
        if isinstance(value, torch.SymInt):
            return _integer(expression, tuple(known.items()))
        return sympy_interp(PythonReferenceAnalysis, known, expression)


def _argument(index: int, arguments: Sequence[Any]) -> Any:
    return arguments[index]


def _size(index: int, dim: int, arguments: Sequence[Any]) -> int:
    return arguments[index].shape[dim]


def _stride(index: int, dim: int, arguments: Sequence[Any]) -> int:
    return arguments[index].stride(dim)


def _offset(index: int, arguments: Sequence[Any]) -> int:
    return arguments[index].storage_offset()


@lru_cache(4096)
def _integer(expression: sympy.Expr, known: tuple[tuple[sympy.Symbol, int], ...]) -> int:
    """Value of an expression of sizes, maxima and truncated quotients included."""
    value: Any = expression.xreplace({s: sympy.Integer(v) for s, v in known})
    return int(value)


@dataclass(frozen=True, slots=True)
class Computed:
    """The ``index``-th output of the engine; ``scalar`` converts a 0-d tensor to a Python
    number."""

    index: int
    scalar: bool = False


@dataclass(frozen=True, slots=True)
class PassedThrough:
    """The runtime argument itself."""

    index: int


@dataclass(frozen=True, slots=True)
class ViewOfInput:
    """A strided view of a runtime argument; sizes may be symbolic."""

    index: int
    size: tuple[Any, ...]
    stride: tuple[Any, ...]
    offset: Any


@dataclass(frozen=True, slots=True)
class ReplayedView:
    """Views of a runtime argument, one of another: their places depend on tensor data.

    Args:
        index: the argument.
        steps: the calls; ``Computed``, ``PassedThrough`` and ``Symbolic`` stand for numbers.
    """

    index: int
    steps: tuple[tuple[Any, tuple[Any, ...], dict[str, Any]], ...]


@dataclass(frozen=True, slots=True)
class Symbolic:
    """A number that follows from the arguments' sizes, or a constant (None included)."""

    value: Any


Output = Computed | PassedThrough | ViewOfInput | ReplayedView | Symbolic


@dataclass
class OutputPlan:
    """How the results of a call are assembled.

    Args:
        entries: one per result.
        computed: nodes the engine must return, in order.
        symbols: evaluates sizes.
    """

    entries: list[Output]
    computed: list[Node]
    symbols: SymbolTable

    def assemble(self, arguments: Sequence[Any], results: Sequence[torch.Tensor]) -> list[Any]:
        """Results of one call."""
        return [self._one(entry, arguments, results) for entry in self.entries]

    def _one(self, entry: Output, arguments: Sequence[Any], results: Sequence[Any]) -> Any:
        if isinstance(entry, Computed):
            return results[entry.index].item() if entry.scalar else results[entry.index]
        if isinstance(entry, PassedThrough):
            return arguments[entry.index]
        if isinstance(entry, Symbolic):
            return self.symbols.evaluate(entry.value, arguments)
        if isinstance(entry, ReplayedView):
            return self._replay(entry, arguments, results)
        sizes = [self.symbols.evaluate(s, arguments) for s in entry.size]
        strides = [self.symbols.evaluate(s, arguments) for s in entry.stride]
        offset = self.symbols.evaluate(entry.offset, arguments)
        return _view(arguments[entry.index], sizes, strides, offset)

    def _replay(self, entry: ReplayedView, arguments: Sequence[Any], results: Sequence[Any]) -> Any:
        def number(value: Any) -> Any:
            is_entry = isinstance(value, Computed | PassedThrough | Symbolic)
            return self._one(value, arguments, results) if is_entry else value

        value = arguments[entry.index]
        with torch.no_grad():
            for target, args, kwargs in entry.steps:
                given = map_aggregate(args, number), map_aggregate(kwargs, number)
                value = target(value, *given[0], **given[1])
        return value


def _view(base: torch.Tensor, sizes: list[int], strides: list[int], offset: int) -> torch.Tensor:
    if max([0, *sizes]) and 0 not in sizes:
        last = offset + sum(
            (size - 1) * stride for size, stride in zip(sizes, strides, strict=True)
        )
        if last * base.element_size() >= base.untyped_storage().nbytes():
            raise EngineError("an output is a view that its input is too small for")
    with torch.no_grad():
        return base.as_strided(sizes, strides, base.storage_offset() + offset)


def plan_outputs(graph_module: GraphModule) -> OutputPlan:
    """Decide for every output of an FX graph how it is produced.

    Raises:
        UnsupportedOpError: an output is sparse, or a view whose place nobody can tell.
    """
    return _Planner(list(graph_module.graph.nodes)).run()


_COPY = torch.ops.aten.copy_.default


class _Planner:
    """The inputs of a graph, and the results that the engine is asked for so far."""

    def __init__(self, nodes: list[Node]) -> None:
        placeholders = [n for n in nodes if n.op == "placeholder"]
        self.values: list[Any] = [n.meta.get("val") for n in placeholders]
        self.positions = {node: i for i, node in enumerate(placeholders)}
        symbols = SymbolTable(placeholders)
        self.plan = OutputPlan([], [], symbols)
        self.slots: dict[Node, int] = {}
        self.returned = nodes[-1].args[0]
        written: list[Any] = [n.args[0] for n in nodes if n.target is _COPY and n.args]
        mutated = set(written)
        self.bases: dict[int, int] = {}
        for node, value in zip(placeholders, self.values, strict=True):
            if isinstance(value, torch.Tensor) and node not in mutated:
                storage = value.untyped_storage()._cdata
                self.bases.setdefault(storage, self.positions[node])

    def run(self) -> OutputPlan:
        items = self.returned if isinstance(self.returned, list | tuple) else (self.returned,)
        self.plan.entries = [self._plan_one(item) for item in items]
        return self.plan

    def _plan_one(self, item: Any) -> Output:
        if not isinstance(item, Node):
            return Symbolic(item)
        if item in self.positions:
            return PassedThrough(self.positions[item])
        value = item.meta.get("val")
        if value is None or _is_token(item):
            return Symbolic(None)
        if isinstance(value, torch.SymInt | torch.SymFloat | torch.SymBool):
            if self.plan.symbols.knows(value.node.expr):
                return Symbolic(value)
        elif not isinstance(value, torch.Tensor):
            return Symbolic(value)
        else:
            view = self._view_entry(item, value)
            if view is not None:
                return view
        return Computed(self._slot(item), not isinstance(value, torch.Tensor))

    def _slot(self, node: Node) -> int:
        """Which of the engine's results a node is."""
        slot = self.slots.setdefault(node, len(self.slots))
        if slot == len(self.plan.computed):
            self.plan.computed.append(node)
        return slot

    def _view_entry(self, item: Node, value: torch.Tensor) -> ViewOfInput | ReplayedView | None:
        """The output as a view of an input, when it shares storage and type with one."""
        tensor_type(value)  # refuses what the IR has no type for
        index = self.bases.get(value.untyped_storage()._cdata)
        if index is None:
            return None
        base = self.values[index]
        if base.dtype != value.dtype or value.is_conj() or value.is_neg():
            return None
        offset = value.storage_offset() - base.storage_offset()
        entry = ViewOfInput(index, tuple(value.shape), tuple(value.stride()), offset)
        numbers = [*entry.size, *entry.stride, offset]
        symbolic = [n for n in numbers if isinstance(n, torch.SymInt)]
        if all(self.plan.symbols.knows(n.node.expr) for n in symbolic):
            return entry
        return self._replayed(item)

    def _number(self, value: Any) -> Any:
        return self._plan_one(value) if isinstance(value, Node) else value

    def _replayed(self, item: Node) -> ReplayedView:
        """The view operators between an input and an output."""
        steps: list[tuple[Any, tuple[Any, ...], dict[str, Any]]] = []
        node = item
        while node not in self.positions:
            source = node.args[0] if node.args else None
            is_view = node.target is operator.getitem or getattr(node.target, "is_view", False)
            if not is_view or not isinstance(source, Node):
                raise UnsupportedOpError(
                    "an output is a view of an input whose place depends on tensor data",
                    found=f"{item.name}, made by {node.target}",
                    hint="return a copy (.clone()) instead of the view",
                )
            numbers: Any = (node.args[1:], dict(node.kwargs))
            args, kwargs = map_aggregate(numbers, self._number)
            steps.append((node.target, args, kwargs))
            node = source
        return ReplayedView(self.positions[node], tuple(reversed(steps)))


def _is_token(node: Node) -> bool:
    """Whether a result only orders effects; whoever called the graph drops it."""
    if node.target is not operator.getitem or node.args[1] != 0:
        return False
    source = node.args[0]
    return isinstance(source, Node) and source.target is torch.ops.higher_order.with_effects
