"""What a compiled graph returns: computed tensors, inputs themselves, views of inputs, or sizes.

Outputs that need no computation never enter the graph: an input that is returned (a saved
activation) is the same Python object, a view of an input is made with ``as_strided`` per call, and
symbolic sizes are evaluated from the inputs' sizes.
"""

from __future__ import annotations

import operator
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import sympy
import torch
from torch.fx import GraphModule, Node
from torch.utils._sympy.interp import sympy_interp
from torch.utils._sympy.reference import PythonReferenceAnalysis

from torchair.errors import EngineError, UnsupportedOpError
from torchair.frontend.fake_types import tensor_type


class SymbolTable:
    """Where each symbol's value is found among the runtime arguments."""

    def __init__(self, placeholders: Sequence[Node]) -> None:
        self._places: dict[sympy.Symbol, tuple[int, int | None]] = {}
        values = [node.meta.get("val") for node in placeholders]
        for index, value in enumerate(values):
            if isinstance(value, torch.Tensor):
                for dim, size in enumerate(value.shape):
                    self._add(size, (index, dim))
        for index, value in enumerate(values):
            self._add(value, (index, None))

    def _add(self, size: Any, place: tuple[int, int | None]) -> None:
        """Note where a plain symbol is found; size arguments win over dimensions."""
        expression = size.node.expr if isinstance(size, torch.SymInt) else None
        if isinstance(expression, sympy.Symbol) and (
            place[1] is None or expression not in self._places
        ):
            self._places[expression] = place

    def knows(self, expression: sympy.Expr) -> bool:
        """Whether every symbol of an expression can be read from the arguments."""
        return all(symbol in self._places for symbol in expression.free_symbols)

    def evaluate(self, value: Any, arguments: Sequence[Any]) -> Any:
        """Value of an int or symbolic number for these arguments."""
        if not isinstance(value, torch.SymInt | torch.SymFloat | torch.SymBool):
            return value
        expression = value.node.expr
        if isinstance(expression, sympy.Symbol):
            return self._read(expression, arguments)
        known = {s: self._read(s, arguments) for s in expression.free_symbols}
        if isinstance(value, torch.SymInt):
            return _integer(expression, tuple(known.items()))
        return sympy_interp(PythonReferenceAnalysis, known, expression)

    def _read(self, symbol: Any, arguments: Sequence[Any]) -> Any:
        index, dim = self._places[symbol]
        return arguments[index] if dim is None else arguments[index].shape[dim]


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
class Symbolic:
    """A number that follows from the arguments' sizes, or a constant (None included)."""

    value: Any


Output = Computed | PassedThrough | ViewOfInput | Symbolic


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
        sizes = [self.symbols.evaluate(s, arguments) for s in entry.size]
        strides = [self.symbols.evaluate(s, arguments) for s in entry.stride]
        offset = self.symbols.evaluate(entry.offset, arguments)
        return _view(arguments[entry.index], sizes, strides, offset)


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
    """Decide for every output of an FX graph how it is produced."""
    nodes = list(graph_module.graph.nodes)
    placeholders = [n for n in nodes if n.op == "placeholder"]
    positions = {node: i for i, node in enumerate(placeholders)}
    symbols = SymbolTable(placeholders)
    mutated = {n.args[0] for n in nodes if n.target is torch.ops.aten.copy_.default and n.args}
    bases = _bases(placeholders, positions, mutated)
    returned = nodes[-1].args[0]
    items = returned if isinstance(returned, list | tuple) else (returned,)
    plan = OutputPlan([], [], symbols)
    slots: dict[Node, int] = {}
    for item in items:
        plan.entries.append(_plan_one(item, positions, bases, plan, slots))
    return plan


def _bases(
    placeholders: list[Node], positions: dict[Node, int], mutated: set[Any]
) -> dict[int, int]:
    """Storage of each input that is not written -> its position."""
    found: dict[int, int] = {}
    for node in placeholders:
        value = node.meta.get("val")
        if isinstance(value, torch.Tensor) and node not in mutated:
            found.setdefault(value.untyped_storage()._cdata, positions[node])
    return found


def _plan_one(
    item: Any,
    positions: dict[Node, int],
    bases: dict[int, int],
    plan: OutputPlan,
    slots: dict[Node, int],
) -> Output:
    if not isinstance(item, Node):
        return Symbolic(item)
    if item in positions:
        return PassedThrough(positions[item])
    value = item.meta.get("val")
    if value is None or _is_token(item):
        return Symbolic(None)
    if isinstance(value, torch.SymInt | torch.SymFloat | torch.SymBool):
        if plan.symbols.knows(value.node.expr):
            return Symbolic(value)
    elif not isinstance(value, torch.Tensor):
        return Symbolic(value)
    else:
        view = _view_entry(value, bases, positions, plan.symbols)
        if view is not None:
            return view
    index = slots.setdefault(item, len(slots))
    if index == len(plan.computed):
        plan.computed.append(item)
    return Computed(index, not isinstance(value, torch.Tensor))


def _is_token(node: Node) -> bool:
    """Whether a result only orders effects; whoever called the graph drops it."""
    if node.target is not operator.getitem or node.args[1] != 0:
        return False
    source = node.args[0]
    return isinstance(source, Node) and source.target is torch.ops.higher_order.with_effects


def _view_entry(
    value: torch.Tensor, bases: dict[int, int], positions: dict[Node, int], symbols: SymbolTable
) -> ViewOfInput | None:
    """The output as a view of an input, when it shares storage and type with one.

    Raises:
        UnsupportedOpError: the output is sparse, or the place of the view depends on data.
    """
    tensor_type(value)  # refuses what the IR has no type for
    index = bases.get(value.untyped_storage()._cdata)
    if index is None:
        return None
    base = next(n for n, i in positions.items() if i == index).meta["val"]
    if base.dtype != value.dtype or value.is_conj() or value.is_neg():
        return None
    offset = value.storage_offset() - base.storage_offset()
    entry = ViewOfInput(index, tuple(value.shape), tuple(value.stride()), offset)
    numbers = [*entry.size, *entry.stride, offset]
    symbolic = [n for n in numbers if isinstance(n, torch.SymInt)]
    if not all(symbols.knows(n.node.expr) for n in symbolic):
        raise UnsupportedOpError(
            "an output is a view of an input whose place depends on tensor data",
            found=f"size {list(value.shape)}, strides {list(value.stride())}, offset {offset}",
            hint="return a copy (.clone()) instead of the view",
        )
    return entry
