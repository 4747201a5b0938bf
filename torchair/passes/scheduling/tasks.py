"""The tasks of a function and what must be over before each: data, memory, effects, collectives."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field

from xdsl.dialects.builtin import StringAttr
from xdsl.ir import Block, Operation, SSAValue

from torchair.dialects.aten.table import tags
from torchair.dialects.stream import RecordOp, WaitOp, label_of
from torchair.dialects.stream.attributes import has_placement
from torchair.ir.call_verify import operand_counts
from torchair.ir.calls import CallOp
from torchair.ir.private import iter_ops, operands_of

_COLLECTIVE = re.compile(r"(_?c10d_functional|npu_define|mindie_torch)\.|ge\.Hcom(?!Remote|Coll)")
_NOT_COLLECTIVE = re.compile(r"_?c10d_functional\.(_?wait_tensor|_wrap)")
_ALIASES = re.compile(r"_?c10d_functional\._?wait_tensor")
"""Operators beside views whose result is their operand's memory."""
_GROUP_PARAMETERS = ("group_name", "group")


@dataclass(slots=True)
class TaskGraph:
    """The operations of a block in block order, ``stream.record`` and ``stream.wait`` left out.

    Attributes:
        ops: the operations; the last one ends the function.
        before: for each, the earlier operations that must be over when it starts.
        kinds: why, for pairs (earlier, later) that are not a plain use of a result.
        ordered: pairs that events of the module order, which need not be uses at all.
        sizes: pairs of which the first or the second only computes with sizes. The host does that
            before anything runs, so no stream waits for it; the block still has them in order.
    """

    ops: list[Operation] = field(default_factory=list[Operation])
    before: list[list[int]] = field(default_factory=list[list[int]])
    kinds: dict[tuple[int, int], str] = field(default_factory=dict[tuple[int, int], str])
    ordered: list[tuple[int, int]] = field(default_factory=list[tuple[int, int]])
    sizes: list[tuple[int, int]] = field(default_factory=list[tuple[int, int]])

    def require(self, earlier: int, later: int, kind: str) -> None:
        """Add an order that is no plain use."""
        if earlier not in self.before[later]:
            self.before[later].append(earlier)
            self.kinds[earlier, later] = kind


def is_unplaced(block: Block) -> bool:
    """Whether nothing in a block is about streams: one stream, without events or scopes."""
    return not any(
        op.__class__ is RecordOp or (op.attributes and has_placement(op)) for op in iter_ops(block)
    )


def read_tasks(block: Block) -> TaskGraph:
    """Read the tasks of a function's block, with all orders that its results depend on."""
    graph = TaskGraph()
    index: dict[Operation, int] = {}
    impure: list[int] = []
    sizes: set[int] = set()
    events = _Events(graph)
    ops, before = graph.ops, graph.before
    for op in iter_ops(block):
        if op.__class__ is RecordOp or op.__class__ is WaitOp:
            events.note(op)
            continue
        number = len(ops)
        index[op] = number
        ops.append(op)
        producers = [value.owner for value in operands_of(op)]
        earlier = list(dict.fromkeys([index[p] for p in producers if isinstance(p, Operation)]))
        before.append(earlier)
        if is_size(op):
            sizes.add(number)
            graph.sizes += [(source, number) for source in earlier]
            earlier.clear()
        elif sizes and not sizes.isdisjoint(earlier):
            graph.sizes += [(source, number) for source in earlier if source in sizes]
            earlier[:] = [source for source in earlier if source not in sizes]
        events.issue(number, op)
        if (isinstance(op, CallOp) and not op.schema.pure) or _is_named_collective(op):
            impure.append(number)
    if impure:
        _order_effects(graph, impure)
    return graph


