"""In-place GE operators on graph inputs: the copies that functionalisation added go."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from xdsl.dialects.builtin import ModuleOp

from torchair.dialects.ge.dialect import GeOp
from torchair.ir.calls import CallOp
from torchair.ir.rewrite import Rewriter
from torchair.passes.copy_elimination import CopyWords, find_copies, label, write_in_place
from torchair.passes.rewrite_pass import RewritePass


def _is_alias(op: CallOp, result: int, operand: int) -> bool:
    """Ports of one name are one memory."""
    if not isinstance(op, GeOp) or not op.spec.refs:
        return False
    counts = op.operand_counts()
    return any(
        output == result and sum(counts[:port]) == operand and counts[port] == 1
        for output, port in op.spec.refs
    )


WORDS = CopyWords(
    ("ge.TensorMove",),
    "ge.Assign",
    _is_alias,
    ("ge.Shape", "ge.ShapeN", "ge.Rank", "ge.Size"),
    returns_alias=True,
)


@dataclass(frozen=True)
class GeReinplacePass(RewritePass):
    """Lets an in-place operator write a graph input instead of a copy that is assigned back.

        %1 = ge.TensorMove(%cache)
        %2 = ge.Scatter(%1, %i, %v)       ->      %2 = ge.Scatter(%cache, %i, %v)
        %3 = ge.Assign(%cache, %2)

    Numeric class: exact. Shown by: test/lit/passes/ge-reinplace.mlir
    """

    name = "ge-reinplace"
    numeric_class: ClassVar[str] = "exact"

    def rewrite(self, module: ModuleOp) -> bool:
        rewriter = Rewriter()
        for candidate in list(find_copies(module, WORDS)):
            if candidate.reason is None:
                write_in_place(candidate, rewriter)
        return rewriter.changed


def copies_left(module: ModuleOp) -> list[str]:
    """Every write to a graph input that is not in place, with the reason."""
    reasons = {c.assign: c.reason for c in find_copies(module, WORDS)}
    found: list[str] = []
    for function in module.ops:
        for op in function.walk():
            if not isinstance(op, GeOp) or op.name != WORDS.assign:
                continue
            target, value = op.operands[0], op.operands[1]
            reason = reasons.get(op) or f"{label(value.owner)} computes a new tensor"
            found.append(f"'{target.name_hint or 'an input'}' is written by a copy: {reason}")
    return found
