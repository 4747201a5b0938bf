"""Operators that reorder dimensions, and what order they make."""

from __future__ import annotations

from torchair.ir.calls import CallOp
from torchair.passes.canonicalize.types import rank_of

PERMUTATIONS = ("aten.permute", "aten.transpose.int", "aten.t")


def order_of(op: CallOp) -> list[int] | None:
    """The permutation that an operator applies, as in ``permute``; None when it is none, or of a
    tensor of unknown rank."""
    rank = rank_of(op.operands[0]) if op.name in PERMUTATIONS else None
    if rank is None:
        return None
    if op.name == "aten.permute":
        return [dim % rank for dim in op.argument("dims")]
    order = list(range(rank))
    if op.name == "aten.t":
        return order[::-1]
    if rank > 0:
        first, second = op.argument("dim0") % rank, op.argument("dim1") % rank
        order[first], order[second] = order[second], order[first]
    return order
