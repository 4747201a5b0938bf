"""Order and search: sort, topk, searchsorted, unique elements."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from xdsl.ir import Attribute, SSAValue

from torchair.dialects.ge import builder as ge
from torchair.errors import ConversionError
from torchair.ir import interned
from torchair.passes.convert_aten_to_ge import geometry
from torchair.passes.convert_aten_to_ge.indexing import with_element
from torchair.passes.convert_aten_to_ge.operands import operand
from torchair.passes.convert_aten_to_ge.registry import converts
from torchair.passes.convert_aten_to_ge.shape import permute_to, reshape_to


def _sortable(x: SSAValue, operator: str) -> SSAValue:
    """``x`` in a dtype of the same order that the operator takes."""
    if geometry.accepts(operator, 0, x):
        return x
    if ge.element(x) == interned.i1:
        return ge.cast_to(x, interned.ui8)
    raise ConversionError(
        f"GE's {operator} does not take this dtype",
        found=ge.element(x),
        hint="cast the operand to float32 before the call",
    )


@converts("sort(Tensor self, int dim=-1, bool descending=False) -> (Tensor values, Tensor indices)")
def sort(self: Any, out: Any, dim: Any = -1, descending: Any = False) -> Any:
    return sorted_last(self, dim, descending, False, out)


@converts(
    "sort.stable(Tensor self, *, bool? stable, int dim=-1, bool descending=False)"
    " -> (Tensor values, Tensor indices)"
)
def sort_stable(
    self: Any, out: Any, stable: Any = None, dim: Any = -1, descending: Any = False
) -> Any:
    return sorted_last(self, dim, descending, bool(stable), out)


def sorted_last(
    x: SSAValue, dim: int, descending: bool, stable: bool, out: Sequence[Attribute]
) -> tuple[SSAValue, SSAValue]:
    """``Sort`` works on the last dimension: others are moved there and back."""
    values, indices = out
    rank = geometry.rank(x)
    if rank == 0:
        return x, ge.current().constant(0, interned.i64)
    dim = geometry.axis(dim, rank)
    order = [*[d for d in range(rank) if d != dim], dim]
    back = [order.index(d) for d in range(rank)]
    moved = _sortable(permute_to(x, order), "Sort")
    found, places = ge.Sort(
        moved,
        axis=-1,
        descending=descending,
        stable=stable,
        out=(moved.type, with_element(moved.type, interned.i32)),
    )
    found = permute_to(ge.cast_to(found, ge.element(x)), back, values)
    places = permute_to(ge.cast_to(places, interned.i64), back, indices)
    return found, places


@converts("argsort(Tensor self, int dim=-1, bool descending=False) -> Tensor")
def argsort(self: Any, out: Any, dim: Any = -1, descending: Any = False) -> Any:
    values = with_element(out, ge.element(self))
    return sorted_last(self, dim, descending, False, [values, out])[1]


@converts(
    "argsort.stable(Tensor self, *, bool stable, int dim=-1, bool descending=False) -> Tensor"
)
def argsort_stable(self: Any, out: Any, stable: Any, dim: Any = -1, descending: Any = False) -> Any:
    values = with_element(out, ge.element(self))
    return sorted_last(self, dim, descending, stable, [values, out])[1]


@converts(
    "topk(Tensor self, SymInt k, int dim=-1, bool largest=True, bool sorted=True)"
    " -> (Tensor values, Tensor indices)"
)
def topk(
    self: Any, k: Any, out: Any, dim: Any = -1, largest: Any = True, sorted: Any = True
) -> Any:
    values, indices = out
    if geometry.rank(self) == 0:
        return self, ge.current().constant(0, interned.i64)
    x = _sortable(self, "TopKV2")
    count = operand(k, interned.i32)
    found, places = ge.TopKV2(
        x,
        count,
        sorted=sorted,
        dim=geometry.axis(dim, geometry.rank(x)),
        largest=largest,
        out=(with_element(values, ge.element(x)), with_element(indices, interned.i32)),
    )
    return ge.cast_to(found, ge.element(self)), ge.cast_to(places, interned.i64)


@converts(
    "searchsorted.Tensor(Tensor sorted_sequence, Tensor self, *, bool out_int32=False,"
    " bool right=False, str? side=None, Tensor? sorter=None) -> Tensor"
)
def searchsorted_tensor(
    sorted_sequence: Any,
    self: Any,
    out: Any,
    out_int32: Any = False,
    right: Any = False,
    side: Any = None,
    sorter: Any = None,
) -> Any:
    element = ge.element(sorted_sequence)
    if not geometry.accepts("SearchSorted", 0, sorted_sequence):
        raise ConversionError(
            "GE's SearchSorted does not take this dtype",
            found=element,
            hint="cast sequence and values to float32 before the call",
        )
    return ge.SearchSorted(
        sorted_sequence,
        operand(self, element),
        sorter,
        dtype=interned.element_type(out),
        right=bool(right) or side == "right",
        out=out,
    )


@converts(
    "searchsorted.Scalar(Tensor sorted_sequence, Scalar self, *, bool out_int32=False,"
    " bool right=False, str? side=None, Tensor? sorter=None) -> Tensor"
)
def searchsorted_scalar(
    sorted_sequence: Any,
    self: Any,
    out: Any,
    out_int32: Any = False,
    right: Any = False,
    side: Any = None,
    sorter: Any = None,
) -> Any:
    return searchsorted_tensor(sorted_sequence, self, out, out_int32, right, side, sorter)


@converts(
    "bucketize.Tensor(Tensor self, Tensor boundaries, *, bool out_int32=False, bool right=False)"
    " -> Tensor"
)
def bucketize_tensor(
    self: Any, boundaries: Any, out: Any, out_int32: Any = False, right: Any = False
) -> Any:
    return searchsorted_tensor(boundaries, self, out, out_int32, right)


@converts(
    "bucketize.Scalar(Scalar self, Tensor boundaries, *, bool out_int32=False, bool right=False)"
    " -> Tensor"
)
def bucketize_scalar(
    self: Any, boundaries: Any, out: Any, out_int32: Any = False, right: Any = False
) -> Any:
    return searchsorted_scalar(boundaries, self, out, out_int32, right)


@converts(
    "kthvalue(Tensor self, SymInt k, int dim=-1, bool keepdim=False)"
    " -> (Tensor values, Tensor indices)"
)
def kthvalue(self: Any, k: Any, out: Any, dim: Any = -1, keepdim: Any = False) -> Any:
    """The k-th smallest: one row of the sorted tensor."""
    values, indices = out
    rank = geometry.rank(self)
    if rank == 0:
        return self, ge.current().constant(0, interned.i64)
    dim = geometry.axis(dim, rank)
    types = [self.type, with_element(self.type, interned.i64)]
    found, places = sorted_last(self, dim, False, True, types)
    row = geometry.minus(k, 1)
    if isinstance(row, int):
        row = ge.current().constant(row, interned.i64)
    if keepdim:
        row = ge.Unsqueeze(row, axes=[0], out=interned.tensor([1], interned.i64))
    return ge.GatherV2(found, row, dim, out=values), ge.GatherV2(places, row, dim, out=indices)


@converts("median(Tensor self) -> Tensor")
def median(self: Any, out: Any) -> Any:
    return _median_of_all(self, False, out)


@converts("nanmedian(Tensor self) -> Tensor")
def nanmedian(self: Any, out: Any) -> Any:
    return _median_of_all(self, True, out)


def _median_of_all(x: SSAValue, ignore_nan: bool, out: Attribute) -> SSAValue:
    if geometry.rank(x) == 0:
        return x
    sizes = geometry.shape(x)
    if 0 in sizes:
        raise ConversionError("the median of an empty tensor", hint="guard the call")
    count = geometry.count(x)
    flat = reshape_to(x, interned.tensor([count], ge.element(x)), [-1])
    places = interned.tensor([], interned.i64)
    return _median_along(flat, 0, False, ignore_nan, [out, places])[0]


@converts("median.dim(Tensor self, int dim, bool keepdim=False) -> (Tensor values, Tensor indices)")
def median_dim(self: Any, dim: Any, out: Any, keepdim: Any = False) -> Any:
    return _median_along(self, dim, keepdim, False, out)


@converts(
    "nanmedian.dim(Tensor self, int dim, bool keepdim=False) -> (Tensor values, Tensor indices)"
)
def nanmedian_dim(self: Any, dim: Any, out: Any, keepdim: Any = False) -> Any:
    return _median_along(self, dim, keepdim, True, out)


def _median_along(
    x: SSAValue, dim: int, keepdim: bool, ignore_nan: bool, out: Sequence[Attribute]
) -> tuple[SSAValue, SSAValue]:
    """The lower middle of the sorted elements; NaN, sorted last, wins or is not counted."""
    rank = geometry.rank(x)
    if rank == 0:
        return x, ge.current().constant(0, interned.i64)
    dim = geometry.axis(dim, rank)
    types = [x.type, with_element(x.type, interned.i64)]
    found, places = sorted_last(x, dim, False, True, types)
    length = geometry.minus(ge.size(x, dim), 1)
    rows = list(geometry.shape(x))
    rows[dim] = 1
    middle, index = _rows(found, places, dim, geometry.quotient(length, 2), rows)
    if ge.element(x) in _FLOATS:
        if ignore_nan:
            middle, index = _middle_of_numbers(found, places, dim, rows)
        else:
            middle, index = _last_if_nan(found, places, dim, length, (middle, index))
    if keepdim:
        return middle, index
    return (
        ge.Squeeze(middle, axis=[dim], out=out[0]),
        ge.Squeeze(index, axis=[dim], out=out[1]),
    )


_FLOATS = (interned.f16, interned.bf16, interned.f32, interned.f64)


def _rows(
    values: SSAValue, places: SSAValue, dim: int, position: Any, sizes: Sequence[int]
) -> tuple[SSAValue, SSAValue]:
    """One position of the sorted values and of their places, the dimension kept."""
    at = ge.sizes([position])
    return (
        ge.GatherV2(values, at, dim, out=interned.tensor(sizes, ge.element(values))),
        ge.GatherV2(places, at, dim, out=interned.tensor(sizes, interned.i64)),
    )


def _last_if_nan(
    values: SSAValue,
    places: SSAValue,
    dim: int,
    last: Any,
    middle: tuple[SSAValue, SSAValue],
) -> tuple[SSAValue, SSAValue]:
    sizes = geometry.shape(middle[0])
    value, place = _rows(values, places, dim, last, sizes)
    is_nan = ge.NotEqual(value, value, out=interned.tensor(sizes, interned.i1))
    return (
        ge.SelectV2(is_nan, value, middle[0], out=middle[0].type),
        ge.SelectV2(is_nan, place, middle[1], out=middle[1].type),
    )


def _middle_of_numbers(
    values: SSAValue, places: SSAValue, dim: int, sizes: Sequence[int]
) -> tuple[SSAValue, SSAValue]:
    is_number = ge.Equal(values, values, out=with_element(values.type, interned.i1))
    line = interned.tensor(sizes, interned.i64)
    count = ge.ReduceSum(ge.cast_to(is_number, interned.i64), [dim], keep_dims=True, out=line)
    last = ge.Maximum(ge.Sub(count, 1, out=line), 0, out=line)
    middle = ge.FloorDiv(last, 2, out=line)
    type_ = interned.tensor(sizes, ge.element(values))
    return (
        ge.GatherElements(values, middle, dim=dim, out=type_),
        ge.GatherElements(places, middle, dim=dim, out=line),
    )


@converts(
    "_unique2(Tensor self, bool sorted=True, bool return_inverse=False,"
    " bool return_counts=False) -> (Tensor, Tensor, Tensor)"
)
def unique2(
    self: Any,
    out: Any,
    sorted: Any = True,
    return_inverse: Any = False,
    return_counts: Any = False,
) -> Any:
    values, inverse, counts = out
    return ge.UniqueWithCountsAndSorting(
        self,
        return_inverse=return_inverse,
        return_counts=return_counts,
        sorted=sorted,
        out=(values, inverse, counts),
    )


@converts(
    "unique_consecutive(Tensor self, bool return_inverse=False, bool return_counts=False,"
    " int? dim=None) -> (Tensor, Tensor, Tensor)"
)
def unique_consecutive(
    self: Any,
    out: Any,
    return_inverse: Any = False,
    return_counts: Any = False,
    dim: Any = None,
) -> Any:
    values, inverse, counts = out
    axis = 1000 if dim is None else geometry.axis(dim, geometry.rank(self))
    return ge.UniqueConsecutive(
        self,
        return_idx=return_inverse,
        return_counts=return_counts,
        axis=axis,
        out=(values, inverse, counts),
    )
