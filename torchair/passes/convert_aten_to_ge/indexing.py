"""Reads by index: embedding, gather, index_select, advanced indexing, masks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from xdsl.ir import Attribute, SSAValue

from torchair.dialects.ge import builder as ge
from torchair.errors import ConversionError
from torchair.ir import interned
from torchair.ir.interned import DYNAMIC
from torchair.passes.convert_aten_to_ge import geometry
from torchair.passes.convert_aten_to_ge.registry import converts
from torchair.passes.convert_aten_to_ge.shape import reshape_to

_MASKS = (interned.i1, interned.ui8)


@converts(
    "embedding(Tensor weight, Tensor indices, SymInt padding_idx=-1,"
    " bool scale_grad_by_freq=False, bool sparse=False) -> Tensor"
)
def embedding(
    weight: Any,
    indices: Any,
    out: Any,
    padding_idx: Any = -1,
    scale_grad_by_freq: Any = False,
    sparse: Any = False,
) -> Any:
    """Rows of a table; the other arguments matter to the backward only."""
    return ge.GatherV2(weight, indices, 0, out=out)


@converts(
    "embedding_dense_backward(Tensor grad_output, Tensor indices, SymInt num_weights,"
    " SymInt padding_idx, bool scale_grad_by_freq) -> Tensor"
)
def embedding_dense_backward(
    grad_output: Any,
    indices: Any,
    num_weights: Any,
    padding_idx: Any,
    scale_grad_by_freq: Any,
    out: Any,
) -> Any:
    if isinstance(num_weights, SSAValue) or isinstance(padding_idx, SSAValue):
        raise ConversionError(
            "the number of embedding rows is symbolic",
            hint="make the table's first dimension static (torch._dynamo.mark_static)",
        )
    if not geometry.accepts("EmbeddingDenseGrad", 0, grad_output):
        raise ConversionError(
            "GE has no embedding backward for this dtype",
            expected="float32, float16 or bfloat16",
            found=ge.element(grad_output),
            hint="compute the embedding in float32",
        )
    return ge.EmbeddingDenseGrad(
        grad_output,
        indices,
        num_weights=num_weights,
        padding_idx=padding_idx,
        scale_grad_by_freq=scale_grad_by_freq,
        out=out,
    )


@converts("index_select(Tensor self, int dim, Tensor index) -> Tensor")
def index_select(self: Any, dim: Any, index: Any, out: Any) -> Any:
    if geometry.rank(index) == 0:
        index = ge.Unsqueeze(index, axes=[0], out=interned.tensor([1], ge.element(index)))
    if geometry.rank(self) == 0:
        x = ge.Unsqueeze(self, axes=[0], out=interned.tensor([1], ge.element(self)))
        return reshape_to(ge.GatherV2(x, index, 0, out=interned.tensor([1], ge.element(x))), out)
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
    bits = as_bits(self, "GatherElements")
    if rank == 0:
        bits = ge.Unsqueeze(bits, axes=[0], out=interned.tensor([1], ge.element(bits)))
    if geometry.rank(index) < max(rank, 1):
        index = ge.Unsqueeze(index, axes=[0], out=interned.tensor([1], ge.element(index)))
    sizes = geometry.shape(index)
    gathered = ge.GatherElements(
        bits,
        index,
        dim=geometry.axis(dim, rank),
        out=interned.tensor(sizes, ge.element(bits))
        if sizes != geometry.shape(out)
        else with_element(out, ge.element(bits)),
    )
    return reshape_to(from_bits(gathered, with_element(gathered.type, ge.element(self))), out)


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
    sizes = geometry.shape(self)
    count = geometry.product(sizes) if geometry.is_static(self) else DYNAMIC
    flat = reshape_to(self, interned.tensor([count], ge.element(self)), [-1])
    return ge.GatherV2(flat, index, 0, negative_index_support=True, out=out)


@converts("nonzero(Tensor self) -> Tensor")
def nonzero(self: Any, out: Any) -> Any:
    return ge.NonZero(self, out=out)
