"""Within a pass that changes results: the rewrite, or the operation, that does it."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from xdsl.dialects.builtin import TensorType
from xdsl.dialects.func import ReturnOp
from xdsl.ir import Block, Operation, SSAValue
from xdsl.passes import ModulePass

from torchair.dialects.ge import builder as ge
from torchair.frontend.bisect.stages import StagedGraph, Tolerance, function_of, is_ge
from torchair.frontend.fx_import import ImportedGraph
from torchair.ir.calls import CallOp
from torchair.ir.location import name_of, source_of
from torchair.ir.private import append_op
from torchair.ir.rewrite import Pattern, Rewriter, try_patterns, visiting
from torchair.ir.text import CachedPrinter
from torchair.tools.context import make_context


@dataclass
class Culprit:
    """What in a pass changes the results.

    Args:
        number, total: the rewrite's place among all of the pass; None for a pass that rebuilds.
        pattern: name of the pattern.
        operator: ``<fx node>-<aten operator>``.
        source: the user's ``file:line``.
        before, after: operations as text.
        difference: how the value of this very operation differs; empty for rewrites.
    """

    number: int | None = None
    total: int | None = None
    pattern: str = ""
    operator: str | None = None
    source: str | None = None
    before: str = ""
    after: list[str] = field(default_factory=list[str])
    difference: str = ""


class OperationTexts:
    """Operations as text, in which a value has one name throughout."""

    def __init__(self) -> None:
        self._stream = io.StringIO()
        self._printer = CachedPrinter(self._stream)

    def of(self, op: Operation) -> str:
        """One line of IR."""
        start = self._stream.tell()
        self._printer.print_op(op)
        return self._stream.getvalue()[start:].strip()


class RewriteBudget:
    """Lets a limited number of rewrites happen in sweeps, and remembers the last of them.

    Args:
        limit: how many; None for any number.

    Attributes:
        count: rewrites so far.
        last: the rewrite that used the budget up.
    """

    def __init__(self, limit: int | None = None) -> None:
        self.limit = limit
        self.count = 0
        self.last: Culprit | None = None
        self._known: set[Operation] = set()
        self._texts = OperationTexts()

    def visit(self, op: Operation, index: dict[str, list[Pattern]], rewriter: Rewriter) -> bool:
        """Try patterns one by one while the budget lasts."""
        if self.count == self.limit or op.name not in index:
            return False
        is_last = self.limit is not None and self.count + 1 == self.limit
        block = op.parent
        if is_last and not self._known and block is not None:
            self._known = set(block.ops)
        before = Culprit(operator=name_of(op.location), source=source_of(op.location))
        before.before = self._texts.of(op) if is_last else ""
        for candidate in index[op.name]:
            if try_patterns(op, {op.name: [candidate]}, rewriter):
                self.count += 1
                if is_last and block is not None:
                    before.pattern = candidate.name
                    made = [new for new in block.ops if new not in self._known]
                    before.after = [self._texts.of(new) for new in made]
                    self.last = before
                return True
        return False


def find_culprit(
    graph: StagedGraph, before: Sequence[ModulePass], item: ModulePass, tolerance: Tolerance
) -> Culprit:
    """The first rewrite of a pass after which results differ, by bisection over their number.

    A pass that rewrites by no pattern is searched operation by operation: the first one whose
    value differs.

    Args:
        graph: the graph.
        before: the passes that run before it, after which results are right.
        item: the pass after which they are wrong.
        tolerance: what counts as different.
    """

    def is_wrong(limit: int | None) -> bool:
        return bool(tolerance.first_difference(run(limit)[1], graph.reference))

    def run(limit: int | None) -> tuple[RewriteBudget, list[Any]]:
        budget = RewriteBudget(limit)
        imported = graph.module_after(before)
        with visiting(budget.visit):
            item.apply(make_context(), imported.module)
        return budget, graph.results(imported)

    total = run(None)[0].count
    if total == 0 or is_wrong(0):
        return _first_operation(graph, before, item, tolerance)
    good, bad = 0, total
    while bad - good > 1:
        middle = (good + bad) // 2
        if is_wrong(middle):
            bad = middle
        else:
            good = middle
    found = run(bad)[0].last
    assert found is not None, "a budget that is used up has a last rewrite"
    found.number, found.total = bad, total
    return found


@dataclass(frozen=True, slots=True)
class _Exposed:
    """A module that returns every tensor it computes, and the operation of each result."""

    imported: ImportedGraph
    operations: list[Operation]


def _first_operation(
    graph: StagedGraph, before: Sequence[ModulePass], item: ModulePass, tolerance: Tolerance
) -> Culprit:
    """The first operation before the pass whose value is nowhere after it."""
    old = _exposed(graph.module_after(before))
    new = _exposed(graph.module_after([*before, item]))
    after: dict[str, list[tuple[Operation, Any]]] = {}
    for op, value in zip(new.operations, graph.raw_results(new.imported), strict=True):
        after.setdefault(name_of(op.location) or "", []).append((op, value))
    for op, value in zip(old.operations, graph.raw_results(old.imported), strict=True):
        name = name_of(op.location)
        made = after.get(name or "", [])
        alike = [found for _, found in made if _is_alike(found, value)]
        texts = [tolerance.difference(found, value) for found in alike]
        if name and texts and all(texts):
            texts_of = OperationTexts()
            culprit = Culprit(operator=name, source=source_of(op.location))
            culprit.before = texts_of.of(op)
            culprit.after = [texts_of.of(new) for new in dict.fromkeys(new for new, _ in made)]
            culprit.difference = texts[-1]
            return culprit
    return Culprit()


def _is_alike(found: Any, wanted: Any) -> bool:
    both = isinstance(found, torch.Tensor) and isinstance(wanted, torch.Tensor)
    return both and found.dtype == wanted.dtype and found.shape == wanted.shape


def _exposed(imported: ImportedGraph) -> _Exposed:
    """Let the module's function return every tensor in place of its results."""
    function = function_of(imported.module)
    block = function.body.block
    terminator = block.last_op
    assert terminator is not None
    results = [r for op in block.ops for r in op.results if _is_tensor(r)]
    was_ge = is_ge(imported.module)
    block.erase_op(terminator)
    _return(block, results, terminator, was_ge)
    types = [argument.type for argument in block.args]
    function.function_type = function.function_type.from_lists(types, [r.type for r in results])
    return _Exposed(imported, [r.owner for r in results])  # pyright: ignore


def _is_tensor(value: SSAValue) -> bool:
    return isinstance(value.owner, CallOp) and isinstance(value.type, TensorType)


def _return(block: Block, results: Sequence[SSAValue], old: Operation, was_ge: bool) -> None:
    if was_ge:
        made = ge.op_class("NetOutput").build_call([list(results)], [], old.location)
        append_op(block, made)
    else:
        append_op(block, ReturnOp(*results))
