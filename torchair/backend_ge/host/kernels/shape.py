"""Kernels of views, permutations, expansion and repetition; shapes as data."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from torchair.backend_ge.host.kernels.registry import ints, kernel, torch_dtype
from torchair.backend_ge.host.narrow_types import folded, is_four_bit, packed, unfolded, unpacked


@kernel("Shape", metadata=True)
def shape(x: Tensor, dtype: int) -> Tensor:
    return torch.tensor(list(x.shape), dtype=torch_dtype(dtype))


@kernel("Size", metadata=True)
def size(x: Tensor, dtype: int) -> Tensor:
    return torch.tensor(x.numel(), dtype=torch_dtype(dtype))


@kernel("Rank", metadata=True)
def rank(x: Tensor) -> Tensor:
    return torch.tensor(x.dim(), dtype=torch.int32)


@kernel("Reshape")
def reshape(x: Tensor, shape: Tensor, axis: int, num_axes: int) -> Tensor:
    """The new shape replaces ``num_axes`` dimensions from ``axis`` on (-1: all that follow)."""
    wanted = ints(shape)
    if axis == 0 and num_axes == -1:
        return x.reshape(wanted)
    first = axis if axis >= 0 else x.dim() + axis + 1
    last = x.dim() if num_axes == -1 else first + num_axes
    return x.reshape([*x.shape[:first], *wanted, *x.shape[last:]])


@kernel("Unsqueeze")
def unsqueeze(x: Tensor, axes: Sequence[int]) -> Tensor:
    return _with_ones(x, axes)


@kernel("UnsqueezeV2")
def unsqueeze_v2(x: Tensor, axis: Sequence[int]) -> Tensor:
    return _with_ones(x, axis)


@kernel("UnsqueezeV3", "ExpandDims")
def unsqueeze_v3(x: Tensor, axes: Tensor) -> Tensor:
    return _with_ones(x, ints(axes))


def _with_ones(x: Tensor, axes: Sequence[int]) -> Tensor:
    """Dimensions of size one at these positions of the result."""
    if len(axes) == 1:
        return x.unsqueeze(axes[0])
    rank = x.dim() + len(axes)
    added = {a % rank for a in axes}
    sizes = iter(x.shape)
    return x.reshape([1 if d in added else next(sizes) for d in range(rank)])


@kernel("Squeeze", "SqueezeV2")
def squeeze(x: Tensor, axis: Sequence[int]) -> Tensor:
    return _without_ones(x, axis)


@kernel("SqueezeV3")
def squeeze_v3(x: Tensor, axes: Tensor | None) -> Tensor:
    return _without_ones(x, [] if axes is None else ints(axes))


def _without_ones(x: Tensor, axes: Sequence[int]) -> Tensor:
    for axis in axes:
        if x.shape[axis] != 1:
            raise ValueError(f"cannot squeeze dimension {axis} of size {x.shape[axis]}")
    if not axes:
        return x.squeeze()
    return x.squeeze(axes[0]) if len(axes) == 1 else x.squeeze(tuple(axes))


@kernel("FlattenV2")
def flatten_v2(x: Tensor, axis: int, end_axis: int) -> Tensor:
    return x.flatten(axis, end_axis)


@kernel("Flatten")
def flatten(x: Tensor, axis: int) -> Tensor:
    """Two dimensions: those before ``axis`` and the rest."""
    lead = axis % x.dim() if axis < 0 else axis
    rows = 1
    for length in x.shape[:lead]:
        rows *= length
    columns = 1
    for length in x.shape[lead:]:
        columns *= length
    return x.reshape(rows, columns)


@kernel("Transpose")
def transpose(x: Tensor, perm: Tensor) -> Tensor:
    return x.permute(ints(perm))


@kernel("TransposeD")
def transpose_d(x: Tensor, perm: Sequence[int]) -> Tensor:
    return x.permute(list(perm))


@kernel("BroadcastTo", "Expand")
def broadcast_to(x: Tensor, shape: Tensor) -> Tensor:
    """Sizes of -1 keep the input's."""
    return x.expand(ints(shape))


@kernel("Tile")
def tile(x: Tensor, multiples: Tensor) -> Tensor:
    return x.repeat(ints(multiples))


