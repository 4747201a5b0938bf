"""Moving tokens to their experts and back."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from torchair.backend_ge.host.kernels import npu_moe_routing as kernels
from torchair.backend_ge.host.kernels import npu_moe_tokens as tokens_kernels
from torchair.errors import ConversionError
from torchair.frontend.npu_operators.narrow_results import require_default
from torchair.frontend.npu_operators.registry import gradient, implements


@implements("npu_moe_init_routing")
def npu_moe_init_routing(
    x: Tensor, row_idx: Tensor, expert_idx: Tensor, active_num: int
) -> tuple[Tensor, Tensor, Tensor]:
    return kernels.moe_init_routing(x, row_idx, expert_idx, active_num)


@implements("npu_moe_init_routing_v2")
def npu_moe_init_routing_v2(
    x: Tensor,
    expert_idx: Tensor,
    *,
    scale: Tensor | None = None,
    offset: Tensor | None = None,
    active_num: int = -1,
    expert_capacity: int = -1,
    expert_num: int = -1,
    drop_pad_mode: int = 0,
    expert_tokens_num_type: int = 0,
    expert_tokens_num_flag: bool = False,
    quant_mode: int = -1,
    active_expert_range: list[int] | None = None,
    row_idx_type: int = 0,
    x_dtype: int | None = None,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    require_default("npu_moe_init_routing_v2", x_dtype=(x_dtype, None))
    if quant_mode not in (-1, 0, 1):
        raise ConversionError(
            "npu_moe_init_routing_v2: this quant_mode does not run on the host device",
            expected="-1, 0 or 1",
            found=quant_mode,
            hint="quantise the result, or run on an NPU",
        )
    if expert_num <= 0 and not active_expert_range:
        raise ConversionError(
            "npu_moe_init_routing_v2 needs the number of experts",
            hint="pass expert_num or active_expert_range",
        )
    return kernels.moe_init_routing_v3(
        x,
        expert_idx,
        scale,
        offset,
        active_num,
        expert_capacity,
        expert_num,
        drop_pad_mode,
        expert_tokens_num_type,
        expert_tokens_num_flag,
        quant_mode,
        active_expert_range,
        row_idx_type,
    )


@implements("npu_moe_compute_expert_tokens")
def npu_moe_compute_expert_tokens(sorted_expert_for_source_row: Tensor, num_expert: int) -> Tensor:
    return kernels.moe_compute_expert_tokens(sorted_expert_for_source_row, num_expert)


@implements("npu_moe_finalize_routing")
def npu_moe_finalize_routing(
    expanded_permuted_rows: Tensor,
    skip1: Tensor | None,
    skip2: Tensor | None,
    bias: Tensor | None,
    scales: Tensor | None,
    expanded_src_to_dst_row: Tensor,
    export_for_source_row: Tensor | None,
    drop_pad_mode: int | None = 0,
    k: int | None = 1,
) -> Tensor:
    if bias is not None and export_for_source_row is None:
        raise ConversionError(
            "npu_moe_finalize_routing: bias is per expert", hint="pass export_for_source_row"
        )
    return kernels.moe_finalize_routing_v2(
        expanded_permuted_rows,
        expanded_src_to_dst_row,
        skip1,
        skip2,
        bias,
        scales,
        export_for_source_row,
        drop_pad_mode or 0,
        1 if k is None else k,
    )


@implements("npu_moe_re_routing")
def npu_moe_re_routing(
    tokens: Tensor,
    expert_token_num_per_rank: Tensor,
    *,
    per_token_scales: Tensor | None = None,
    expert_token_num_type: int = 1,
    idx_type: int = 0,
    tokens_dtype: int | None = None,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    require_default("npu_moe_re_routing", tokens_dtype=(tokens_dtype, None))
    return kernels.moe_re_routing(
        tokens, expert_token_num_per_rank, per_token_scales, expert_token_num_type, idx_type
    )


@implements("npu_moe_token_permute")
def npu_moe_token_permute(
    tokens: Tensor, indices: Tensor, num_out_tokens: int | None = None, padded_mode: bool = False
) -> tuple[Tensor, Tensor]:
    return tokens_kernels.moe_token_permute(tokens, indices, num_out_tokens or 0, padded_mode)


@implements("npu_moe_token_permute_grad")
def npu_moe_token_permute_grad(
    tokens: Tensor,
    grad_permuted_tokens: Tensor,
    indices: Tensor,
    sorted_indices: Tensor,
    padded_mode: bool = False,
) -> Tensor:
    k = indices.size(1) if indices.dim() == 2 else 1
    return tokens_kernels.moe_token_permute_grad(
        grad_permuted_tokens, sorted_indices, k, padded_mode
    )


def _save_permute(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    tokens, indices = inputs[:2]
    ctx.mark_non_differentiable(output[1])
    ctx.save_for_backward(tokens, indices, output[1])


@gradient("npu_moe_token_permute", save=_save_permute)
def permute_gradient(ctx: Any, dy: Tensor, _: Any) -> tuple[Tensor | None, ...]:
    tokens, indices, places = ctx.saved_tensors
    backward = torch.ops.npu.npu_moe_token_permute_grad
    return backward(tokens, dy, indices, places), None, None, None


@implements("npu_moe_token_unpermute")
def npu_moe_token_unpermute(
    permuted_tokens: Tensor,
    sorted_indices: Tensor,
    probs: Tensor | None = None,
    padded_mode: bool = False,
    restore_shape: list[int] | None = None,
) -> Tensor:
    return tokens_kernels.moe_token_unpermute(permuted_tokens, sorted_indices, probs, padded_mode)


@implements("npu_moe_token_unpermute_grad")
def npu_moe_token_unpermute_grad(
    permuted_tokens: Tensor,
    grad_unpermuted_tokens: Tensor,
    sorted_indices: Tensor,
    probs: Tensor | None = None,
    padded_mode: bool = False,
    restore_shape: list[int] | None = None,
) -> tuple[Tensor, Tensor]:
    return tokens_kernels.moe_token_unpermute_grad(
        permuted_tokens, grad_unpermuted_tokens, sorted_indices, probs, padded_mode
    )


def _save_unpermute(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    ctx.save_for_backward(*inputs[:3])


@gradient("npu_moe_token_unpermute", save=_save_unpermute)
def unpermute_gradient(ctx: Any, dy: Tensor) -> tuple[Tensor | None, ...]:
    rows, places, probs = ctx.saved_tensors
    d_rows, d_probs = torch.ops.npu.npu_moe_token_unpermute_grad(rows, dy, places, probs)
    return d_rows, None, None if probs is None else d_probs, None, None
