"""Writes by index into a copy: scatter, index_put, index_add, index_copy, index_fill."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from xdsl.ir import Attribute, SSAValue

from torchair.dialects.ge import builder as ge
from torchair.ir import interned
from torchair.passes.convert_aten_to_ge import geometry
from torchair.passes.convert_aten_to_ge.complex_numbers import (
    complex_of,
    complex_parts,
    is_complex,
)
from torchair.passes.convert_aten_to_ge.indexing import (
    as_bits,
    as_index,
    as_row,
    from_bits,
    index_list,
    with_element,
)
from torchair.passes.convert_aten_to_ge.operands import operand
from torchair.passes.convert_aten_to_ge.recipes import filled, scale
from torchair.passes.convert_aten_to_ge.registry import converts
from torchair.passes.convert_aten_to_ge.shape import broadcast_to, reshape_to
from torchair.passes.convert_aten_to_ge.slicing import slice_dim


def _filled(value: Any, like: SSAValue, element: Attribute) -> SSAValue:
    """A number in the shape of a tensor."""
    number = operand(value, element)
    if geometry.rank(like) == 0:
        return number
    return ge.Fill(geometry.all_sizes(like), number, out=with_element(like.type, element))


def _cut_to(source: SSAValue, index: SSAValue) -> SSAValue:
    """The leading part of ``source`` that has the shape of ``index``."""
    if geometry.same_shape(source, index):
        return source
    for d in range(geometry.rank(index)):
        length = ge.size(index, d)
        if geometry.symbols(source)[d] != geometry.symbols(index)[d]:
            source = slice_dim(source, d, 0, length)
    return source


def scatter(
    x: SSAValue, dim: int, index: SSAValue, source: SSAValue, reduction: str, out: Attribute
) -> SSAValue:
    """``ScatterElements`` of ``source``, which has the shape of ``index``."""
    if 0 in geometry.shape(index):
        return x
    dim = geometry.axis(dim, geometry.rank(x))
    index = as_index(index)
    if geometry.rank(x) == 0:
        row = interned.tensor([1], ge.element(x))
        x, index, source = (as_row(v) for v in (x, index, source))
        return reshape_to(scatter(x, 0, index, source, reduction, row), out)
    bits = as_bits(x, "ScatterElements") if reduction == "none" else _numbers(x)
    updates = as_bits(source, "ScatterElements") if reduction == "none" else _numbers(source)
    type_ = with_element(out, ge.element(bits))
    written = ge.ScatterElements(bits, index, updates, axis=dim, reduction=reduction, out=type_)
    return from_bits(written, out)


def _numbers(x: SSAValue) -> SSAValue:
    """Booleans as uint8; every other dtype can be reduced as it is."""
    return ge.cast_to(x, interned.ui8) if ge.element(x) == interned.i1 else x


@converts("scatter.src(Tensor self, int dim, Tensor index, Tensor src) -> Tensor")
def scatter_src(self: Any, dim: Any, index: Any, src: Any, out: Any) -> Any:
    return scatter(self, dim, index, _cut_to(src, index), "none", out)


@converts("scatter.value(Tensor self, int dim, Tensor index, Scalar value) -> Tensor")
def scatter_value(self: Any, dim: Any, index: Any, value: Any, out: Any) -> Any:
    return scatter(self, dim, index, _filled(value, index, ge.element(self)), "none", out)


@converts("scatter_add(Tensor self, int dim, Tensor index, Tensor src) -> Tensor")
def scatter_add(self: Any, dim: Any, index: Any, src: Any, out: Any) -> Any:
    return scatter(self, dim, index, _cut_to(src, index), "add", out)


_REDUCTIONS = {"add": "add", "sum": "add", "multiply": "mul", "prod": "mul"}


@converts("scatter.reduce(Tensor self, int dim, Tensor index, Tensor src, *, str reduce) -> Tensor")
def scatter_reduce(self: Any, dim: Any, index: Any, src: Any, reduce: Any, out: Any) -> Any:
    return scatter(self, dim, index, _cut_to(src, index), _REDUCTIONS[reduce], out)


@converts(
    "scatter.value_reduce(Tensor self, int dim, Tensor index, Scalar value, *, str reduce)"
    " -> Tensor"
)
def scatter_value_reduce(self: Any, dim: Any, index: Any, value: Any, reduce: Any, out: Any) -> Any:
    source = _filled(value, index, ge.element(self))
    return scatter(self, dim, index, source, _REDUCTIONS[reduce], out)


@converts(
    "scatter_reduce.two(Tensor self, int dim, Tensor index, Tensor src, str reduce, *,"
    " bool include_self=True) -> Tensor"
)
def scatter_reduce_two(
    self: Any, dim: Any, index: Any, src: Any, reduce: Any, out: Any, include_self: Any = True
) -> Any:
    if 0 in geometry.shape(index):
        return self
    source = _cut_to(src, index)
    start = self
    if not include_self:
        neutral = _filled(_neutral(reduce, ge.element(self)), index, ge.element(self))
        start = scatter(self, dim, index, neutral, "none", out)
    if reduce in _REDUCTIONS:
        return scatter(start, dim, index, source, _REDUCTIONS[reduce], out)
    if reduce == "mean":
        return _scatter_mean(start, dim, index, source, include_self, out)
    return _scatter_extreme(start, dim, index, source, reduce, out)


def _neutral(reduce: str, element: Attribute) -> float | int:
    if reduce in ("sum", "mean"):
        return 0
    if reduce == "prod":
        return 1
    bits = geometry.bits(element)
    is_float = element in (interned.f16, interned.bf16, interned.f32, interned.f64)
    if is_float:
        return float("-inf") if reduce == "amax" else float("inf")
    if element in (interned.ui8, interned.i1):
        return 0 if reduce == "amax" else (1 if element == interned.i1 else 255)
    return -(2 ** (bits - 1)) if reduce == "amax" else 2 ** (bits - 1) - 1


def _scatter_mean(
    start: SSAValue, dim: int, index: SSAValue, source: SSAValue, include_self: bool, out: Attribute
) -> SSAValue:
    element = ge.element(start)
    total = scatter(start, dim, index, source, "add", out)
    ones = _filled(1, index, element)
    initial = _filled(1 if include_self else 0, start, element)
    count = scatter(initial, dim, index, ones, "add", out)
    if not include_self:
        count = ge.Maximum(count, 1, out=out)
    is_float = element in (interned.f16, interned.bf16, interned.f32, interned.f64)
    return ge.call("RealDiv" if is_float else "FloorDiv", total, count, out=out)


def _scatter_extreme(
    start: SSAValue, dim: int, index: SSAValue, source: SSAValue, reduce: str, out: Attribute
) -> SSAValue:
    """Maximum or minimum, on the flattened tensor by linear positions."""
    flat = interned.tensor([geometry.count(start)], ge.element(start))
    count = geometry.count(index)
    positions = _linear_positions(index, geometry.axis(dim, geometry.rank(start)), start)
    row = interned.tensor([count, 1], interned.i64)
    updates = reshape_to(source, interned.tensor([count], ge.element(source)), [-1])
    copy = ge.TensorMove(reshape_to(start, flat, [-1]), out=flat)
    name = "ScatterNdMax" if reduce == "amax" else "ScatterNdMin"
    written = ge.call(name, copy, reshape_to(positions, row, [-1, 1]), updates, out=flat)
    return reshape_to(written, out, geometry.all_sizes(start))


def _linear_positions(index: SSAValue, dim: int, x: SSAValue) -> SSAValue:
    """Position in the flattened tensor of every element that an index along ``dim`` names."""
    positions = ge.cast_to(index, interned.i64)
    strides = geometry.strides(x)
    rank = len(strides)
    type_ = with_element(index.type, interned.i64)
    if strides and strides[dim] != 1:
        positions = ge.Mul(positions, strides[dim], out=type_)
    for d, stride in enumerate(strides):
        length = ge.size(index, d)
        if d == dim or length == 1:
            continue
        line = interned.tensor([geometry.shape(index)[d]], interned.i64)
        steps = ge.Range(0, geometry.times(length, stride), stride, out=line)
        if d < rank - 1:
            spread = interned.tensor([line.get_shape()[0], *[1] * (rank - 1 - d)], interned.i64)
            steps = ge.Unsqueeze(steps, axes=list(range(1, rank - d)), out=spread)
        positions = ge.Add(positions, steps, out=type_)
    return positions


@converts(
    "index_put(Tensor self, Tensor?[] indices, Tensor values, bool accumulate=False) -> Tensor",
    "_unsafe_index_put(Tensor self, Tensor?[] indices, Tensor values, bool accumulate=False)"
    " -> Tensor",
)
def index_put(self: Any, indices: Any, values: Any, out: Any, accumulate: Any = False) -> Any:
    """Advanced indexing on the left of an assignment; one mask over all with one value selects."""
    given = [i for i in indices if i is not None]
    if not given:
        return _overwrite(self, values, accumulate, out)
    values = ge.cast_to(values, ge.element(self))
    masked = len(given) == 1 and _is_leading_mask(self, indices)
    if masked and not accumulate and geometry.rank(values) == 0:
        return _select_by_mask(given[0], values, self, out)
    tensors, present = index_list(self, indices)
    return put_at(self, tensors, present, values, accumulate, out)


def _overwrite(x: SSAValue, values: SSAValue, accumulate: bool, out: Attribute) -> SSAValue:
    values = ge.cast_to(values, ge.element(x))
    if accumulate:
        return ge.Add(x, values, out=out)
    return broadcast_to(values, out, geometry.all_sizes(x))


def _is_leading_mask(x: SSAValue, indices: Sequence[Any]) -> bool:
    mask = indices[0]
    if mask is None or ge.element(mask) != interned.i1:
        return False
    return 0 < geometry.rank(mask) <= geometry.rank(x)


def _select_by_mask(mask: SSAValue, value: SSAValue, x: SSAValue, out: Attribute) -> SSAValue:
    trailing = geometry.rank(x) - geometry.rank(mask)
    if trailing:
        rank = geometry.rank(mask)
        sizes = [*geometry.shape(mask), *[1] * trailing]
        wide = interned.tensor(sizes, interned.i1)
        mask = ge.Unsqueeze(mask, axes=[rank + d for d in range(trailing)], out=wide)
    return ge.SelectV2(mask, value, x, out=out)


def put_at(
    x: SSAValue,
    tensors: Sequence[SSAValue],
    present: Sequence[int],
    values: SSAValue,
    accumulate: bool,
    out: Attribute,
) -> SSAValue:
    """``IndexPutV2`` on a copy of ``x``."""
    copy = ge.TensorMove(x, out=out)
    mask = ge.sizes(list(present))
    return ge.IndexPutV2(copy, values, mask, mask, list(tensors), accumulate=accumulate, out=out)


@converts(
    "index_add(Tensor self, int dim, Tensor index, Tensor source, *, Scalar alpha=1) -> Tensor"
)
def index_add(self: Any, dim: Any, index: Any, source: Any, out: Any, alpha: Any = 1) -> Any:
    """Complex numbers are added by their parts."""
    element = ge.element(self)
    if is_complex(self):
        source = scale(source, alpha)
        pairs = zip(complex_parts(self), complex_parts(source), strict=True)
        added = [index_add(x, dim, index, part, x.type) for x, part in pairs]
        return complex_of(added[0], added[1], out)
    index = as_row(index)
    x = as_row(self)
    copy = ge.TensorMove(x, out=x.type)
    factor = None if alpha == 1 else operand(alpha, element)
    axis = geometry.axis(dim, geometry.rank(self))
    added = ge.InplaceIndexAdd(copy, index, as_row(source), factor, axis=axis, out=x.type)
    return added if geometry.rank(self) else reshape_to(added, out)


def _along(x: SSAValue, dim: int, index: SSAValue) -> tuple[list[SSAValue], list[int]]:
    """Advanced indexing of one dimension."""
    index = as_row(index)
    present = [0] * geometry.rank(x)
    present[geometry.axis(dim, len(present))] = 1
    return [ge.cast_to(index, interned.i64)], present


@converts("index_copy(Tensor self, int dim, Tensor index, Tensor source) -> Tensor")
def index_copy(self: Any, dim: Any, index: Any, source: Any, out: Any) -> Any:
    if geometry.rank(self) == 0:
        return reshape_to(source, out)
    return put_at(self, *_along(self, dim, index), source, False, out)


@converts("index_fill.int_Scalar(Tensor self, int dim, Tensor index, Scalar value) -> Tensor")
def index_fill_int_scalar(self: Any, dim: Any, index: Any, value: Any, out: Any) -> Any:
    number = operand(value, ge.element(self))
    if geometry.rank(self) == 0:
        return number
    return put_at(self, *_along(self, dim, index), number, False, out)


@converts("index_fill.int_Tensor(Tensor self, int dim, Tensor index, Tensor value) -> Tensor")
def index_fill_int_tensor(self: Any, dim: Any, index: Any, value: Any, out: Any) -> Any:
    return index_fill_int_scalar(self, dim, index, value, out)


@converts("masked_scatter(Tensor self, Tensor mask, Tensor source) -> Tensor")
def masked_scatter(self: Any, mask: Any, source: Any, out: Any) -> Any:
    larger = mask if geometry.rank(mask) > geometry.rank(self) else self
    sizes = geometry.all_sizes(larger)
    mask = broadcast_to(mask, with_element(out, interned.i1), sizes)
    x, source = (as_bits(v, "MaskedScatter") for v in (broadcast_to(self, out, sizes), source))
    written = ge.MaskedScatter(x, mask, source, out=with_element(out, ge.element(x)))
    return from_bits(written, out)


@converts("put(Tensor self, Tensor index, Tensor source, bool accumulate=False) -> Tensor")
def put(self: Any, index: Any, source: Any, out: Any, accumulate: Any = False) -> Any:
    """Writes into the flattened tensor."""
    count = geometry.count(self)
    flat = interned.tensor([count], ge.element(self))
    tensors = [ge.cast_to(index, interned.i64)]
    source = ge.cast_to(source, ge.element(self))
    written = put_at(reshape_to(self, flat, [-1]), tensors, [1], source, accumulate, flat)
    return reshape_to(written, out, geometry.all_sizes(self))


@converts("bincount(Tensor self, Tensor? weights=None, SymInt minlength=0) -> Tensor")
def bincount(self: Any, out: Any, weights: Any = None, minlength: Any = 0) -> Any:
    """Ones, or weights, added at their places, in 64 bits; GE's ``Bincount`` reads 32."""
    element, index = interned.element_type(out), as_index(self)
    scalar = interned.tensor([], ge.element(index))
    if geometry.shape(self) == (0,):
        return filled(0, [minlength], element)
    largest = ge.ReduceMax(index, [0], keep_dims=False, out=scalar)
    count = ge.cast_to(ge.Add(largest, 1, out=scalar), interned.i64)
    count = ge.Maximum(count, operand(minlength, interned.i64), out=count.type)
    start = ge.Fill([count], operand(0, element), out=out)
    amounts = _filled(1, self, element) if weights is None else ge.cast_to(weights, element)
    return ge.ScatterElements(start, index, amounts, axis=0, reduction="add", out=out)
