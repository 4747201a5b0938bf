"""Parts of tensors and tensors made of parts: slice, select, split, concatenate, roll."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

from xdsl.ir import Attribute, BlockArgument, SSAValue

from torchair.dialects.ge import builder as ge
from torchair.errors import ConversionError
from torchair.ir import interned
from torchair.ir.interned import DYNAMIC
from torchair.passes.convert_aten_to_ge import geometry
from torchair.passes.convert_aten_to_ge.geometry import INT64_MAX
from torchair.passes.convert_aten_to_ge.registry import converts
from torchair.passes.convert_aten_to_ge.shape import reshape_to


def clamped(bound: Any, size: Any) -> Any:
    """A slice bound within a static size; left as it is when either is symbolic."""
    if not isinstance(bound, int) or not isinstance(size, int):
        return bound
    return min(max(bound + size if bound < 0 else bound, 0), size)


def slice_dim(x: SSAValue, dim: int, start: Any, end: Any, step: Any = 1, out: Any = None) -> Any:
    """``x[start:end:step]`` along one dimension.

    Args:
        start, end, step: ints or 0-d int64 tensors; bounds are clamped and may be negative.
        out: result type; computed from static bounds, else unknown along ``dim``.
    """
    size = geometry.size_at(x, dim)
    known = size if size != DYNAMIC else None
    start, end = clamped(start, known), clamped(end, known)
    if start == 0 and step == 1 and (end == known or _is_open(end)):
        return x
    if out is None:
        out = _sliced_type(x, dim, start, end, step)
    if known is not None and out == x.type and step == 1:
        return x
    strides = None if isinstance(step, int) and step == 1 else ge.sizes([step])
    return ge.StridedSliceV2(x, [start], [end], ge.sizes([dim]), strides, out=out)


def _is_open(end: Any) -> bool:
    return isinstance(end, int) and end == INT64_MAX


def _sliced_type(x: SSAValue, dim: int, start: Any, end: Any, step: Any) -> Attribute:
    sizes = list(geometry.shape(x))
    if sizes[dim] != DYNAMIC and all(isinstance(v, int) for v in (start, end, step)):
        sizes[dim] = max(0, -(-(end - start) // step))
    else:
        sizes[dim] = DYNAMIC
    return interned.tensor(sizes, ge.element(x))


@converts(
    "slice.Tensor(Tensor(a) self, int dim=0, SymInt? start=None, SymInt? end=None, SymInt step=1)"
    " -> Tensor(a)",
    "slice_copy.Tensor(Tensor self, int dim=0, SymInt? start=None, SymInt? end=None,"
    " SymInt step=1) -> Tensor",
)
def slice_tensor(
    self: Any, out: Any, dim: Any = 0, start: Any = None, end: Any = None, step: Any = 1
) -> Any:
    if geometry.same_shape(self, out):
        return self
    start = 0 if start is None else start
    end = INT64_MAX if end is None else end
    return slice_dim(self, geometry.axis(dim, geometry.rank(self)), start, end, step, out)


@converts(
    "narrow(Tensor(a) self, int dim, SymInt start, SymInt length) -> Tensor(a)",
    "narrow_copy(Tensor self, int dim, SymInt start, SymInt length) -> Tensor",
)
def narrow(self: Any, dim: Any, start: Any, length: Any, out: Any) -> Any:
    dim = geometry.axis(dim, geometry.rank(self))
    if isinstance(start, int) and start < 0:
        start = geometry.plus(ge.size(self, dim), start)
    return slice_dim(self, dim, start, geometry.plus(start, length), 1, out)


@converts(
    "select.int(Tensor(a) self, int dim, SymInt index) -> Tensor(a)",
    "select_copy.int(Tensor self, int dim, SymInt index) -> Tensor",
)
def select_int(self: Any, dim: Any, index: Any, out: Any) -> Any:
    dim = geometry.axis(dim, geometry.rank(self))
    size = geometry.size_at(self, dim)
    if size == 1:
        return ge.Squeeze(self, axis=[dim], out=out)
    if isinstance(index, int) and index < 0 and size != DYNAMIC:
        index += size
    if isinstance(index, int):
        index = ge.current().constant(index, interned.i64)
        negative = size == DYNAMIC
    else:
        negative = True
    return ge.GatherV2(self, index, dim, negative_index_support=negative, out=out)


@converts("cat(Tensor[] tensors, int dim=0) -> Tensor")
def cat(tensors: Any, out: Any, dim: Any = 0) -> Any:
    """Joins along a dimension; empty 1-D tensors may join anything (a PyTorch legacy)."""
    parts = [t for t in tensors if geometry.rank(out) == 1 or geometry.shape(t) != (0,)]
    dim = geometry.axis(dim, geometry.rank(out))
    parts = [p for p in parts if geometry.size_at(p, dim) != 0] or parts[:1]
    return concat([ge.cast_to(p, interned.element_type(out)) for p in parts], dim, out)


def concat(parts: Sequence[SSAValue], dim: int, out: Attribute) -> SSAValue:
    """Joins parts of one dtype."""
    if len(parts) == 1:
        return parts[0]
    return ge.ConcatV2(parts, dim, N=len(parts), out=out)


@converts("stack(Tensor[] tensors, int dim=0) -> Tensor")
def stack(tensors: Any, out: Any, dim: Any = 0) -> Any:
    dim = geometry.axis(dim, geometry.rank(out))
    parts = [ge.cast_to(t, interned.element_type(out)) for t in tensors]
    if len(parts) == 1:
        return ge.Unsqueeze(parts[0], axes=[dim], out=out)
    return ge.Pack(parts, axis=dim, N=len(parts), out=out)


def result_types(out: Any) -> list[Attribute]:
    """The types of a result list; a single one comes alone."""
    return cast("list[Attribute]", out) if isinstance(out, list) else [out]


def _split(x: SSAValue, lengths: Sequence[Any], dim: int, out: Any) -> Any:
    """Parts of the given lengths; the last may be -1."""
    types = result_types(out)
    if len(types) == 1:
        return [x]
    number = ge.current().constant(dim, interned.i32)
    return ge.SplitV(x, list(lengths), number, num_split=len(types), out=types)


@converts(
    "split.Tensor(Tensor(a -> *) self, SymInt split_size, int dim=0) -> Tensor(a)[]",
    "split_copy.Tensor(Tensor self, SymInt split_size, int dim=0) -> Tensor[]",
    "unsafe_split.Tensor(Tensor self, SymInt split_size, int dim=0) -> Tensor[]",
)
def split_tensor(self: Any, split_size: Any, out: Any, dim: Any = 0) -> Any:
    count = len(result_types(out))
    dim = geometry.axis(dim, geometry.rank(self))
    size = geometry.size_at(self, dim)
    last: Any = -1
    if size != DYNAMIC and isinstance(split_size, int):
        last = size - split_size * (count - 1)
    return _split(self, [*[split_size] * (count - 1), last], dim, out)


@converts(
    "split_with_sizes(Tensor(a -> *) self, SymInt[] split_sizes, int dim=0) -> Tensor(a)[]",
    "split_with_sizes_copy(Tensor self, SymInt[] split_sizes, int dim=0) -> Tensor[]",
    "unsafe_split_with_sizes(Tensor self, SymInt[] split_sizes, int dim=0) -> Tensor[]",
)
def split_with_sizes(self: Any, split_sizes: Any, out: Any, dim: Any = 0) -> Any:
    lengths = list(split_sizes)
    symbolic = [i for i, length in enumerate(lengths) if isinstance(length, SSAValue)]
    if symbolic:
        lengths[symbolic[-1]] = -1
    return _split(self, lengths, geometry.axis(dim, geometry.rank(self)), out)


@converts("chunk(Tensor(a -> *) self, int chunks, int dim=0) -> Tensor(a)[]")
def chunk(self: Any, chunks: Any, out: Any, dim: Any = 0) -> Any:
    dim = geometry.axis(dim, geometry.rank(self))
    size = geometry.size_at(self, dim)
    if size == DYNAMIC:
        raise ConversionError(
            "chunk along a symbolic dimension",
            hint="use torch.split with an explicit size, or make the dimension static",
        )
    return split_tensor(self, max(1, -(-size // chunks)), out, dim)


@converts(
    "unbind.int(Tensor(a -> *) self, int dim=0) -> Tensor(a)[]",
    "unbind_copy.int(Tensor self, int dim=0) -> Tensor[]",
)
def unbind_int(self: Any, out: Any, dim: Any = 0) -> Any:
    dim = geometry.axis(dim, geometry.rank(self))
    types = result_types(out)
    if len(types) == 1:
        return [ge.Squeeze(self, axis=[dim], out=types[0])]
    return ge.Unpack(self, num=len(types), axis=dim, out=types)


@converts(
    "slice_scatter(Tensor self, Tensor src, int dim=0, SymInt? start=None, SymInt? end=None,"
    " SymInt step=1) -> Tensor"
)
def slice_scatter(
    self: Any,
    src: Any,
    out: Any,
    dim: Any = 0,
    start: Any = None,
    end: Any = None,
    step: Any = 1,
) -> Any:
    """``self`` with a slice replaced by ``src``: the parts around it are kept and joined."""
    dim = geometry.axis(dim, geometry.rank(self))
    size = geometry.size_at(self, dim)
    known = None if size == DYNAMIC else size
    start = clamped(0 if start is None else start, known)
    end = clamped(INT64_MAX if end is None else end, known)
    source = ge.cast_to(src, ge.element(self))
    ordered = known is not None or _same_sign(start, end)
    if ordered and isinstance(start, int) and isinstance(end, int) and end <= start:
        return self
    is_input = isinstance(self, BlockArgument)  # may be written in place
    if ordered and step == 1 and not is_input:
        return _join_around(self, source, dim, start, end, out)
    sizes = geometry.rank(self)
    begin, limit, strides = [0] * sizes, [INT64_MAX] * sizes, [1] * sizes
    begin[dim], limit[dim], strides[dim] = start, end, step
    copy = ge.TensorMove(self, out=out)
    return ge.StridedSliceAssign(copy, begin, limit, strides, source, out=out)


def _same_sign(start: Any, end: Any) -> bool:
    """Whether two bounds count from the same side, so that their order is known."""
    if not isinstance(start, int) or not isinstance(end, int):
        return True
    return _is_open(end) or (start < 0) == (end < 0)


def _join_around(
    x: SSAValue, source: SSAValue, dim: int, start: Any, end: Any, out: Attribute
) -> SSAValue:
    parts: list[SSAValue] = []
    if start != 0:
        parts.append(slice_dim(x, dim, 0, start))
    parts.append(source)
    size = geometry.size_at(x, dim)
    if not _is_open(end) and end != size:
        parts.append(slice_dim(x, dim, end, INT64_MAX))
    return concat(parts, dim, out)


@converts("select_scatter(Tensor self, Tensor src, int dim, SymInt index) -> Tensor")
def select_scatter(self: Any, src: Any, dim: Any, index: Any, out: Any) -> Any:
    dim = geometry.axis(dim, geometry.rank(self))
    size = geometry.size_at(self, dim)
    if isinstance(index, int) and index < 0 and size != DYNAMIC:
        index += size
    if not isinstance(index, int):
        index = _from_front(index, ge.size(self, dim))
    sizes = list(geometry.shape(self))
    sizes[dim] = 1
    row_type = interned.tensor(sizes, ge.element(self))
    row = ge.Unsqueeze(ge.cast_to(src, ge.element(self)), axes=[dim], out=row_type)
    after = INT64_MAX if index == -1 else geometry.plus(index, 1)
    return _join_around(self, row, dim, index, after, out)


def _from_front(index: SSAValue, size: Any) -> Any:
    """A symbolic index, which may be negative, counted from the front."""
    return ge.FloorMod(index, size, out=interned.tensor([], interned.i64))


@converts(
    "slice_backward(Tensor grad_output, SymInt[] input_sizes, int dim, SymInt start, SymInt end,"
    " SymInt step) -> Tensor"
)
def slice_backward(
    grad_output: Any, input_sizes: Any, dim: Any, start: Any, end: Any, step: Any, out: Any
) -> Any:
    """Zeros of the input's shape with the gradient in the slice."""
    if geometry.same_shape(grad_output, out):
        return grad_output
    rank = len(input_sizes)
    dim = geometry.axis(dim, rank)
    size, length = geometry.size_at(out, dim), geometry.size_at(grad_output, dim)
    start = clamped(start, None if size == DYNAMIC else size)
    is_static = all(isinstance(v, int) for v in (start, step))
    if step == 1 and is_static and DYNAMIC not in (size, length):
        paddings = [0] * (2 * rank)
        paddings[2 * dim], paddings[2 * dim + 1] = start, size - start - length
        return ge.PadV3(grad_output, paddings, 0, out=out)
    begin, limit, strides = [0] * rank, [INT64_MAX] * rank, [1] * rank
    begin[dim], limit[dim], strides[dim] = start, end, step
    shape = geometry.resolve(out, input_sizes)
    return ge.StridedSliceGrad(shape, begin, limit, strides, grad_output, out=out)


