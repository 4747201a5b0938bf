"""Kernels of order and search."""

from __future__ import annotations

import torch
from torch import Tensor

from torchair.backend_ge.host.kernels.indexing import require_data
from torchair.backend_ge.host.kernels.registry import ints, kernel


@kernel("Sort")
def sort(x: Tensor, axis: int, descending: bool, stable: bool) -> tuple[Tensor, Tensor]:
    values, places = torch.sort(x, dim=axis, descending=descending, stable=stable)
    return values, places.to(torch.int32)


@kernel("TopK", "TopKV2")
def topk(x: Tensor, k: Tensor, sorted: bool, dim: int, largest: bool) -> tuple[Tensor, Tensor]:
    values, places = torch.topk(x, ints(k)[0], dim, largest, sorted)
    return values, places.to(torch.int32)


@kernel("SearchSorted")
def search_sorted(
    sorted_sequence: Tensor, values: Tensor, sorter: Tensor | None, dtype: torch.dtype, right: bool
) -> Tensor:
    return torch.searchsorted(
        sorted_sequence, values, out_int32=dtype is torch.int32, right=right, sorter=sorter
    )


@kernel("UniqueWithCountsAndSorting")
def unique_with_counts_and_sorting(
    x: Tensor, return_inverse: bool, return_counts: bool, sorted: bool
) -> tuple[Tensor, Tensor, Tensor]:
    require_data(x)
    return torch.ops.aten._unique2.default(x, sorted, return_inverse, return_counts)


@kernel("UniqueConsecutive")
def unique_consecutive(
    x: Tensor, return_idx: bool, return_counts: bool, axis: int
) -> tuple[Tensor, Tensor, Tensor]:
    """An axis of 1000 means the flattened tensor."""
    require_data(x)
    dim = None if axis == 1000 else axis
    return torch.ops.aten.unique_consecutive.default(x, return_idx, return_counts, dim)
