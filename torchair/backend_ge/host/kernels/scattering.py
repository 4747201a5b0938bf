"""Kernels of writes by index.

GE defines some of them as in-place: their output is their first input's memory. The kernels
compute it as a new tensor; whoever assigns it to a graph input does the write.
"""

from __future__ import annotations

import torch
from torch import Tensor

from torchair.backend_ge.host.kernels.indexing import placed
from torchair.backend_ge.host.kernels.numbers import value_of
from torchair.backend_ge.host.kernels.registry import ints, kernel


@kernel("ScatterElements", "ScatterElementsV2")
def scatter_elements(
    data: Tensor, indices: Tensor, updates: Tensor, axis: int, reduction: str
) -> Tensor:
    places = indices.long()
    if reduction == "none":
        return torch.scatter(data, axis, places, updates)
    if reduction == "add":
        return torch.scatter_add(data, axis, places, updates)
    if reduction == "mul":
        return torch.scatter_reduce(data, axis, places, updates, "prod")
    raise ValueError(f"unknown reduction '{reduction}'")


@kernel("IndexPutV2")
def index_put_v2(
    x: Tensor,
    value: Tensor,
    indexed_sizes: Tensor,
    indexed_strides: Tensor,
    indices: list[Tensor],
    accumulate: bool,
) -> Tensor:
    """``indexed_sizes`` has a one per dimension of ``x`` that is indexed."""
    where = placed(indices, ints(indexed_sizes))
    return torch.ops.aten.index_put.default(x, where, value, accumulate)


@kernel("InplaceIndexAdd")
def inplace_index_add(
    var: Tensor, indices: Tensor, updates: Tensor, alpha: Tensor | None, axis: int
) -> Tensor:
    factor = 1 if alpha is None else value_of(alpha)
    return torch.index_add(var, axis, indices, updates, alpha=factor)


@kernel("InplaceUpdate")
def inplace_update(x: Tensor, indices: Tensor, v: Tensor) -> Tensor:
    return torch.index_copy(x, 0, indices.long(), v)


@kernel("MaskedScatter")
def masked_scatter(x: Tensor, mask: Tensor, updates: Tensor) -> Tensor:
    return torch.masked_scatter(x, mask, updates)


def _coordinates(indices: Tensor) -> list[Tensor]:
    """The last dimension holds coordinates."""
    return list(torch.unbind(indices.long(), -1))


@kernel("ScatterNd")
def scatter_nd(indices: Tensor, x: Tensor, shape: Tensor) -> Tensor:
    zeros = torch.zeros(ints(shape), dtype=x.dtype, device=x.device)
    return torch.ops.aten.index_put.default(zeros, _coordinates(indices), x, True)


@kernel("ScatterNdUpdate")
def scatter_nd_update(var: Tensor, indices: Tensor, updates: Tensor) -> Tensor:
    return torch.ops.aten.index_put.default(var, _coordinates(indices), updates, False)


@kernel("TensorScatterUpdate")
def tensor_scatter_update(x: Tensor, indices: Tensor, updates: Tensor) -> Tensor:
    return torch.ops.aten.index_put.default(x, _coordinates(indices), updates, False)


@kernel("ScatterNdAdd")
def scatter_nd_add(var: Tensor, indices: Tensor, updates: Tensor) -> Tensor:
    return torch.ops.aten.index_put.default(var, _coordinates(indices), updates, True)


@kernel("TensorScatterAdd")
def tensor_scatter_add(x: Tensor, indices: Tensor, updates: Tensor) -> Tensor:
    return torch.ops.aten.index_put.default(x, _coordinates(indices), updates, True)


@kernel("ScatterUpdate")
def scatter_update(var: Tensor, indices: Tensor, updates: Tensor) -> Tensor:
    return torch.ops.aten.index_put.default(var, [indices.long()], updates, False)


@kernel("ScatterAdd")
def scatter_add(var: Tensor, indices: Tensor, updates: Tensor) -> Tensor:
    return torch.ops.aten.index_put.default(var, [indices.long()], updates, True)


@kernel("ScatterNdMax")
def scatter_nd_max(var: Tensor, indices: Tensor, updates: Tensor) -> Tensor:
    return _scatter_rows(var, indices, updates, "amax")


@kernel("ScatterNdMin")
def scatter_nd_min(var: Tensor, indices: Tensor, updates: Tensor) -> Tensor:
    return _scatter_rows(var, indices, updates, "amin")


def _scatter_rows(var: Tensor, indices: Tensor, updates: Tensor, reduction: str) -> Tensor:
    """Reduces updates into the slices that coordinates name."""
    depth = indices.shape[-1]
    rows = 1
    for length in var.shape[:depth]:
        rows *= length
    columns = max(1, var.numel() // max(rows, 1))
    places = torch.zeros(indices.shape[:-1], dtype=torch.int64)
    for d, coordinate in enumerate(_coordinates(indices)):
        places = places * var.shape[d] + coordinate
    spread = places.reshape(-1, 1).expand(-1, columns)
    table = var.reshape(rows, columns)
    reduced = torch.scatter_reduce(table, 0, spread, updates.reshape(-1, columns), reduction)
    return reduced.reshape(var.shape)
