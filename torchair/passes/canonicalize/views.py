"""Views: identities, chains, and one spelling for operators that differ only in autograd."""

from __future__ import annotations

from collections.abc import Sequence

from xdsl.ir import SSAValue

from torchair.dialects.aten import lookup
from torchair.ir.calls import CallOp
from torchair.ir.private import operands_of
from torchair.ir.rewrite import Pattern, Rewriter, defining_op, pattern
from torchair.passes.canonicalize.permutations import PERMUTATIONS, order_of
from torchair.passes.canonicalize.types import has_same_type

_VIEWS = ("aten.view", "aten._unsafe_view")
ROW_MAJOR = (*_VIEWS, "aten.unsqueeze", "aten.squeeze", "aten.squeeze.dim", "aten.squeeze.dims")
"""Operators that give the same elements in the same order another shape, without a copy."""
_CHAIN_LIMIT = 16


@pattern("aten.alias", "aten.detach", "aten.lift_fresh")
def drop_alias(op: CallOp, rewriter: Rewriter) -> None:
    rewriter.replace(op, [operands_of(op)[0]])


@pattern("aten._unsafe_view")
def rename_unsafe_view(op: CallOp, rewriter: Rewriter) -> None:
    _replace(op, "aten.view", op.arguments(), rewriter)


@pattern(*ROW_MAJOR, "aten.reshape", "aten.view.dtype", "aten.expand")
def drop_view_to_same_type(op: CallOp, rewriter: Rewriter) -> None:
    if has_same_type(op.results[0], operands_of(op)[0]):
        rewriter.replace(op, [operands_of(op)[0]])


@pattern(*ROW_MAJOR)
def cancel_views(op: CallOp, rewriter: Rewriter) -> None:
    inner = defining_op(operands_of(op)[0], *ROW_MAJOR)
    for _ in range(_CHAIN_LIMIT):
        if inner is None:
            return
        if has_same_type(operands_of(inner)[0], op.results[0]):
            rewriter.replace(op, [operands_of(inner)[0]])
            return
        inner = defining_op(operands_of(inner)[0], *ROW_MAJOR)


@pattern("aten.view")
def merge_views(op: CallOp, rewriter: Rewriter) -> None:
    inner = defining_op(operands_of(op)[0], *ROW_MAJOR)
    if inner is not None:
        _replace(op, op.name, [operands_of(inner)[0], op.argument("size")], rewriter)


@pattern(*PERMUTATIONS)
def drop_identity_permutation(op: CallOp, rewriter: Rewriter) -> None:
    order = order_of(op)
    if order is not None and order == sorted(order):
        rewriter.replace(op, [operands_of(op)[0]])


@pattern(*PERMUTATIONS)
def merge_permutations(op: CallOp, rewriter: Rewriter) -> None:
    inner = defining_op(operands_of(op)[0], *PERMUTATIONS)
    if inner is None:
        return
    outer_order, inner_order = order_of(op), order_of(inner)
    if outer_order is None or inner_order is None:
        return
    order = [inner_order[dim] for dim in outer_order]
    source = operands_of(inner)[0]
    if order == sorted(order):
        rewriter.replace(op, [source])
    else:
        _replace(op, "aten.permute", [source, order], rewriter)


@pattern("aten.expand")
def merge_expands(op: CallOp, rewriter: Rewriter) -> None:
    inner = defining_op(operands_of(op)[0], "aten.expand")
    size = op.argument("size")
    if inner is not None and -1 not in [s for s in size if isinstance(s, int)]:
        _replace(op, op.name, [operands_of(inner)[0], size, op.argument("implicit")], rewriter)


@pattern("aten.slice.Tensor")
def drop_whole_slice(op: CallOp, rewriter: Rewriter) -> None:
    if has_same_type(op.results[0], operands_of(op)[0]) and op.argument("step") == 1:
        rewriter.replace(op, [operands_of(op)[0]])


@pattern("aten.split.Tensor", "aten.split_with_sizes", "aten.split.sizes", "aten.chunk")
def drop_split_into_one(op: CallOp, rewriter: Rewriter) -> None:
    if len(op.results) == 1 and has_same_type(op.results[0], operands_of(op)[0]):
        rewriter.replace(op, [operands_of(op)[0]])


def _replace(op: CallOp, name: str, values: Sequence[object], rewriter: Rewriter) -> None:
    """Replace an operator with one result by another of the same type."""
    cls = lookup(name)
    assert cls is not None, name
    result: SSAValue = rewriter.create(cls, values, [op.results[0].type], op).results[0]
    rewriter.replace(op, [result])


PATTERNS: tuple[Pattern, ...] = (
    drop_alias,
    rename_unsafe_view,
    drop_view_to_same_type,
    cancel_views,
    merge_views,
    drop_identity_permutation,
    merge_permutations,
    merge_expands,
    drop_whole_slice,
    drop_split_into_one,
)
