"""Writes to key and value caches."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from torchair.backend_ge.host.kernels import npu_kv_cache as kernels
from torchair.errors import UnsupportedOpError
from torchair.frontend.npu_operators.registry import implements


@implements("scatter_update")
def scatter_update(input: Tensor, indices: Tensor, updates: Tensor, axis: int) -> Tensor:
    return kernels.scatter(input, indices, updates, axis=axis).contiguous()


@implements("scatter_update_")
def scatter_update_(input: Tensor, indices: Tensor, updates: Tensor, axis: int) -> Tensor:
    return input.copy_(scatter_update(input, indices, updates, axis))


@implements("npu_scatter_nd_update")
def npu_scatter_nd_update(input: Tensor, indices: Tensor, updates: Tensor) -> Tensor:
    return torch.ops.aten.index_put.default(input, list(indices.long().unbind(-1)), updates)


@implements("npu_scatter_nd_update_")
def npu_scatter_nd_update_(input: Tensor, indices: Tensor, updates: Tensor) -> Tensor:
    return input.copy_(npu_scatter_nd_update(input, indices, updates))


@implements("npu_scatter_list")
def npu_scatter_list(
    input: Sequence[Tensor],
    indices: Tensor,
    updates: Tensor,
    mask: Tensor | None = None,
    reduce: str = "update",
    axis: int = -2,
) -> list[Tensor]:
    tensors = list(input)
    found = kernels.scatter_list(tensors, indices, updates, mask, reduce=reduce, axis=axis)
    return [t.contiguous() for t in found]


@implements("npu_scatter_list_")
def npu_scatter_list_(input: Sequence[Tensor], *others: Any) -> None:
    for old, new in zip(input, npu_scatter_list(input, *others), strict=True):
        old.copy_(new)


@implements("npu_quant_scatter")
def npu_quant_scatter(
    input: Tensor,
    indices: Tensor,
    updates: Tensor,
    quant_scales: Tensor,
    quant_zero_points: Tensor | None = None,
    axis: int = -2,
    quant_axis: int = -1,
    reduce: str = "update",
    dst_type: int | None = None,
    round_mode: str | None = "rint",
) -> Tensor:
    if dst_type not in (None, 1) or input.dtype is not torch.int8:
        raise UnsupportedOpError(
            "npu_quant_scatter writes int8", expected="dst_type 1", found=dst_type
        )
    return kernels.quant_update_scatter(
        input,
        indices,
        updates,
        quant_scales,
        quant_zero_points,
        reduce=reduce,
        axis=axis,
        quant_axis=quant_axis,
        round_mode=round_mode or "rint",
    ).contiguous()


@implements("npu_quant_scatter_")
def npu_quant_scatter_(input: Tensor, *others: Any) -> Tensor:
    return input.copy_(npu_quant_scatter(input, *others))


@implements("npu_scatter_pa_kv_cache_functional")
def npu_scatter_pa_kv_cache_functional(
    key: Tensor,
    value: Tensor,
    key_cache: Tensor,
    value_cache: Tensor,
    slot_mapping: Tensor,
    *,
    compress_lens: Tensor | None = None,
    compress_seq_offsets: Tensor | None = None,
    seq_lens: Tensor | None = None,
    cache_mode: str | None = "PA_NZ",
) -> tuple[Tensor, Tensor]:
    optional = (compress_lens, compress_seq_offsets, seq_lens)
    mode = cache_mode or "Norm"
    pair = kernels.scatter_pa_kv_cache(
        key, key_cache, slot_mapping, value, value_cache, *optional, cache_mode=mode
    )
    return pair[0].contiguous(), pair[1].contiguous()


@implements("npu_scatter_pa_kv_cache")
def npu_scatter_pa_kv_cache(
    key: Tensor,
    value: Tensor,
    key_cache: Tensor,
    value_cache: Tensor,
    slot_mapping: Tensor,
    **named: Any,
) -> None:
    caches = (key_cache, value_cache)
    new = npu_scatter_pa_kv_cache_functional(key, value, *caches, slot_mapping, **named)
    for cache, contents in zip(caches, new, strict=True):
        cache.copy_(contents)


@implements("npu_gather_backward")
def npu_gather_backward(
    grad: Tensor, self_size: Sequence[int], dim: int, index: Tensor, sparse_grad: bool
) -> Tensor:
    if sparse_grad:
        raise UnsupportedOpError(
            "npu_gather_backward gives dense gradients", expected="sparse_grad=False"
        )
    return torch.scatter_add(grad.new_zeros(self_size), dim, index, grad)
