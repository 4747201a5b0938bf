"""Permutations between views: no dimension of one, and no two dimensions that stay together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, ClassVar

from xdsl.dialects.builtin import ModuleOp
from xdsl.ir import SSAValue

from torchair.ir.calls import CallOp
from torchair.ir.rewrite import Pattern, Rewriter, defining_op, pattern
from torchair.passes.canonicalize.permutations import PERMUTATIONS, order_of
from torchair.passes.canonicalize.views import ROW_MAJOR
from torchair.passes.fusion_forms import (
    Size,
    create,
    read_size,
    shape_of,
    sizes_of,
    type_with_sizes,
)
from torchair.passes.rewrite_pass import PatternPass

_CHAIN_LIMIT = 16


@dataclass(frozen=True, slots=True)
class _Plan:
    """A permutation of a view of ``source`` whose result, viewed again, is that of ``last``.

    Args:
        source: value behind all views in front of the permutation.
        last: the permutation, or the view that alone reads it.
        sizes: what ``source`` is viewed as.
        order: how the dimensions of that view are permuted.
        calls: how many calls it takes.
    """

    source: SSAValue
    last: CallOp
    sizes: list[Size]
    order: list[int]
    calls: int


@pattern("aten.permute", "aten.transpose.int", *ROW_MAJOR)
def narrow(op: CallOp, rewriter: Rewriter) -> None:
    permutation = _permutation_of(op)
    if permutation is None or not _can_be_narrow(permutation):
        return
    order, sizes = order_of(permutation), sizes_of(permutation.operands[0])
    wanted = sizes_of(op.results[0])
    if order is None or sizes is None or wanted is None:
        return
    source, in_front = _source(permutation)
    permuted = [sizes[dim] for dim in order]
    is_einsum = len(wanted) < len(sizes) > 4
    if not is_einsum and (_is_stack(sizes, source) or _is_stack(permuted, op.results[0])):
        return
    groups = [[dim] for dim, size in enumerate(sizes) if size != 1]
    plans = [_plan(source, op, sizes, order, groups)]
    plans.append(_plan(source, op, sizes, order, _together(groups, sizes, order)))
    said = [p for p in plans if _is_sayable(p.sizes, source) and _is_sayable(wanted, source)]
    best = min(said, key=lambda plan: (plan.calls, plan.sizes != sizes_of(source)), default=None)
    if best is not None and best.calls < in_front + 1 + (permutation is not op):
        _apply(best, rewriter)


def _permutation_of(last: CallOp) -> CallOp | None:
    """The permutation that a chain ends with: the operation, or what it alone views."""
    if last.name in PERMUTATIONS:
        return None if _only_view_of(last) is not last else last
    inner = defining_op(last.operands[0], *PERMUTATIONS)
    return inner if inner is not None and _only_view_of(inner) is last else None


def _can_be_narrow(permutation: CallOp) -> bool:
    """Whether a dimension is of one, or two stay together: what is asked of all permutations."""
    order, shape = order_of(permutation), shape_of(permutation.operands[0])
    if order is None or shape is None:
        return False
    return 1 in shape or any(right == left + 1 for left, right in pairwise(order))


def _is_stack(sizes: list[Size], matrices: SSAValue) -> bool:
    """Whether these are the sizes of a stack of the matrices that ``bmm`` makes or reads, which
    ``raise-matmul`` wants as it is."""
    near: list[Any] = [matrices.owner, *(use.operation for use in matrices.uses)]
    if len(sizes) < 4 or not any(isinstance(op, CallOp) and op.name == "aten.bmm" for op in near):
        return False
    return sizes[-2:] == (sizes_of(matrices) or [])[-2:]


def _source(op: CallOp) -> tuple[SSAValue, int]:
    """The value behind the views in front of an operation, and how many of them it alone reads."""
    source, count, is_only = op.operands[0], 0, True
    for _ in range(_CHAIN_LIMIT):
        view = source.owner
        if not isinstance(view, CallOp) or view.name not in ROW_MAJOR:
            break
        if view.attributes != op.attributes:
            break
        is_only = is_only and _has_one_use(source)
        count += is_only
        source = view.operands[0]
    return source, count


def _only_view_of(op: CallOp) -> CallOp:
    """The view that alone reads an operation's result, or the operation itself."""
    result = op.results[0]
    use = result.first_use
    if use is None or not _has_one_use(result):
        return op
    view = use.operation
    if not isinstance(view, CallOp) or view.name not in ROW_MAJOR:
        return op
    return view if view.attributes == op.attributes else op


def _has_one_use(value: SSAValue) -> bool:
    return value.first_use is not None and value.has_one_use()