class _Events:
    """Turns records and waits into pairs of tasks."""

    def __init__(self, graph: TaskGraph) -> None:
        self.graph = graph
        self.last: dict[str, int] = {}
        self.recorded: dict[SSAValue, int | None] = {}
        self.pending: dict[str, list[int]] = {}

    def note(self, op: Operation) -> None:
        label = label_of(op)
        if isinstance(op, RecordOp):
            self.recorded[op.token] = self.last.get(label)
            return
        sources = [self.recorded[token] for token in op.operands]
        self.pending.setdefault(label, []).extend(s for s in sources if s is not None)

    def issue(self, number: int, op: Operation) -> None:
        label = label_of(op)
        if self.pending:
            for source in self.pending.pop(label, ()):
                self.graph.ordered.append((source, number))
        self.last[label] = number


_SIZES = ("sym.", "aten.sym_")


def is_size(op: Operation) -> bool:
    """Whether an operation computes with sizes only, which the host does."""
    return op.name.startswith(_SIZES)


# ---------------------------------------------------------------- effects


def is_collective(op: Operation) -> bool:
    """Whether an operation communicates with other ranks."""
    return bool(_COLLECTIVE.match(op.name)) and not _NOT_COLLECTIVE.match(op.name)


_collectives: dict[str, bool] = {}


def _is_named_collective(op: Operation) -> bool:
    found = _collectives.get(op.name)
    if found is None:
        found = _collectives[op.name] = is_collective(op)
    return found


def collective_group(op: Operation) -> str:
    """Name of the group that a collective runs in; empty when its operator has none."""
    for name in _GROUP_PARAMETERS:
        value = op.properties.get(name)
        if value is not None:
            return value.data if isinstance(value, StringAttr) else str(value)
    return ""


def written_values(op: Operation) -> list[SSAValue]:
    """The operands whose memory an operation writes."""
    if not isinstance(op, CallOp) or op.schema.pure:
        return []
    found: list[SSAValue] = []
    operands = operands_of(op)
    position = 0
    for parameter, count in zip(op.schema.parameters, operand_counts(op), strict=True):
        if parameter.writes:
            found.extend(operands[position : position + count])
        position += count
    return found


def _order_effects(graph: TaskGraph, impure: list[int]) -> None:
    last: dict[str, int] = {}
    writers: dict[int, list[SSAValue]] = {}
    for number in impure:
        op = graph.ops[number]
        written = written_values(op)
        if written:
            writers[number] = written
        if is_collective(op):
            chain = f"collectives of group '{collective_group(op)}' run in one order"
        elif written:
            continue
        else:
            chain = "effects happen in program order"
        previous = last.get(chain)
        if previous is not None:
            graph.require(previous, number, chain)
        last[chain] = number
    if writers:
        _order_memory(graph, writers)


def _order_memory(graph: TaskGraph, writers: dict[int, list[SSAValue]]) -> None:
    """Readers and writers of one memory keep their order, through all views of it."""
    roots = alias_roots(graph.ops)
    written = {roots.get(value, value) for values in writers.values() for value in values}
    readers: dict[SSAValue, list[int]] = {}
    last_write: dict[SSAValue, int] = {}
    for number, op in enumerate(graph.ops):
        if is_size(op):
            continue
        mine = {roots.get(value, value) for value in writers.get(number, ())}
        for root in {roots.get(value, value) for value in operands_of(op)} & written:
            if root in last_write:
                graph.require(last_write[root], number, "it reads what the other writes")
            if root not in mine:
                readers.setdefault(root, []).append(number)
                continue
            for reader in readers.pop(root, ()):
                graph.require(reader, number, "it overwrites what the other reads")
            last_write[root] = number


def alias_roots(ops: Iterable[Operation]) -> dict[SSAValue, SSAValue]:
    """For each value that shares the memory of another one, the first of them."""
    roots: dict[SSAValue, SSAValue] = {}
    for op in ops:
        if not isinstance(op, CallOp) or not op.results:
            continue
        held = written_values(op)
        if not held and _is_view(op.name):
            held = list(operands_of(op)[:1])
        for result, source in zip(op.results, held * len(op.results), strict=False):
            roots[result] = roots.get(source, source)
    return roots


def _is_view(name: str) -> bool:
    return "view" in tags(name) or bool(_ALIASES.match(name))
