"""Batched products whose rows and batches are swapped before and after: heads next to tokens."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from xdsl.ir import Attribute, SSAValue

from torchair.ir.graph_pattern import ANY, Match, call, one_of, rewrites, shared, value
from torchair.ir.rewrite import Pattern, Rewriter, defining_op
from torchair.passes.canonicalize.permutations import PERMUTATIONS, order_of
from torchair.passes.fusion_forms import (
    FLOATS,
    Size,
    create,
    create_named,
    element_of,
    permuted,
    read_size,
    sizes_of,
    type_with_sizes,
)
from torchair.passes.rewrite_pass import PatternPass

_FUSED = "npu.npu_transpose_batchmatmul"
_SWAP = [1, 0, 2]
_UNIT = 128
"""Inner sizes and columns are multiples of this."""
_LIMIT = 1 << 16
"""Inner size (times batch, where the operator swaps the left factor) and columns are below this."""

_LEFT = permuted(value("source"))
_PRODUCT = permuted(call("aten.bmm", one_of(_LEFT, value("x")), value("weight")))


def _is_swapped_product(match: Match) -> bool:
    if order_of(match.root) != _SWAP:
        return False
    left = match.operation(_LEFT)
    if left is not None:
        return order_of(left) == _SWAP and _fits(match, sizes_of(match["source"]), swapped=True)
    x = sizes_of(match["x"])
    return x is not None and _fits(match, [x[1], x[0], x[2]], swapped=False)


def _fits(match: Match, left: list[Size] | None, *, swapped: bool) -> bool:
    """Whether the operator takes the factors, and gains by it.

    Args:
        match: what matched; ``weight`` is ``[batch, inner, columns]``.
        left: sizes of the left factor as ``[..., rows, batch, inner]``.
        swapped: whether the operator swaps the left factor.
    """
    weight, element = match["weight"], element_of(match["weight"])
    sizes = sizes_of(weight)
    if left is None or sizes is None or left[-3] == 1:  # to swap one row is to do nothing
        return False
    batch, inner, columns = sizes
    return (
        isinstance(batch, int)
        and isinstance(inner, int)
        and isinstance(columns, int)
        and left[-2:] == [batch, inner]
        and inner % _UNIT == columns % _UNIT == 0
        and inner * (batch if swapped else 1) < _LIMIT
        and columns < _LIMIT
        and element in FLOATS
        and element == element_of(match.root.results[0])
        and defining_op(weight, *PERMUTATIONS) is None  # which BatchMatMul reads as it is
    )


@rewrites(_PRODUCT, where=_is_swapped_product)
def fuse_swapped_product(match: Match, rewriter: Rewriter) -> None:
    source = match.get("source")
    if source is not None:
        values = [source, match["weight"], _SWAP]
    else:
        values = [match["x"], match["weight"], [0, 1, 2]]
    fused = _create(values, match.root.results[0].type, match, rewriter)
    rewriter.replace(match.root, [fused])


def _create(values: list[Any], type_: Attribute, match: Match, rewriter: Rewriter) -> SSAValue:
    """The fused product of a left factor and weights, given the order of the left factor."""
    x, weight, order = values
    named = {"input": x, "weight": weight, "perm_x1": order, "perm_x2": [0, 1, 2], "perm_y": _SWAP}
    return create_named(rewriter, _FUSED, named, [type_], match.root).results[0]


_WEIGHTS = shared(call("aten.expand", value("weight"), ANY, implicit=ANY))
_TOKENS = permuted(value("source"))
_STACK = permuted(
    call(
        "aten.matmul",
        one_of(call("aten.clone", _TOKENS, memory_format=ANY), _TOKENS),
        one_of(shared(call("aten.clone", _WEIGHTS, memory_format=ANY)), _WEIGHTS),
    )
)
"""``[batch, tokens, heads, inner]`` times weights per head, which are copied for every batch."""


def _is_swapped_stack(match: Match) -> bool:
    left, weight = match.operation(_TOKENS), sizes_of(match["weight"])
    return (
        weight is not None
        and len(weight) == 3
        and left is not None
        and order_of(left) == order_of(match.root) == [0, 2, 1, 3]
        and _fits(match, sizes_of(match["source"]), swapped=True)
        and sizes_of(match.root.results[0]) is not None
    )


@rewrites(_STACK, where=_is_swapped_stack)
def fuse_swapped_stack(match: Match, rewriter: Rewriter) -> None:
    root, source, weight = match.root, match["source"], match["weight"]
    heads, inner, columns = sizes_of(weight) or []
    tokens = sizes_of(source) or []
    rows = _product_of(tokens[0], tokens[1])
    flat_type = type_with_sizes(source.type, [rows, heads, inner])
    flat = create(rewriter, "aten.view", [source, [-1, heads, inner]], [flat_type], root).results[0]
    fused_type = type_with_sizes(source.type, [rows, heads, columns])
    fused = _create([flat, weight, _SWAP], fused_type, match, rewriter)
    leading = [read_size(rewriter, source, dim, root) for dim in (0, 1)]
    sizes = [*leading, heads, columns]
    view = create(rewriter, "aten.view", [fused, sizes], [root.results[0].type], root)
    rewriter.replace(root, view.results)


def _product_of(left: Size, right: Size) -> Size:
    """Size of two dimensions as one."""
    if isinstance(left, int) and isinstance(right, int):
        return left * right
    return f"({left})*({right})"


@dataclass(frozen=True)
class FuseTransposeMatmulPass(PatternPass):
    """Fuses the swaps of tokens and heads around a product with weights per head.

        %1 = aten.transpose.int(%x, dim0 = 0, dim1 = 1)        %y = npu.npu_transpose_batchmatmul
        %2 = aten.bmm(%1, %w)                             ->     (%x, %w, perm_x1 = [1, 0, 2],
        %y = aten.transpose.int(%2, dim0 = 0, dim1 = 1)           perm_x2 = [0, 1, 2], ...)

    The absorbed projections of multi-head latent attention are such products. Sizes that the
    operator does not take, and weights that are read transposed, stay as they are.
    Numeric class: reassociates. Shown by: test/lit/passes/fuse-transpose-matmul.mlir
    """

    name = "fuse-transpose-matmul"
    numeric_class: ClassVar[str] = "reassociates"
    patterns: ClassVar[tuple[Pattern, ...]] = (fuse_swapped_product, fuse_swapped_stack)