def _together(groups: list[list[int]], sizes: list[Size], order: list[int]) -> list[list[int]]:
    """Groups of dimensions that are neighbours before and after; symbolic ones stay alone."""
    kept = [dim for [dim] in groups]
    place = {dim: i for i, dim in enumerate(kept)}
    joined: list[list[int]] = []
    for dim in (dim for dim in order if dim in place):
        last = joined[-1][-1] if joined else None
        is_next = last is not None and place[dim] == place[last] + 1
        if is_next and isinstance(sizes[dim], int) and isinstance(sizes[last or 0], int):
            joined[-1].append(dim)
        else:
            joined.append([dim])
    return sorted(joined)


def _plan(
    source: SSAValue, last: CallOp, sizes: list[Size], order: list[int], groups: list[list[int]]
) -> _Plan:
    """The plan that permutes groups of dimensions, given in the order of the source."""
    first = {group[0]: i for i, group in enumerate(groups)}
    narrow_order = [first[dim] for dim in order if dim in first]
    narrow_sizes = [_size(group, sizes) for group in groups]
    if narrow_order == sorted(narrow_order):
        return _Plan(source, last, [], [], int(sizes_of(source) != sizes_of(last.results[0])))
    permuted = [narrow_sizes[i] for i in narrow_order]
    calls = 1 + (narrow_sizes != sizes_of(source)) + (permuted != sizes_of(last.results[0]))
    return _Plan(source, last, narrow_sizes, narrow_order, calls)


def _size(group: Sequence[int], sizes: list[Size]) -> Size:
    if len(group) == 1:
        return sizes[group[0]]
    total = 1
    for dim in group:
        size = sizes[dim]
        assert isinstance(size, int), "symbolic dimensions stay alone"
        total *= size
    return total


def _is_sayable(sizes: list[Size], source: SSAValue) -> bool:
    """Whether a view of a value can be asked for: one size may be inferred, others are read."""
    symbols = [size for size in sizes if isinstance(size, str)]
    return 0 not in sizes and (len(symbols) < 2 or set(symbols) <= set(sizes_of(source) or []))


def _view(value: SSAValue, sizes: list[Size], plan: _Plan, rewriter: Rewriter) -> SSAValue:
    """A value in another shape, or the value when it has that."""
    if sizes == sizes_of(value):
        return value
    symbols = [size for size in sizes if isinstance(size, str)]
    known = sizes_of(plan.source) or []
    arguments: list[Any] = list(sizes)
    for dim, size in enumerate(sizes):
        if isinstance(size, str) and len(symbols) == 1:
            arguments[dim] = -1
        elif isinstance(size, str):
            arguments[dim] = read_size(rewriter, plan.source, known.index(size), plan.last)
    type_ = type_with_sizes(value.type, sizes)
    return create(rewriter, "aten.view", [value, arguments], [type_], plan.last).results[0]


def _apply(plan: _Plan, rewriter: Rewriter) -> None:
    last, value = plan.last, plan.source
    wanted = sizes_of(last.results[0]) or []
    if plan.order:
        value = _view(value, plan.sizes, plan, rewriter)
        type_ = type_with_sizes(value.type, [plan.sizes[i] for i in plan.order])
        value = create(rewriter, "aten.permute", [value, plan.order], [type_], last).results[0]
    above = last.operands[0].owner
    rewriter.replace(last, [_view(value, wanted, plan, rewriter)])
    while isinstance(above, CallOp) and above.results[0].first_use is None:
        unused, above = above, above.operands[0].owner
        if unused.name not in (*PERMUTATIONS, *ROW_MAJOR):
            break
        rewriter.erase(unused)


@dataclass(frozen=True)
class NarrowPermutationsPass(PatternPass):
    """Permutes no dimensions of one, where that saves the views that make and drop them.

        %1 = aten.unsqueeze(%x, dim = 3)
        %2 = aten.permute(%1, dims = [1, 0, 2, 3])    ->     %y = aten.permute(%x, dims = [1, 0, 2])
        %y = aten.view(%2, size = [4, 6, 128])

    ``einsum`` is traced to such chains around one product. Dimensions that stay next to each other
    become one when the views did so. Without `views`, views stay as they are.
    Numeric class: exact. Shown by: test/lit/passes/narrow-permutations.mlir
    """

    name = "narrow-permutations"
    numeric_class: ClassVar[str] = "exact"
    patterns: ClassVar[tuple[Pattern, ...]] = (narrow,)
    views: bool = True

    def rewrite(self, module: ModuleOp) -> bool:
        return self.views and super().rewrite(module)