@converts(
    "select_backward(Tensor grad_output, SymInt[] input_sizes, int dim, SymInt index) -> Tensor"
)
def select_backward(grad_output: Any, input_sizes: Any, dim: Any, index: Any, out: Any) -> Any:
    """Zeros of the input's shape with the gradient at one index."""
    rank = len(input_sizes)
    dim = geometry.axis(dim, rank)
    if geometry.size_at(out, dim) == 1:
        return ge.Unsqueeze(grad_output, axes=[dim], out=out)
    shape = geometry.resolve(out, input_sizes)
    if not isinstance(index, int):
        index = _from_front(index, shape[dim])
    begin: list[Any] = [0] * rank
    limit: list[Any] = [INT64_MAX] * rank
    begin[dim] = index
    limit[dim] = INT64_MAX if index == -1 else geometry.plus(index, 1)
    return ge.StridedSliceGrad(
        shape, begin, limit, [1] * rank, grad_output, shrink_axis_mask=1 << dim, out=out
    )


@converts("roll(Tensor self, SymInt[1] shifts, int[1] dims=[]) -> Tensor")
def roll(self: Any, shifts: Any, out: Any, dims: Any = ()) -> Any:
    if not dims:
        flat = interned.tensor([geometry.count(self)], ge.element(self))
        rolled = _roll(reshape_to(self, flat, [-1]), shifts, [0], flat)
        return reshape_to(rolled, out, geometry.all_sizes(self))
    return _roll(self, shifts, geometry.axes(dims, geometry.rank(self)), out)


