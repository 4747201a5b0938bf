"""From the order of rows that GE's ``Lu`` gives to what LAPACK and PyTorch give: a list of
interchanges, and the position of the first pivot that is zero."""

from __future__ import annotations

from xdsl.ir import Attribute, SSAValue

from torchair.dialects.ge import builder as ge
from torchair.ir import interned
from torchair.passes.convert_aten_to_ge import geometry, recipes
from torchair.passes.convert_aten_to_ge.operands import with_element

_DYNAMIC_LEVELS = 16
"""Doublings for a symbolic number of rows, which may then be up to 65536."""


def pivots_of(order: SSAValue) -> SSAValue:
    """Interchanges [.., n] (int32, from 1) that put rows into an order [.., n] (int32).

    Row i of the result was row ``order[i]``. Interchange i is the first of ``order[i]``,
    ``order[order[i]]``, ... that is at least i: rows below i have been moved along that chain. It
    is found by doubling: tables of where 2**k steps lead and the largest row on the way.
    """
    type_, size = order.type, geometry.shape(order)[-1]
    levels = _DYNAMIC_LEVELS if size == interned.DYNAMIC else max(size - 1, 0).bit_length()
    tables = [(order, order)]
    for _ in range(levels - 1):
        jump, highest = tables[-1]
        farther = _at(jump, jump)
        tables.append((farther, ge.Maximum(highest, _at(highest, jump), out=type_)))
    current: SSAValue | None = None
    start = _positions(order)
    for jump, highest in reversed(tables[:levels]):
        below = ge.Less(
            highest if current is None else _at(highest, current),
            start,
            out=with_element(type_, interned.i1),
        )
        landed = jump if current is None else _at(jump, current)
        current = ge.SelectV2(below, landed, start if current is None else current, out=type_)
    last = order if current is None else _at(order, current)
    return ge.Add(last, ge.current().constant(1, interned.i32), out=type_)


def _at(table: SSAValue, index: SSAValue) -> SSAValue:
    return ge.GatherElements(table, index, dim=geometry.rank(table) - 1, out=index.type)


def _positions(order: SSAValue) -> SSAValue:
    """0, 1, .. n - 1 as int32 [n]."""
    count = ge.size(order, geometry.rank(order) - 1)
    if isinstance(count, int):
        return ge.current().constant(list(range(count)), interned.i32)
    ends = [ge.current().constant(n, interned.i64) for n in (0, 1)]
    line = ge.Range(ends[0], count, ends[1], out=interned.tensor([interned.DYNAMIC], interned.i64))
    return ge.cast_to(line, interned.i32)


def info_of(factors: SSAValue, out: Attribute) -> SSAValue:
    """``info`` of LU factors [.., n, n]: the first zero pivot, from 1, or 0 (int32 [..])."""
    sizes = geometry.shape(factors)
    if sizes[-1] == 0:
        return recipes.filled(0, geometry.all_sizes(factors)[:-2], interned.i32)
    diagonal = ge.MatrixDiagPart(factors, out=recipes.like(factors.type, sizes[:-1]))
    marks = interned.tensor(sizes[:-1], interned.i1)
    zero = ge.current().constant(0, ge.element(factors))
    is_zero = ge.Equal(diagonal, zero, out=marks)
    place = ge.Add(_positions(diagonal), ge.current().constant(1, interned.i32))
    last = len(sizes) - 2
    none = ge.current().constant(2**31 - 1, interned.i32)
    marked = ge.SelectV2(is_zero, place, none, out=with_element(marks, interned.i32))
    first = ge.ReduceMin(marked, [last], keep_dims=False, out=out)
    found = ge.Less(first, none, out=with_element(out, interned.i1))
    return ge.SelectV2(found, first, ge.current().constant(0, interned.i32), out=out)
