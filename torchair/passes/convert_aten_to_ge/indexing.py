"""Reads by index: gather, index_select, advanced indexing, masks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from xdsl.ir import Attribute, SSAValue

from torchair.dialects.ge import builder as ge
from torchair.errors import ConversionError
from torchair.ir import interned
from torchair.ir.interned import DYNAMIC
from torchair.passes.convert_aten_to_ge import geometry
from torchair.passes.convert_aten_to_ge.complex_numbers import is_complex
from torchair.passes.convert_aten_to_ge.registry import converts
from torchair.passes.convert_aten_to_ge.shape import reshape_to
from torchair.passes.convert_aten_to_ge.slicing import slice_dim

_MASKS = (interned.i1, interned.ui8)


@converts("index_select(Tensor self, int dim, Tensor index) -> Tensor")
def index_select(self: Any, dim: Any, index: Any, out: Any) -> Any:
    index = as_row(index)
    if geometry.rank(self) == 0:
        row = interned.tensor([1], ge.element(self))
        return reshape_to(ge.GatherV2(as_row(self), index, 0, out=row), out)
    return ge.GatherV2(self, index, geometry.axis(dim, geometry.rank(self)), out=out)


def as_bits(x: SSAValue, operator: str) -> SSAValue:
    """``x``, or its bytes as integers of the same size when an operator lacks its dtype."""
    if geometry.accepts(operator, 0, x):
        return x
    width = {8: interned.ui8, 16: interned.i16, 32: interned.i32, 64: interned.i64}
    same_size = width.get(geometry.bits(ge.element(x)))
    if same_size is None or not geometry.accepts("Bitcast", 0, x):
        raise ConversionError(
            f"GE's {operator} does not take this dtype",
            found=ge.element(x),
            hint="cast the operand to float32 or int64 around the call",
        )
    if ge.element(x) == interned.i1:
        return ge.cast_to(x, same_size)
    return ge.Bitcast(x, type=same_size, out=with_element(x.type, same_size))


def from_bits(x: SSAValue, out: Attribute) -> SSAValue:
    """The inverse of ``as_bits``."""
    wanted = interned.element_type(out)
    if ge.element(x) == wanted:
        return x
    if wanted == interned.i1:
        return ge.cast_to(x, wanted)
    return ge.Bitcast(x, type=wanted, out=out)


def with_element(type_: Attribute, element: Attribute) -> Attribute:
    """A tensor type of the same shape with another element type."""
    return interned.tensor(geometry.shape(type_), element)


@converts("gather(Tensor self, int dim, Tensor index, *, bool sparse_grad=False) -> Tensor")
def gather(self: Any, dim: Any, index: Any, out: Any, sparse_grad: Any = False) -> Any:
    rank = geometry.rank(self)
    bits = as_row(as_bits(self, "GatherElements"))
    places = as_row(as_index(index))
    type_ = with_element(out if rank else places.type, ge.element(bits))
    taken = ge.GatherElements(bits, places, dim=geometry.axis(dim, rank), out=type_)
    if rank > 0:
        return from_bits(taken, out)
    return reshape_to(from_bits(taken, with_element(type_, ge.element(self))), out, [-1])


def as_row(x: SSAValue) -> SSAValue:
    """A scalar as a tensor of one element; others as they are."""
    if geometry.rank(x) > 0:
        return x
    return ge.Unsqueeze(x, axes=[0], out=interned.tensor([1], ge.element(x)))


def as_index(index: SSAValue) -> SSAValue:
    """An index tensor as int32 or int64, the types that GE's operators take."""
    if ge.element(index) in (interned.i32, interned.i64):
        return index
    return ge.cast_to(index, interned.i64)


def index_list(x: SSAValue, indices: Sequence[Any]) -> tuple[list[SSAValue], list[int]]:
    """The int64 indices of advanced indexing and the mask of the dimensions they index.

    A boolean mask stands for the positions where it is true, in as many dimensions as it has.
    """
    tensors: list[SSAValue] = []
    present: list[int] = []
    for index in indices:
        if index is None:
            present.append(0)
        elif ge.element(index) in _MASKS:
            positions = nonzero_columns(index)
            tensors += positions
            present += [1] * len(positions)
        else:
            tensors.append(ge.cast_to(index, interned.i64))
            present.append(1)
    return tensors, present + [0] * (geometry.rank(x) - len(present))


def nonzero_columns(mask: SSAValue) -> list[SSAValue]:
    """Coordinates of the true elements, one 1-D tensor per dimension."""
    rank = geometry.rank(mask)
    column = interned.tensor([DYNAMIC], interned.i64)
    if rank == 1:
        rows = ge.NonZero(mask, out=interned.tensor([DYNAMIC, 1], interned.i64))
        return [ge.Squeeze(rows, axis=[1], out=column)]
    positions = ge.NonZero(mask, out=interned.tensor([DYNAMIC, rank], interned.i64))
    return list(ge.Unpack(positions, num=rank, axis=1, out=[column] * rank))


@converts(
    "index.Tensor(Tensor self, Tensor?[] indices) -> Tensor",
    "_unsafe_index.Tensor(Tensor self, Tensor?[] indices) -> Tensor",
)
def index_tensor(self: Any, indices: Any, out: Any) -> Any:
    """Advanced indexing; a single mask over all dimensions is a ``MaskedSelect``."""
    given = [i for i in indices if i is not None]
    if not given:
        return self
    if len(given) == 1 and _is_full_mask(self, indices[0]):
        return ge.MaskedSelect(self, ge.cast_to(given[0], interned.i1), out=out)
    tensors, present = index_list(self, indices)
    return ge.IndexByTensor(self, tensors, indices_mask=present, out=out)


def _is_full_mask(x: SSAValue, mask: Any) -> bool:
    if mask is None or ge.element(mask) not in _MASKS:
        return False
    return 0 < geometry.rank(mask) == geometry.rank(x)


@converts("masked_select(Tensor self, Tensor mask) -> Tensor")
def masked_select(self: Any, mask: Any, out: Any) -> Any:
    return ge.MaskedSelect(self, mask, out=out)


@converts("take(Tensor self, Tensor index) -> Tensor")
def take(self: Any, index: Any, out: Any) -> Any:
    """Elements of the flattened tensor; indices may be negative."""
    flat = reshape_to(self, interned.tensor([geometry.count(self)], ge.element(self)), [-1])
    return ge.GatherV2(flat, index, 0, negative_index_support=True, out=out)


@converts("nonzero(Tensor self) -> Tensor")
def nonzero(self: Any, out: Any) -> Any:
    return ge.NonZero(_marks(self), out=out)


def _marks(value: SSAValue) -> SSAValue:
    """What NonZero takes: it knows no complex numbers."""
    return ge.cast_to(value, interned.i1) if is_complex(value) else value


@converts("nonzero_static(Tensor self, *, SymInt size, int fill_value=-1) -> Tensor")
def nonzero_static(self: Any, size: Any, out: Any, fill_value: Any = -1) -> Any:
    """The first positions that are not zero, filled up to a fixed number."""
    rank = geometry.rank(self)
    found = ge.NonZero(_marks(self), out=interned.tensor([DYNAMIC, rank], interned.i64))
    filler = ge.Fill([size, rank], fill_value, out=out)
    joined = ge.ConcatV2([found, filler], 0, N=2, out=found.type)
    return slice_dim(joined, 0, 0, size, 1, out)
