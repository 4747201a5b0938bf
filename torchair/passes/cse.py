"""Common subexpression elimination on flat functions, in one linear walk."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

from xdsl.dialects.builtin import ModuleOp
from xdsl.ir import Attribute, Block, SSAValue
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
    known: dict[tuple[Any, ...], CallOp] = {}
    numbers = _Numbers()
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
        first = known.setdefault(_key(op, numbers), op)
        if first is op:
            continue
        for old, new in zip(op.results, first.results, strict=True):
            private.redirect_uses(old, new, wide)
        private.erase_op(block, op)
        merged += 1
    for terminator, operands in wide.items():
        private.assign_wide(terminator, operands)
    return merged


class _Numbers(dict[int, int]):
    """A number per attribute, by its id: equal attributes have one number.

    Attributes hash by value, through all their parts; most are interned, so that a block of
    thousands of operations has a few hundred.
    """

    def __init__(self) -> None:
        self._by_value: dict[Attribute, int] = {}
        self._alive: list[Attribute] = []

    def of(self, attributes: Iterable[Attribute]) -> Iterator[int]:
        """The numbers of some attributes."""
        for attribute in attributes:
            number = self.get(id(attribute))
            if number is None:
                number = self._by_value.setdefault(attribute, len(self._by_value))
                self[id(attribute)] = number
                self._alive.append(attribute)
            yield number


def _key(op: CallOp, numbers: _Numbers) -> tuple[Any, ...]:
    """What two operations that compute the same have in common."""
    properties = op.properties
    names = sorted(properties) if len(properties) > 1 else properties
    return (
        op.__class__,
        *map(id, private.operands_of(op)),
        *names,
        *numbers.of(map(properties.__getitem__, names)),
        None,
        *numbers.of(private.types_of(op.results)),
        *op.attributes,
        *numbers.of(op.attributes.values()),
    )
