"""Dead code elimination on flat functions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from xdsl.dialects.builtin import ModuleOp
from xdsl.ir import Block

from torchair.ir.calls import CallOp
from torchair.ir.private import erase_op, iter_ops_backwards
from torchair.passes.rewrite_pass import RewritePass


@dataclass(frozen=True)
class DcePass(RewritePass):
    """Erases pure operations whose results nobody uses, from the end of each function.

    Operations with effects (in-place writes, random draws, assertions, prints, collectives) stay.
    Numeric class: exact. Shown by: test/lit/passes/dce.mlir
    """

    name = "dce"
    numeric_class: ClassVar[str] = "exact"

    def rewrite(self, module: ModuleOp) -> bool:
        blocks = [
            b for function in module.ops for region in function.regions for b in region.blocks
        ]
        return sum(erase_dead_ops(block) for block in blocks) > 0


def erase_dead_ops(block: Block) -> int:
    """Erase dead operations of one block; returns how many."""
    erased = 0
    for op in iter_ops_backwards(block):
        if not isinstance(op, CallOp) or not op.schema.pure:
            continue
        for result in op.results:
            if result.first_use is not None:
                break
        else:
            erase_op(block, op)
            erased += 1
    return erased
