"""Changes of shape and order: views, permutations, expansion, repetition, padding."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from xdsl.ir import Attribute, SSAValue

from torchair.dialects.ge import builder as ge
from torchair.errors import ConversionError
from torchair.ir import element_types, interned
from torchair.ir.interned import DYNAMIC
from torchair.ir.weights import WeightAttr
from torchair.passes.convert_aten_to_ge import geometry
from torchair.passes.convert_aten_to_ge.operands import has_type
from torchair.passes.convert_aten_to_ge.registry import converts

_POSITIVE = re.compile(r"[s\d*+ ()]+")


def reshape_to(x: SSAValue, out: Attribute, size: Sequence[Any] | None = None) -> SSAValue:
    """A value with the elements of ``x`` and the shape of ``out``, in as few nodes as possible.

    Args:
        x: dense tensor.
        out: result type.
        size: gives the symbolic sizes; may be left out where ``out`` has at most one.
    """
    if geometry.same_shape(x, out):
        return x
    changed = _unit_dims_changed(x, out)
    if changed is not None:
        name, attribute, axes = changed
        return ge.call(name, x, **{attribute: axes}, out=out)
    sizes = geometry.shape(out)
    unknown = [d for d, s in enumerate(sizes) if s == DYNAMIC]
    if len(unknown) > 1:
        merged = _merged_dims(x, out)
        if merged is not None:
            return ge.FlattenV2(x, axis=merged[0], end_axis=merged[1], out=out)
    inferred = _inferred_dim(out, unknown)
    if len(unknown) <= (inferred is not None):
        return ge.Reshape(x, [-1 if s == DYNAMIC else s for s in sizes], out=out)
    if size is None:
        raise ConversionError("the symbolic sizes of a reshape are unknown", found=out)
    wanted = geometry.resolve(out, size)
    if inferred is not None and -1 not in wanted:
        wanted[inferred] = -1
    return ge.Reshape(x, wanted, out=out)


def _unit_dims_changed(x: SSAValue, out: Attribute) -> tuple[str, str, list[int]] | None:
    """``Unsqueeze`` or ``Squeeze`` when the shapes differ in dimensions of size one only."""
    old, new = geometry.symbols(x), geometry.symbols(out)
    if None in old or None in new:
        return None
    if len(new) > len(old):
        added = _extra_ones(old, new)
        return None if added is None else ("Unsqueeze", "axes", added)
    removed = _extra_ones(new, old)
    return None if removed is None else ("Squeeze", "axis", removed)


def _extra_ones(short: Sequence[Any], long: Sequence[Any]) -> list[int] | None:
    """Positions of the ones that make ``short`` into ``long``."""
    position = 0
    extra: list[int] = []
    for index, size in enumerate(long):
        if position < len(short) and short[position] == size:
            position += 1
        elif size == 1:
            extra.append(index)
        else:
            return None
    return extra if position == len(short) and extra else None


def _merged_dims(x: SSAValue, out: Attribute) -> tuple[int, int] | None:
    """First and last of the neighbouring dimensions that become one, others being equal."""
    if not geometry.accepts("FlattenV2", 0, x):
        return None
    old, new = geometry.symbols(x), geometry.symbols(out)
    merged = len(old) - len(new) + 1
    if merged < 2 or None in old or None in new:
        return None
    for first in range(len(new)):
        last = first + merged - 1
        if old[:first] == new[:first] and old[last + 1 :] == new[first + 1 :]:
            return first, last
    return None


def _inferred_dim(out: Attribute, unknown: Sequence[int]) -> int | None:
    """The dimension to write as -1: only possible when no other size can be zero."""
    if not unknown or 0 in geometry.shape(out):
        return None
    texts = geometry.symbols(out)
    unbacked = [d for d in unknown if not _is_positive(texts[d])]
    if len(unbacked) > 1:
        return None
    return unbacked[0] if unbacked else _costliest(texts, unknown)


def _is_positive(text: object) -> bool:
    """Whether a size cannot be zero: sums and products of input sizes, which are at least two."""
    return isinstance(text, str) and _POSITIVE.fullmatch(text) is not None


def _costliest(texts: Sequence[object], unknown: Sequence[int]) -> int:
    """The size with the longest expression, whose computation is then dead."""
    return max(unknown, key=lambda d: len(str(texts[d])))


@converts("aten::constant(tensor value) -> Tensor")
def constant(value: Any, out: Any) -> Any:
    if isinstance(value, WeightAttr):
        return ge.current().append("Const", [value], [out])[0]
    return ge.current().constant_attribute(value)


@converts(
    "view(Tensor(a) self, SymInt[] size) -> Tensor(a)",
    "view_copy(Tensor self, SymInt[] size) -> Tensor",
    "_unsafe_view(Tensor self, SymInt[] size) -> Tensor",
    "_reshape_copy(Tensor self, SymInt[] size) -> Tensor",
)
def view(self: Any, size: Any, out: Any) -> Any:
    return reshape_to(self, out, size)


@converts("reshape(Tensor(a) self, SymInt[] shape) -> Tensor(a)")
def reshape(self: Any, shape: Any, out: Any) -> Any:
    return reshape_to(self, out, shape)


@converts(
    "_reshape_alias(Tensor(a) self, SymInt[] size, SymInt[] stride) -> Tensor(a)",
    "_reshape_alias_copy(Tensor self, SymInt[] size, SymInt[] stride) -> Tensor",
)
def reshape_alias(self: Any, size: Any, stride: Any, out: Any) -> Any:
    return reshape_to(self, out, size)


@converts("flatten.using_ints(Tensor(a) self, int start_dim=0, int end_dim=-1) -> Tensor(a)")
def flatten_using_ints(self: Any, start_dim: Any, end_dim: Any, out: Any) -> Any:
    sizes: list[Any] = []
    first, last = geometry.axes([start_dim, end_dim], geometry.rank(self))
    for d in range(geometry.rank(self)):
        size = ge.size(self, d)
        if first < d <= last:
            sizes[first] = geometry.times(sizes[first], size)
        else:
            sizes.append(size)
    return reshape_to(self, out, sizes or [1])


@converts(
    "view.dtype(Tensor(a) self, ScalarType dtype) -> Tensor(a)",
    "view_copy.dtype(Tensor self, ScalarType dtype) -> Tensor",
)
def view_dtype(self: Any, dtype: Any, out: Any) -> Any:
    """The bytes of a tensor read as another type; a size change moves into the last dimension."""
    if ge.element(self) == dtype:
        return self
    if not all(has_type("Bitcast", t) for t in (ge.element(self), dtype)):
        raise ConversionError(
            "GE does not read the bytes of these types as one another",
            found=f"{element_types.to_name(ge.element(self))} as {element_types.to_name(dtype)}",
            hint="convert the values instead: x.to(dtype)",
        )
    old, new = (geometry.bits(t) for t in (ge.element(self), dtype))
    if old == new:
        return ge.Bitcast(self, type=dtype, out=out)
    if old > new:
        split = ge.Bitcast(self, type=dtype, out=interned.unranked(dtype))
        return ge.Reshape(split, geometry.resolve(out, _scaled_sizes(self, old // new, 1)), out=out)
    grouped = interned.tensor([*geometry.shape(self)[:-1], DYNAMIC, new // old], ge.element(self))
    target = [*_scaled_sizes(self, 1, new // old)[:-1], -1, new // old]
    return ge.Bitcast(ge.Reshape(self, target, out=grouped), type=dtype, out=out)


def _scaled_sizes(x: SSAValue, multiple: int, divisor: int) -> list[Any]:
    sizes: list[Any] = geometry.all_sizes(x)
    if isinstance(sizes[-1], int):
        sizes[-1] = sizes[-1] * multiple // divisor
    else:
        sizes[-1] = geometry.times(sizes[-1], multiple)
    return sizes


@converts(
    "unsqueeze(Tensor(a) self, int dim) -> Tensor(a)",
    "unsqueeze_copy(Tensor self, int dim) -> Tensor",
)
def unsqueeze(self: Any, dim: Any, out: Any) -> Any:
    return ge.Unsqueeze(self, axes=[geometry.axis(dim, geometry.rank(out))], out=out)


def _squeeze(x: SSAValue, wanted: Sequence[int], out: Attribute) -> SSAValue:
    sizes = geometry.shape(x)
    removed = [d for d in sorted(set(wanted)) if d < len(sizes) and sizes[d] == 1]
    return ge.Squeeze(x, axis=removed, out=out) if removed else x


@converts("squeeze(Tensor(a) self) -> Tensor(a)", "squeeze_copy(Tensor self) -> Tensor")
def squeeze(self: Any, out: Any) -> Any:
    return _squeeze(self, range(geometry.rank(self)), out)


@converts(
    "squeeze.dim(Tensor(a) self, int dim) -> Tensor(a)",
    "squeeze_copy.dim(Tensor self, int dim) -> Tensor",
)
def squeeze_dim(self: Any, dim: Any, out: Any) -> Any:
    return _squeeze(self, geometry.axes([dim], geometry.rank(self)), out)


@converts(
    "squeeze.dims(Tensor(a) self, int[] dim) -> Tensor(a)",
    "squeeze_copy.dims(Tensor self, int[] dim) -> Tensor",
)
def squeeze_dims(self: Any, dim: Any, out: Any) -> Any:
    return _squeeze(self, geometry.axes(dim, geometry.rank(self)), out)


def permute_to(x: SSAValue, order: Sequence[int], out: Attribute | None = None) -> SSAValue:
    """``x`` with its dimensions in another order; a reshape when only ones move.

    The swap of the last two dimensions always is a ``Transpose``, which matrix products absorb.
    """
    sizes = geometry.shape(x)
    if list(order) == sorted(order):
        return x
    if out is None:
        out = interned.tensor([sizes[d] for d in order], ge.element(x))
    last_two = [*range(len(sizes) - 2), len(sizes) - 1, len(sizes) - 2]
    moving = [d for d in order if sizes[d] != 1]
    if list(order) != last_two and moving == sorted(moving):
        return reshape_to(x, out, [ge.size(x, d) for d in order])
    return ge.Transpose(x, list(order), out=out)


@converts(
    "permute(Tensor(a) self, int[] dims) -> Tensor(a)",
    "permute_copy(Tensor self, int[] dims) -> Tensor",
)
def permute(self: Any, dims: Any, out: Any) -> Any:
    return permute_to(self, geometry.axes(dims, geometry.rank(self)), out)


@converts(
    "transpose.int(Tensor(a) self, int dim0, int dim1) -> Tensor(a)",
    "transpose_copy.int(Tensor self, int dim0, int dim1) -> Tensor",
)
def transpose_int(self: Any, dim0: Any, dim1: Any, out: Any) -> Any:
    order = list(range(geometry.rank(self)))
    if not order:
        return self
    first, second = geometry.axes([dim0, dim1], len(order))
    order[first], order[second] = second, first
    return permute_to(self, order, out)


@converts("t(Tensor(a) self) -> Tensor(a)", "t_copy(Tensor self) -> Tensor")
def t(self: Any, out: Any) -> Any:
    return permute_to(self, list(reversed(range(geometry.rank(self)))), out)


def broadcast_to(x: SSAValue, out: Attribute, size: Sequence[Any]) -> SSAValue:
    """``x`` expanded to the shape of ``out``; ``size`` gives the symbolic sizes."""
    if geometry.same_shape(x, out):
        return x
    return ge.BroadcastTo(x, geometry.resolve(out, size), out=out)


@converts(
    "expand(Tensor(a) self, SymInt[] size, *, bool implicit=False) -> Tensor(a)",
    "expand_copy(Tensor self, SymInt[] size, *, bool implicit=False) -> Tensor",
)
def expand(self: Any, size: Any, out: Any, implicit: Any = False) -> Any:
    lead = len(size) - geometry.rank(self)
    wanted = [
        ge.size(self, d - lead) if isinstance(s, int) and s == -1 else s for d, s in enumerate(size)
    ]
    return broadcast_to(self, out, wanted)


@converts("repeat(Tensor self, SymInt[] repeats) -> Tensor")
def repeat(self: Any, repeats: Any, out: Any) -> Any:
    if all(isinstance(r, int) and r == 1 for r in repeats):
        lead = [1] * (len(repeats) - geometry.rank(self))
        return reshape_to(self, out, [*lead, *geometry.all_sizes(self)])
    return ge.Tile(self, repeats, out=out)


@converts("repeat_interleave.Tensor(Tensor repeats, *, SymInt? output_size=None) -> Tensor")
def repeat_interleave_tensor(repeats: Any, out: Any, output_size: Any = None) -> Any:
    """The index of each repeated element."""
    dtype = ge.element(repeats)
    positions = ge.Range(0, ge.size(repeats, 0), 1, out=interned.tensor([DYNAMIC], interned.i64))
    repeated = ge.RepeatInterleave(positions, repeats, axis=0)
    return ge.cast_to(repeated, dtype)


@converts("flip(Tensor self, int[] dims) -> Tensor")
def flip(self: Any, dims: Any, out: Any) -> Any:
    axes = geometry.axes(dims, geometry.rank(self))
    if not axes or geometry.rank(self) == 0:
        return self
    return ge.ReverseV2(self, axes, out=out)


@converts(
    "diagonal(Tensor(a) self, int offset=0, int dim1=0, int dim2=1) -> Tensor(a)",
    "diagonal_copy(Tensor self, int offset=0, int dim1=0, int dim2=1) -> Tensor",
)
def diagonal(self: Any, out: Any, offset: Any = 0, dim1: Any = 0, dim2: Any = 1) -> Any:
    x = permute_to(self, _diagonal_last(dim1, dim2, geometry.rank(self)))
    if offset == 0:
        return ge.MatrixDiagPart(x, out=out)
    k = ge.current().constant(offset, interned.i32)
    return ge.MatrixDiagPartV2(x, k, 0, out=out)


def _diagonal_last(dim1: int, dim2: int, rank: int) -> list[int]:
    """The order of dimensions that moves the two of the diagonal to the end."""
    first, second = geometry.axes([dim1, dim2], rank)
    return [*[d for d in range(rank) if d not in (first, second)], first, second]


@converts(
    "diagonal_scatter(Tensor self, Tensor src, int offset=0, int dim1=0, int dim2=1) -> Tensor"
)
def diagonal_scatter(
    self: Any, src: Any, out: Any, offset: Any = 0, dim1: Any = 0, dim2: Any = 1
) -> Any:
    order = _diagonal_last(dim1, dim2, geometry.rank(self))
    x = permute_to(self, order)
    if offset == 0:
        filled = ge.MatrixSetDiag(x, src, out=x.type)
    else:
        k = ge.current().constant(offset, interned.i32)
        filled = ge.MatrixSetDiagV2(x, src, k, out=x.type)
    return permute_to(filled, [order.index(d) for d in range(len(order))], out)


@converts(
    "as_strided(Tensor(a) self, SymInt[] size, SymInt[] stride, SymInt? storage_offset=None)"
    " -> Tensor(a)",
    "as_strided_copy(Tensor self, SymInt[] size, SymInt[] stride, SymInt? storage_offset=None)"
    " -> Tensor",
)
def as_strided(self: Any, size: Any, stride: Any, out: Any, storage_offset: Any = None) -> Any:
    """Elements by stride of the dense tensor ``self``."""
    offset = 0 if storage_offset is None else storage_offset
    if _is_whole(self, size, stride, offset):
        return reshape_to(self, out, size)
    return ge.AsStrided(self, size, stride, [offset], out=out)


def _is_whole(x: SSAValue, size: Sequence[Any], stride: Sequence[Any], offset: Any) -> bool:
    """Whether strides and sizes describe all elements of a dense tensor in order."""
    known = (*size, *stride, offset)
    if not all(isinstance(v, int) for v in known) or not geometry.is_static(x) or offset != 0:
        return False
    expected = 1
    for length, step in zip(reversed(size), reversed(stride), strict=True):
        if length != 1 and step != expected:
            return False
        expected *= length
    return expected == geometry.product(geometry.shape(x))


@converts(
    "as_strided_scatter(Tensor self, Tensor src, SymInt[] size, SymInt[] stride,"
    " SymInt? storage_offset=None) -> Tensor"
)
def as_strided_scatter(
    self: Any, src: Any, size: Any, stride: Any, out: Any, storage_offset: Any = None
) -> Any:
    """The dense tensor ``self`` with a strided view of it replaced."""
    offset = 0 if storage_offset is None else storage_offset
    source = ge.cast_to(src, ge.element(self))
    return ge.ViewCopy(
        ge.TensorMove(self, out=out),
        size,
        stride,
        [offset],
        source,
        geometry.all_sizes(source),
        geometry.strides(source),
        [0],
        out=out,
    )


@converts(
    "view_as_complex(Tensor(a) self) -> Tensor(a)",
    "view_as_complex_copy(Tensor self) -> Tensor",
    "view_as_real(Tensor(a) self) -> Tensor(a)",
    "view_as_real_copy(Tensor self) -> Tensor",
)
def view_as_complex(self: Any, out: Any) -> Any:
    """Pairs in the last dimension as complex numbers, and back: the same bytes."""
    wanted = interned.element_type(out)
    if interned.complex32 in (wanted, ge.element(self)):
        raise ConversionError(
            "GE has no complex numbers of float16",
            hint="convert the real tensor to float32 before view_as_complex",
        )
    return ge.Bitcast(self, type=wanted, out=out)


@converts("resize(Tensor self, SymInt[] size, *, MemoryFormat? memory_format=None) -> Tensor")
def resize(self: Any, size: Any, out: Any) -> Any:
    """The elements in memory order in another shape: the first ones, or all and zeros."""
    if not geometry.is_static(self) or not geometry.is_static(out):
        raise ConversionError("resize to or from a symbolic shape", hint="use reshape or a slice")
    have, want = (geometry.product(geometry.shape(t)) for t in (self, out))
    element = ge.element(self)
    flat = reshape_to(self, interned.tensor([have], element))
    resized = interned.tensor([want], element)
    if want > have:
        flat = ge.PadV3(flat, [0, want - have], 0, out=resized)
    elif want < have:
        flat = ge.StridedSliceV2(flat, [0], [want], ge.sizes([0]), None, out=resized)
    return reshape_to(flat, out)
