"""Kernels of slices, splits and concatenation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from torchair.backend_ge.host.kernels.registry import ints, kernel


@dataclass(frozen=True, slots=True)
class Span:
    """A slice of one dimension, bounds within it.

    Args:
        axis: dimension.
        start, stop, step: as in Python; ``stop`` may be -1 going down, meaning past the first.
        shrink: take the element at ``start`` and drop the dimension.
    """

    axis: int
    start: int
    stop: int
    step: int
    shrink: bool

    @property
    def length(self) -> int:
        """Number of elements taken."""
        return len(range(self.start, self.stop, self.step))

    def is_whole(self, size: int) -> bool:
        """Whether everything is taken in order."""
        return not self.shrink and self.step == 1 and self.start == 0 and self.stop == size


@dataclass(frozen=True, slots=True)
class Masks:
    """The bit masks of a strided slice; bit i speaks about entry i of the lists."""

    begin: int = 0
    end: int = 0
    ellipsis: int = 0
    new_axis: int = 0
    shrink: int = 0


def spans(
    sizes: Sequence[int],
    begin: Sequence[int],
    end: Sequence[int],
    strides: Sequence[int] | None,
    axes: Sequence[int] | None,
    masks: Masks,
) -> list[Span]:
    """Resolve a strided slice against a shape (entries for new axes are skipped)."""
    steps = [1] * len(begin) if strides is None else strides
    found: list[Span] = []
    dim = 0
    for index, (low, high, step) in enumerate(zip(begin, end, steps, strict=True)):
        bit = 1 << index
        if axes is None and masks.ellipsis & bit:
            later = range(index + 1, len(begin))
            dim = len(sizes) - sum(not masks.new_axis & 1 << i for i in later)
            continue
        if axes is None and masks.new_axis & bit:
            continue
        axis = dim if axes is None else axes[index] % len(sizes)
        dim += 1
        if masks.shrink & bit:
            start = low + sizes[axis] if low < 0 else low
            found.append(Span(axis, start, start + 1, 1, True))
            continue
        bounds = slice(
            None if masks.begin & bit else low, None if masks.end & bit else high, step
        ).indices(sizes[axis])
        found.append(Span(axis, *bounds, False))
    return found


def take(x: Tensor, found: Sequence[Span]) -> Tensor:
    """The elements of spans."""
    for span in sorted(found, key=lambda s: -s.axis):
        if span.shrink:
            x = x.select(span.axis, span.start)
        elif span.step < 0:
            places = torch.arange(span.start, span.stop, span.step) if span.length else None
            x = x.narrow(span.axis, 0, 0) if places is None else x.index_select(span.axis, places)
        elif not span.is_whole(x.shape[span.axis]):
            stop = max(span.start, span.stop)
            x = torch.ops.aten.slice.Tensor(x, span.axis, span.start, stop, span.step)
    return x


def put(x: Tensor, found: Sequence[Span], value: Tensor) -> Tensor:
    """``x`` with the elements of spans replaced, in a new tensor."""
    todo = [s for s in found if not s.is_whole(x.shape[s.axis])]
    if not todo:
        return value.expand(x.shape)
    return _put(x, sorted(todo, key=lambda s: -s.axis), value)


def _put(x: Tensor, found: Sequence[Span], value: Tensor) -> Tensor:
    span, rest = found[0], found[1:]
    if rest:
        value = _put(take(x, [span]), rest, value)
    if span.shrink:
        return torch.select_scatter(x, _like(value, x, span), span.axis, span.start)
    if span.step < 0 and span.length:
        last = span.start + (span.length - 1) * span.step
        flipped = torch.flip(_like(value, x, span), [span.axis])
        return torch.slice_scatter(x, flipped, span.axis, last, span.start + 1, -span.step)
    stop = max(span.start, span.stop)
    return torch.slice_scatter(x, _like(value, x, span), span.axis, span.start, stop, span.step)


def _like(value: Tensor, x: Tensor, span: Span) -> Tensor:
    """A value broadcast to the part of ``x`` that a span takes."""
    sizes = list(x.shape)
    if span.shrink:
        del sizes[span.axis]
    else:
        sizes[span.axis] = span.length
    return value if list(value.shape) == sizes else value.expand(sizes)


def _new_axes(x: Tensor, count: int, masks: Masks) -> Tensor:
    """Inserts the new axes that a strided slice names (no ellipsis before them)."""
    position = 0
    for index in range(count):
        if masks.new_axis & 1 << index:
            x = x.unsqueeze(position)
        position += not masks.shrink & 1 << index
    return x


@kernel("StridedSlice")
def strided_slice(
    x: Tensor,
    begin: Tensor,
    end: Tensor,
    strides: Tensor,
    begin_mask: int,
    end_mask: int,
    ellipsis_mask: int,
    new_axis_mask: int,
    shrink_axis_mask: int,
) -> Tensor:
    masks = Masks(begin_mask, end_mask, ellipsis_mask, new_axis_mask, shrink_axis_mask)
    found = spans(x.shape, ints(begin), ints(end), ints(strides), None, masks)
    return _new_axes(take(x, found), len(ints(begin)), masks)


@kernel("StridedSliceV2")
def strided_slice_v2(
    x: Tensor,
    begin: Tensor,
    end: Tensor,
    axes: Tensor | None,
    strides: Tensor | None,
    begin_mask: int,
    end_mask: int,
    ellipsis_mask: int,
    new_axis_mask: int,
    shrink_axis_mask: int,
) -> Tensor:
    masks = Masks(begin_mask, end_mask, ellipsis_mask, new_axis_mask, shrink_axis_mask)
    steps = None if strides is None else ints(strides)
    dims = None if axes is None else ints(axes)
    taken = take(x, spans(x.shape, ints(begin), ints(end), steps, dims, masks))
    return taken if axes is not None else _new_axes(taken, len(ints(begin)), masks)


@kernel("StridedSliceV3")
def strided_slice_v3(
    x: Tensor, begin: Tensor, end: Tensor, axes: Tensor | None, strides: Tensor | None
) -> Tensor:
    steps = None if strides is None else ints(strides)
    dims = None if axes is None else ints(axes)
    return take(x, spans(x.shape, ints(begin), ints(end), steps, dims, Masks()))


@kernel("StridedSliceD")
def strided_slice_d(
    x: Tensor,
    begin: Sequence[int],
    end: Sequence[int],
    strides: Sequence[int],
    begin_mask: int,
    end_mask: int,
    ellipsis_mask: int,
    new_axis_mask: int,
    shrink_axis_mask: int,
) -> Tensor:
    masks = Masks(begin_mask, end_mask, ellipsis_mask, new_axis_mask, shrink_axis_mask)
    taken = take(x, spans(x.shape, begin, end, strides, None, masks))
    return _new_axes(taken, len(begin), masks)


@kernel("Slice")
def slice_(x: Tensor, offsets: Tensor, size: Tensor) -> Tensor:
    """Sizes of -1 reach to the end."""
    return _sliced(x, ints(offsets), ints(size))


@kernel("SliceD")
def slice_d(x: Tensor, offsets: Sequence[int], size: Sequence[int]) -> Tensor:
    return _sliced(x, offsets, size)


def _sliced(x: Tensor, offsets: Sequence[int], size: Sequence[int]) -> Tensor:
    pairs = zip(offsets, size, x.shape, strict=True)
    stops = [whole if length == -1 else low + length for low, length, whole in pairs]
    return take(x, spans(x.shape, offsets, stops, None, None, Masks()))


@kernel("StridedSliceGrad")
def strided_slice_grad(
    shape: Tensor,
    begin: Tensor,
    end: Tensor,
    strides: Tensor,
    dy: Tensor,
    begin_mask: int,
    end_mask: int,
    ellipsis_mask: int,
    new_axis_mask: int,
    shrink_axis_mask: int,
) -> Tensor:
    """Zeros of the given shape with the gradient where the slice was taken."""
    masks = Masks(begin_mask, end_mask, ellipsis_mask, new_axis_mask, shrink_axis_mask)
    sizes = ints(shape)
    found = spans(sizes, ints(begin), ints(end), ints(strides), None, masks)
    for index, span in enumerate(s for s in found):
        if new_axis_mask & 1 << index:
            dy = dy.squeeze(span.axis)
    return put(torch.zeros(sizes, dtype=dy.dtype, device=dy.device), found, dy)


@kernel("StridedSliceAssign")
def strided_slice_assign(
    var: Tensor,
    begin: Tensor,
    end: Tensor,
    strides: Tensor,
    input_value: Tensor,
    begin_mask: int,
    end_mask: int,
    ellipsis_mask: int,
    shrink_axis_mask: int,
) -> Tensor:
    masks = Masks(begin_mask, end_mask, ellipsis_mask, 0, shrink_axis_mask)
    found = spans(var.shape, ints(begin), ints(end), ints(strides), None, masks)
    return put(var, found, input_value)


@kernel("ConcatV2")
def concat_v2(x: list[Tensor], concat_dim: Tensor, N: int) -> Tensor:
    return torch.cat(x, ints(concat_dim)[0])


@kernel("Concat")
def concat(concat_dim: Tensor, x: list[Tensor], N: int) -> Tensor:
    return torch.cat(x, ints(concat_dim)[0])


@kernel("ConcatD", "ConcatV2D")
def concat_d(x: list[Tensor], concat_dim: int, N: int) -> Tensor:
    return torch.cat(x, concat_dim)


@kernel("Pack")
def pack(x: list[Tensor], axis: int, N: int) -> Tensor:
    return torch.stack(x, axis)


@kernel("Unpack")
def unpack(x: Tensor, num: int, axis: int) -> list[Tensor]:
    return list(torch.unbind(x, axis))


@kernel("SplitV")
def split_v(x: Tensor, size_splits: Tensor, split_dim: Tensor, num_split: int) -> list[Tensor]:
    return _split(x, ints(size_splits), ints(split_dim)[0])


@kernel("SplitVD")
def split_vd(x: Tensor, size_splits: Sequence[int], split_dim: int, num_split: int) -> list[Tensor]:
    return _split(x, size_splits, split_dim)


def _split(x: Tensor, lengths: Sequence[int], dim: int) -> list[Tensor]:
    """One length may be -1: what the others leave."""
    rest = x.shape[dim] - sum(n for n in lengths if n != -1)
    return list(torch.split(x, [rest if n == -1 else n for n in lengths], dim))


@kernel("Split")
def split(split_dim: Tensor, x: Tensor, num_split: int) -> list[Tensor]:
    dim = ints(split_dim)[0]
    return list(torch.split(x, x.shape[dim] // num_split, dim))


@kernel("SplitD")
def split_d(x: Tensor, split_dim: int, num_split: int) -> list[Tensor]:
    return list(torch.split(x, x.shape[split_dim] // num_split, split_dim))
