"""Attention over selected tokens, their selection, and what joins attentions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from torchair.backend_ge.host.kernels import npu_sparse_attention as kernels
from torchair.frontend.npu_operators.matmul import unused
from torchair.frontend.npu_operators.registry import implements


@implements("npu_lightning_indexer")
def npu_lightning_indexer(
    query: Tensor, key: Tensor, weights: Tensor, *, return_value: bool = False, **named: Any
) -> tuple[Tensor, Tensor]:
    return kernels.lightning_indexer(query, key, weights, return_values=return_value, **named)


@implements("npu_quant_lightning_indexer")
def npu_quant_lightning_indexer(
    query: Tensor,
    key: Tensor,
    weights: Tensor,
    query_dequant_scale: Tensor,
    key_dequant_scale: Tensor,
    query_quant_mode: int,
    key_quant_mode: int,
    **named: Any,
) -> Tensor:
    unused("npu_quant_lightning_indexer", named, ("query_dtype", "key_dtype"))
    modes = {"query_quant_mode": query_quant_mode, "key_quant_mode": key_quant_mode}
    scales = (query_dequant_scale, key_dequant_scale)
    return kernels.quant_lightning_indexer(query, key, weights, *scales, **modes, **named)


@implements("npu_sparse_flash_attention")
def npu_sparse_flash_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor | None,
    sparse_indices: Tensor,
    scale_value: float,
    **named: Any,
) -> tuple[Tensor, Tensor, Tensor]:
    values = key if value is None else value
    inputs = (query, key, values, sparse_indices)
    return kernels.sparse_flash_attention(*inputs, scale_value=scale_value, **named)


@implements("npu_kv_quant_sparse_flash_attention")
def npu_kv_quant_sparse_flash_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    sparse_indices: Tensor,
    scale_value: float,
    key_quant_mode: int,
    value_quant_mode: int,
    **named: Any,
) -> Tensor:
    unused("npu_kv_quant_sparse_flash_attention", named, ("key_dtype", "value_dtype"))
    return kernels.kv_quant_sparse_flash_attention(
        query,
        key,
        value,
        sparse_indices,
        scale_value=scale_value,
        key_quant_mode=key_quant_mode,
        value_quant_mode=value_quant_mode,
        **named,
    )


@implements("npu_attention_update")
def npu_attention_update(
    lse: Sequence[Tensor], local_out: Sequence[Tensor], update_type: int
) -> tuple[Tensor, Tensor]:
    count = len(lse)
    return kernels.attention_update(list(lse), list(local_out), update_type=update_type, sp=count)


@implements("npu_masked_softmax_with_rel_pos_bias")
def npu_masked_softmax_with_rel_pos_bias(
    x: Tensor,
    atten_mask: Tensor | None,
    relative_pos_bias: Tensor,
    scale_value: float = 1.0,
    inner_precision_mode: int = 0,
) -> Tensor:
    return kernels.masked_softmax_with_rel_pos_bias(
        x, atten_mask, relative_pos_bias, scale_value=scale_value
    )
