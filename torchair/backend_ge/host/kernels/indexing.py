"""Kernels of reads by index and of masks."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensor

from torchair.backend_ge.host.kernels.registry import ints, kernel
from torchair.backend_ge.host.tracing import DataDependentError


def require_data(*tensors: Tensor | None) -> None:
    """Leave the flattening of the graph: the shape of the result depends on these values.

    Raises:
        DataDependentError: a value is only known when the graph runs.
    """
    if any(isinstance(t, FakeTensor) for t in tensors):
        raise DataDependentError


def _known_index(indices: Tensor) -> int | None:
    """A 0-d index that is constant in this graph."""
    if indices.dim():
        return None
    try:
        return ints(indices)[0]
    except DataDependentError:
        return None


@kernel("GatherV2")
def gather_v2(
    x: Tensor,
    indices: Tensor,
    axis: Tensor,
    batch_dims: int,
    is_preprocessed: bool,
    negative_index_support: bool,
) -> Tensor:
    dim = ints(axis)[0]
    return _take(
        x, indices, dim % x.dim(), batch_dims % max(indices.dim(), 1), negative_index_support
    )


@kernel("GatherV2D")
def gather_v2_d(x: Tensor, indices: Tensor, axis: int) -> Tensor:
    return _take(x, indices, axis % x.dim(), 0, False)


@kernel("Gather")
def gather(
    x: Tensor,
    indices: Tensor,
    validate_indices: bool,
    batch_dims: int,
    is_preprocessed: bool,
    negative_index_support: bool,
) -> Tensor:
    batch = batch_dims % max(indices.dim(), 1)
    return _take(x, indices, batch, batch, negative_index_support)


def _take(x: Tensor, indices: Tensor, dim: int, batch_dims: int, negative: bool) -> Tensor:
    """Slices of ``x`` along ``dim``: the indices' shape takes the place of that dimension."""
    if batch_dims:
        return _take_batched(x, indices, dim, batch_dims)
    known = _known_index(indices)
    if known is not None:
        return x.select(dim, known)
    if negative:
        return torch.ops.aten.index.Tensor(x, [*[None] * dim, indices])
    if dim == 0 and x.dim() == 2:
        return torch.embedding(x, indices)
    if indices.dim() == 1:
        return torch.index_select(x, dim, indices)
    taken = torch.index_select(x, dim, indices.reshape(-1))
    return taken.reshape([*x.shape[:dim], *indices.shape, *x.shape[dim + 1 :]])


def _take_batched(x: Tensor, indices: Tensor, dim: int, batch_dims: int) -> Tensor:
    """The leading dimensions of both go together."""
    places: list[Tensor] = []
    for d in range(batch_dims):
        shape = [1] * indices.dim()
        shape[d] = indices.shape[d]
        places.append(torch.arange(indices.shape[d]).reshape(shape))
    between = list(range(batch_dims, dim))
    front = x.permute(*range(batch_dims), dim, *between, *range(dim + 1, x.dim()))
    taken = torch.ops.aten.index.Tensor(front, [*places, indices])
    own = list(range(batch_dims, indices.dim()))
    passed = [indices.dim() + i for i in range(len(between))]
    rest = range(indices.dim() + len(between), taken.dim())
    return taken.permute(*range(batch_dims), *passed, *own, *rest)


@kernel("GatherElements")
def gather_elements(x: Tensor, index: Tensor, dim: int) -> Tensor:
    return torch.gather(x, dim, index.long())


@kernel("GatherD")
def gather_d(x: Tensor, dim: Tensor, index: Tensor) -> Tensor:
    return torch.gather(x, ints(dim)[0], index.long())


@kernel("GatherNd")
def gather_nd(x: Tensor, indices: Tensor, negative_index_support: bool) -> Tensor:
    """The last dimension of the indices holds coordinates of the leading dimensions."""
    if indices.shape[-1] == 0:
        return x.expand(*indices.shape[:-1], *x.shape)
    return torch.ops.aten.index.Tensor(x, list(torch.unbind(indices, -1)))


@kernel("IndexByTensor")
def index_by_tensor(x: Tensor, indices: list[Tensor], indices_mask: Sequence[int]) -> Tensor:
    return torch.ops.aten.index.Tensor(x, placed(indices, indices_mask))


@kernel("Index")
def index(
    x: Tensor, indexed_sizes: Tensor, indexed_strides: Tensor, indices: list[Tensor]
) -> Tensor:
    return torch.ops.aten.index.Tensor(x, placed(indices, ints(indexed_sizes)))


def placed(indices: list[Tensor], mask: Sequence[int]) -> list[Tensor | None]:
    """Indices at the dimensions where the mask is one; without a mask, the leading ones."""
    given = iter(indices)
    present = list(mask) or [1] * len(indices)
    while present and not present[-1]:
        present.pop()
    return [next(given) if flag else None for flag in present]


@kernel("MaskedSelect")
def masked_select(x: Tensor, mask: Tensor) -> Tensor:
    require_data(x, mask)
    return torch.masked_select(x, mask)


@kernel("NonZero")
def nonzero(x: Tensor, transpose: bool, dtype: torch.dtype) -> Tensor:
    require_data(x)
    found = torch.nonzero(x)
    return (found.t() if transpose else found).to(dtype)


@kernel("Where")
def where(x: Tensor) -> Tensor:
    require_data(x)
    return torch.nonzero(x)


@kernel("OneHot")
def one_hot(x: Tensor, depth: Tensor, on_value: Tensor, off_value: Tensor, axis: int) -> Tensor:
    """A new dimension of size ``depth`` at ``axis`` that marks each index; others mark nothing."""
    place = axis + x.dim() + 1 if axis < 0 else axis
    line = torch.arange(ints(depth)[0]).reshape([-1] + [1] * (x.dim() - place))
    return torch.where(x.long().unsqueeze(place) == line, on_value, off_value)
