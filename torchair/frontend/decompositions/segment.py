"""Reductions of runs of elements along one axis, bags of rows of a table, and their gradients."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

aten = torch.ops.aten

_STARTS = {
    "sum": (0.0, "sum"),
    "mean": (0.0, "sum"),
    "prod": (1.0, "prod"),
    "max": (-math.inf, "amax"),
    "min": (math.inf, "amin"),
}
"""Value of an empty run, and how elements are joined."""


def _runs(
    data: Tensor, lengths: Tensor | None, offsets: Tensor | None, axis: int
) -> tuple[Tensor, Tensor]:
    """The run that each element belongs to, in the shape of ``data``, and the lengths of the runs,
    shaped to meet the result. Elements after the last run belong to one more."""
    if offsets is None:
        assert lengths is not None, "segment_reduce takes lengths or offsets"
        offsets = torch.nn.functional.pad(lengths.cumsum(-1), (1, 0))
    sizes = offsets.diff(dim=-1)
    place = torch.arange(data.shape[axis], device=data.device)
    place = place.expand(*sizes.shape[:-1], -1).contiguous()
    run = torch.searchsorted(offsets[..., 1:].contiguous(), place, right=True)
    trailing = [1] * (data.dim() - axis - 1)
    index = run.reshape(*run.shape, *trailing).expand(data.shape)
    return index, sizes.reshape(*sizes.shape, *trailing)


def _segment_reduce(
    data: Tensor,
    reduce: str,
    *,
    lengths: Tensor | None = None,
    indices: Tensor | None = None,
    offsets: Tensor | None = None,
    axis: int = 0,
    unsafe: bool = False,
    initial: float | None = None,
) -> Tensor:
    """Reduces runs of elements along ``axis``, whose lengths or bounds are given; rows after the
    last run do not count."""
    index, sizes = _runs(data, lengths, offsets, axis)
    count = sizes.shape[axis]
    shape = [*data.shape[:axis], count + 1, *data.shape[axis + 1 :]]
    start, name = _STARTS[reduce]
    total = data.new_full(shape, start if initial is None else initial)
    total = torch.scatter_reduce(total, axis, index, data, name).narrow(axis, 0, count)
    if reduce != "mean":
        return total
    empty = torch.full_like(total, math.nan) if initial is None else total
    return torch.where(sizes > 0, total / sizes.clamp(min=1).to(data.dtype), empty)


def _segment_reduce_backward(
    grad: Tensor,
    output: Tensor,
    data: Tensor,
    reduce: str,
    *,
    lengths: Tensor | None = None,
    offsets: Tensor | None = None,
    axis: int = 0,
    initial: float | None = None,
) -> Tensor:
    """Equal extremes share their gradient; a product's is the product of the others."""
    index, sizes = _runs(data, lengths, offsets, axis)
    count = sizes.shape[axis]
    if reduce == "mean":
        grad = grad / sizes.clamp(min=1).to(grad.dtype)

    def spread(value: Tensor) -> Tensor:
        """Each element's value of its run, zero after the last run."""
        rest = value.narrow(axis, 0, 1) if count else value.new_zeros([1] * value.dim())
        rest = torch.zeros_like(rest)
        return torch.gather(torch.cat([value, rest], axis), axis, index)

    if reduce in ("sum", "mean"):
        return spread(grad)
    if reduce == "prod":
        return _product_gradient(spread(grad), spread(output), data, index, count, axis, initial)
    best = spread(output)
    is_best = ((data == best) | ((data != data) & (best != best))) & (index < count)
    shape = [*data.shape[:axis], count + 1, *data.shape[axis + 1 :]]
    number = torch.scatter_add(data.new_zeros(shape), axis, index, is_best.to(data.dtype))
    share = spread(grad) / torch.gather(number, axis, index).clamp(min=1)
    return torch.where(is_best, share, torch.zeros_like(share))


def _product_gradient(
    grad: Tensor,
    output: Tensor,
    data: Tensor,
    index: Tensor,
    count: int,
    axis: int,
    initial: float | None,
) -> Tensor:
    """A zero takes the product of the other elements when it is the only one of its run."""
    is_zero = data == 0
    shape = [*data.shape[:axis], count + 1, *data.shape[axis + 1 :]]
    zeros = torch.scatter_add(data.new_zeros(shape), axis, index, is_zero.to(data.dtype))
    filled = torch.where(is_zero, torch.ones_like(data), data)
    others = data.new_full(shape, 1.0 if initial is None else initial)
    others = torch.scatter_reduce(others, axis, index, filled, "prod")
    others, zeros = (torch.gather(x, axis, index) for x in (others, zeros))
    alone = torch.where(zeros == 1, others, torch.zeros_like(others))
    return grad * torch.where(is_zero, alone, output / filled)


_MEAN, _MAX = 1, 2
"""``mode`` of a bag of rows."""


def _bag_of(indices: Tensor, offsets: Tensor) -> Tensor:
    """The bag that each index belongs to; eager leaves it out where it needs none."""
    places = torch.arange(indices.shape[0], device=offsets.device, dtype=offsets.dtype)
    return torch.searchsorted(offsets, places, right=True) - 1


def _embedding_bag_backward(
    grad: Tensor,
    indices: Tensor,
    offsets: Tensor,
    offset2bag: Tensor,
    bag_size: Tensor,
    maximum_indices: Tensor,
    num_weights: int,
    scale_grad_by_freq: bool,
    mode: int,
    sparse: bool,
    per_sample_weights: Tensor | None,
    padding_idx: int = -1,
) -> Tensor:
    """Gradient of the table ``[num_weights, width]`` from that of the bags ``[bags, width]``."""
    if sparse:
        return NotImplemented
    table = grad.new_zeros([num_weights, grad.shape[1]])
    if mode == _MAX:
        share = torch.where((bag_size > 0).unsqueeze(1), grad, torch.zeros_like(grad))
        return torch.scatter_add(table, 0, maximum_indices.clamp(min=0).long(), share)
    if mode == _MEAN:
        grad = grad / bag_size.clamp(min=1).to(grad.dtype).unsqueeze(1)
    rows = grad[_bag_of(indices, offsets)]
    if per_sample_weights is not None:
        rows = rows * per_sample_weights.unsqueeze(1)
    if scale_grad_by_freq:
        ones = torch.ones_like(indices, dtype=grad.dtype)
        number = torch.index_add(grad.new_zeros([num_weights]), 0, indices, ones)
        rows = rows / number[indices].unsqueeze(1)
    if padding_idx >= 0:
        rows = torch.where((indices != padding_idx).unsqueeze(1), rows, torch.zeros_like(rows))
    return torch.index_add(table, 0, indices, rows)


def _embedding_bag_per_sample_weights_backward(
    grad: Tensor,
    weight: Tensor,
    indices: Tensor,
    offsets: Tensor,
    offset2bag: Tensor,
    mode: int,
    padding_idx: int = -1,
) -> Tensor:
    """Gradient of the factors of the rows in sums."""
    found = (grad[_bag_of(indices, offsets)] * weight[indices]).sum(1)
    if padding_idx < 0:
        return found
    return torch.where(indices != padding_idx, found, torch.zeros_like(found))


OWN_DECOMPOSITIONS: dict[Any, Callable[..., Any]] = {
    aten.segment_reduce.default: _segment_reduce,
    aten._segment_reduce_backward.default: _segment_reduce_backward,
    aten._embedding_bag_backward.default: _embedding_bag_backward,
    aten._embedding_bag_per_sample_weights_backward.default: (
        _embedding_bag_per_sample_weights_backward
    ),
}
"""Decompositions by OpOverload."""
