"""Dead code elimination on flat functions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp
from xdsl.ir import Block
from xdsl.passes import ModulePass

from torchair.ir.calls import CallOp


@dataclass(frozen=True)
class DcePass(ModulePass):
    """Erases pure operations whose results nobody uses, from the end of each function.

    Operations with effects (in-place writes, random draws, assertions, prints, collectives) stay.
    Numeric class: exact. Shown by: test/lit/passes/dce.mlir
    """

    name = "dce"
    numeric_class: ClassVar[str] = "exact"

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        for function in op.ops:
            for region in function.regions:
                for block in region.blocks:
                    erase_dead_ops(block)


def erase_dead_ops(block: Block) -> int:
    """Erase dead operations of one block; returns how many."""
    erased = 0
    op = block.last_op
    while op is not None:
        previous = op.prev_op
        if (
            isinstance(op, CallOp)
            and op.schema.pure
            and all(result.first_use is None for result in op.results)
        ):
            block.erase_op(op)
            erased += 1
        op = previous
    return erased
