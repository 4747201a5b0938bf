"""Common subexpression elimination on flat functions, in one linear walk."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from xdsl.dialects.builtin import ModuleOp
from xdsl.ir import Block, SSAValue
from xdsl.traits import IsTerminator

from torchair.ir import private
from torchair.ir.calls import CallOp
from torchair.passes.rewrite_pass import RewritePass

_FRESH_BUFFERS = frozenset(("ge.TensorMove",))
"""Operators whose point is a buffer of their own, which an in-place operator may then write."""


@dataclass(frozen=True)
class CsePass(RewritePass):
    """Replaces a pure operation by an earlier one with equal operands, arguments and types.

        %1 = aten.t(%0) ...              %1 = aten.t(%0) ...
        %2 = aten.t(%0) ...       ->     use(%1, %1)
        use(%1, %2)

    Operations that write, draw random numbers or carry control edges are never merged, nor are
    two operations between which one writes.
    Numeric class: exact. Shown by: test/lit/passes/cse.mlir
    """

    name = "cse"
    numeric_class: ClassVar[str] = "exact"

    def rewrite(self, module: ModuleOp) -> bool:
        blocks = [
            b for function in module.ops for region in function.regions for b in region.blocks
        ]
        return sum(merge_equal_ops(block) for block in blocks) > 0


def merge_equal_ops(block: Block) -> int:
    """Merge equal pure operations of one block; returns how many were removed."""
    known = _Known()
    wide: dict[Any, list[SSAValue]] = {}
    last = block.last_op
    if last is not None and last.has_trait(IsTerminator):
        wide[last] = list(private.operands_of(last))
    merged = 0
    for op in private.iter_ops(block):
        if not isinstance(op, CallOp):
            continue
        if not op.schema.pure:
            if any(parameter.writes for parameter in op.schema.parameters):
                known.clear()
            continue
        if op.name in _FRESH_BUFFERS:
            continue
        first = known.find(op)
        if first is op:
            continue
        for old, new in zip(op.results, first.results, strict=True):
            private.redirect_uses(old, new, wide)
        private.erase_op(block, op)
        merged += 1
    for terminator, operands in wide.items():
        private.assign_wide(terminator, operands)
    return merged


class _Known:
    """The first of every set of equal operations.

    They are looked up by class and operands, and only where these agree by the rest, whose
    attributes are compared by value.
    """

    def __init__(self) -> None:
        self._first: dict[tuple[Any, ...], CallOp] = {}
        self._groups: dict[tuple[Any, ...], dict[Any, CallOp]] = {}

    def find(self, op: CallOp) -> CallOp:
        """The first operation that is equal to this one: itself when there is none before it."""
        key = (op.__class__, *map(id, private.operands_of(op)))
        first = self._first.setdefault(key, op)
        if first is op:
            return op
        group = self._groups.get(key)
        if group is None:
            group = self._groups[key] = {_rest(first): first}
        return group.setdefault(_rest(op), op)

    def clear(self) -> None:
        """Forget all operations."""
        self._first.clear()
        self._groups.clear()


def _rest(op: CallOp) -> tuple[Any, ...]:
    """What makes a call besides its class and operands."""
    types = tuple(private.types_of(op.results))
    return frozenset(op.properties.items()), types, frozenset(op.attributes.items())