@kernel("TileD")
def tile_d(x: Tensor, multiples: Sequence[int]) -> Tensor:
    return x.repeat(list(multiples))


@kernel("ReverseV2")
def reverse_v2(x: Tensor, axis: Tensor) -> Tensor:
    return torch.flip(x, ints(axis))


@kernel("Roll")
def roll(x: Tensor, shifts: Sequence[int], dims: Sequence[int]) -> Tensor:
    return torch.roll(x, list(shifts), list(dims))


@kernel("AsStrided")
def as_strided(x: Tensor, size: Tensor, stride: Tensor, storage_offset: Tensor) -> Tensor:
    """Strides count in the dense tensor, wherever its buffer starts."""
    flat = x.contiguous().view(-1)
    (offset,) = ints(storage_offset)
    if offset:
        flat = flat[offset:]
    return torch.as_strided(flat, ints(size), ints(stride))


@kernel("MatrixDiagPart")
def matrix_diag_part(x: Tensor) -> Tensor:
    return torch.diagonal(x, 0, -2, -1)


@kernel("MatrixDiagPartV2")
def matrix_diag_part_v2(input: Tensor, k: Tensor, padding_value: Tensor) -> Tensor:
    """One diagonal, or a band of them from the upper to the lower, padded on the right."""
    bounds = ints(k)
    if len(bounds) == 1 or bounds[0] == bounds[1]:
        return torch.diagonal(input, bounds[0], -2, -1)
    rows = [torch.diagonal(input, d, -2, -1) for d in range(bounds[1], bounds[0] - 1, -1)]
    longest = max(row.shape[-1] for row in rows)
    return torch.stack([_padded_right(row, longest, padding_value) for row in rows], -2)


def _padded_right(row: Tensor, length: int, value: Tensor) -> Tensor:
    missing = length - row.shape[-1]
    if not missing:
        return row
    return torch.cat([row, value.reshape(()).expand(*row.shape[:-1], missing)], -1)


@kernel("MatrixSetDiag")
def matrix_set_diag(x: Tensor, diagonal: Tensor) -> Tensor:
    return torch.diagonal_scatter(x, diagonal, 0, -2, -1)


@kernel("MatrixSetDiagV2")
def matrix_set_diag_v2(input: Tensor, diagonal: Tensor, k: Tensor) -> Tensor:
    """One diagonal, or a band given from the upper to the lower, padded on the right."""
    bounds = ints(k)
    if len(bounds) == 1 or bounds[0] == bounds[1]:
        return torch.diagonal_scatter(input, diagonal, bounds[0], -2, -1)
    result = input
    for row, d in enumerate(range(bounds[1], bounds[0] - 1, -1)):
        length = torch.diagonal(input, d, -2, -1).shape[-1]
        result = torch.diagonal_scatter(result, diagonal[..., row, :length], d, -2, -1)
    return result


@kernel("Bitcast")
def bitcast(x: Tensor, type: torch.dtype, keep_dim: bool) -> Tensor:
    """The same bytes; a smaller type adds a last dimension, a larger one takes it away.

    With ``keep_dim`` the last dimension is scaled instead.
    """
    if is_four_bit(type) and type is not x.dtype:
        return unfolded(x, type) if keep_dim else unpacked(x, type)
    if is_four_bit(x.dtype) and type is not x.dtype:
        return folded(x, type) if keep_dim else packed(x, type)
    if x.dtype.itemsize == type.itemsize:
        return x.view(type)
    dense = x.contiguous()
    if keep_dim:
        return dense.view(type)
    if x.dtype.itemsize > type.itemsize:
        return dense.unsqueeze(-1).view(type)
    return dense.view(type).squeeze(-1)


@kernel("RepeatInterleave")
def repeat_interleave(x: Tensor, repeats: Tensor, axis: int) -> Tensor:
    """Repeats along an axis, 1000 for the flattened tensor."""
    counts = ints(repeats)
    if axis == 1000:
        x, axis = x.reshape(-1), 0
    if len(counts) == 1:
        return torch.repeat_interleave(x, counts[0], axis)
    places = [index for index, count in enumerate(counts) for _ in range(count)]
    return torch.index_select(x, axis, torch.tensor(places, dtype=torch.int64))