def _roll(x: SSAValue, shifts: Sequence[Any], axes: Sequence[int], out: Attribute) -> SSAValue:
    if geometry.rank(x) == 0:
        return x
    if all(isinstance(s, int) for s in shifts) and geometry.accepts("Roll", 0, x):
        return ge.Roll(x, shifts=list(shifts), dims=list(axes), out=out)
    for shift, dim in zip(shifts, axes, strict=True):
        x = _roll_by_parts(x, shift, dim, out)
    return x


def _roll_by_parts(x: SSAValue, shift: Any, dim: int, out: Attribute) -> SSAValue:
    """The last elements first; for dtypes or shifts that ``Roll`` does not take."""
    size = ge.size(x, dim)
    if isinstance(size, int) and size == 0:
        return x
    if isinstance(size, int) and isinstance(shift, int):
        cut: Any = -shift % size
        if cut == 0:
            return x
    else:
        zero = ge.current().constant(0, interned.i64)
        scalar = interned.tensor([], interned.i64)
        divisor = size if isinstance(size, int) else ge.Maximum(size, 1, out=scalar)
        cut = ge.FloorMod(geometry.minus(zero, shift), divisor, out=scalar)
    return concat([slice_dim(x, dim, cut, INT64_MAX), slice_dim(x, dim, 0, cut)], dim, out)


@converts(
    "unfold(Tensor(a) self, int dimension, int size, int step) -> Tensor(a)",
    "unfold_copy(Tensor self, int dimension, int size, int step) -> Tensor",
)
def unfold(self: Any, dimension: Any, size: Any, step: Any, out: Any) -> Any:
    """Windows along a dimension, their elements last."""
    rank = geometry.rank(self)
    if rank == 0:
        return reshape_to(self, out, [1])
    dim = geometry.axis(dimension, rank)
    strides = geometry.strides(self)
    shape = geometry.all_sizes(self)
    windows = geometry.plus(geometry.quotient(geometry.minus(shape[dim], size), step), 1)
    within = strides[dim]
    strides[dim] = geometry.times(within, step)
    shape[dim] = windows
    return ge.AsStrided(self, [*shape, size], [*strides, within], [0], out=out)
