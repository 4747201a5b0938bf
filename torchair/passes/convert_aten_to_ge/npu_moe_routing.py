"""torch_npu's moving of tokens to their experts and back."""

from __future__ import annotations

from typing import Any

from torchair.dialects.ge import builder as ge
from torchair.ir import interned
from torchair.passes.convert_aten_to_ge.geometry import rank, shape
from torchair.passes.convert_aten_to_ge.recipes import static_ints
from torchair.passes.convert_aten_to_ge.registry import converts


@converts(
    "npu::npu_moe_init_routing(Tensor x, Tensor row_idx, Tensor expert_idx, int active_num)"
    " -> (Tensor, Tensor, Tensor)"
)
def npu_moe_init_routing(x: Any, row_idx: Any, expert_idx: Any, active_num: Any) -> Any:
    return ge.MoeInitRouting(x, row_idx, expert_idx, active_num=active_num)


@converts(
    "npu::npu_moe_init_routing_v2(Tensor x, Tensor expert_idx, *, Tensor? scale=None,"
    " Tensor? offset=None, int active_num=-1, int expert_capacity=-1, int expert_num=-1,"
    " int drop_pad_mode=0, int expert_tokens_num_type=0, bool expert_tokens_num_flag=False,"
    " int quant_mode=-1, int[2] active_expert_range=[], int row_idx_type=0, int? x_dtype=None)"
    " -> (Tensor, Tensor, Tensor, Tensor)"
)
def npu_moe_init_routing_v2(x: Any, expert_idx: Any, x_dtype: Any, out: Any, **rest: Any) -> Any:
    del x_dtype  # refused by the operator
    return ge.MoeInitRoutingV3(x, ge.cast_to(expert_idx, interned.i32), out=tuple(out), **rest)


@converts(
    "npu::npu_moe_compute_expert_tokens(Tensor sorted_expert_for_source_row, int num_expert)"
    " -> Tensor"
)
def npu_moe_compute_expert_tokens(sorted_expert_for_source_row: Any, num_expert: Any) -> Any:
    return ge.MoeComputeExpertTokens(sorted_expert_for_source_row, num_experts=num_expert)


@converts(
    "npu::npu_moe_finalize_routing(Tensor expanded_permuted_rows, Tensor? skip1, Tensor? skip2,"
    " Tensor? bias, Tensor? scales, Tensor expanded_src_to_dst_row,"
    " Tensor? export_for_source_row, int? drop_pad_mode=0, int? k=1) -> Tensor"
)
def npu_moe_finalize_routing(
    expanded_permuted_rows: Any,
    skip1: Any,
    skip2: Any,
    bias: Any,
    scales: Any,
    expanded_src_to_dst_row: Any,
    export_for_source_row: Any,
    drop_pad_mode: Any,
    k: Any,
) -> Any:
    required = (skip1, bias, scales, export_for_source_row)
    if not drop_pad_mode and all(value is not None for value in required):
        return ge.MoeFinalizeRouting(
            expanded_permuted_rows,
            skip1,
            skip2,
            bias,
            scales,
            expanded_src_to_dst_row,
            export_for_source_row,
        )
    return ge.MoeFinalizeRoutingV2(
        expanded_permuted_rows,
        expanded_src_to_dst_row,
        skip1,
        skip2,
        bias,
        scales,
        export_for_source_row,
        drop_pad_mode=drop_pad_mode or 0,
        k=1 if k is None else k,
    )


@converts(
    "npu::npu_moe_re_routing(Tensor tokens, Tensor expert_token_num_per_rank, *,"
    " Tensor? per_token_scales=None, int expert_token_num_type=1, int idx_type=0,"
    " int? tokens_dtype=None) -> (Tensor, Tensor, Tensor, Tensor)"
)
def npu_moe_re_routing(
    tokens: Any,
    expert_token_num_per_rank: Any,
    per_token_scales: Any,
    expert_token_num_type: Any,
    idx_type: Any,
    out: Any,
) -> Any:
    return ge.MoeReRouting(
        tokens,
        expert_token_num_per_rank,
        per_token_scales,
        expert_token_num_type=expert_token_num_type,
        idx_type=idx_type,
        out=tuple(out),
    )


@converts(
    "npu::npu_moe_token_permute(Tensor tokens, Tensor indices, int? num_out_tokens=None,"
    " bool padded_mode=False) -> (Tensor, Tensor)"
)
def npu_moe_token_permute(tokens: Any, indices: Any, num_out_tokens: Any, out: Any) -> Any:
    (kept,) = static_ints([num_out_tokens or 0], "num_out_tokens")
    return ge.MoeTokenPermute(tokens, indices, num_out_tokens=kept, out=tuple(out))


@converts(
    "npu::npu_moe_token_permute_grad(Tensor tokens, Tensor grad_permuted_tokens, Tensor indices,"
    " Tensor sorted_indices, bool padded_mode=False) -> Tensor"
)
def npu_moe_token_permute_grad(
    tokens: Any, grad_permuted_tokens: Any, indices: Any, sorted_indices: Any
) -> Any:
    del tokens  # only its shape matters to PyTorch
    k = shape(indices)[1] if rank(indices) == 2 else 1
    (k,) = static_ints([k if k != interned.DYNAMIC else ge.size(indices, 1)], "the choices")
    return ge.MoeTokenPermuteGrad(grad_permuted_tokens, sorted_indices, num_topk=k)


@converts(
    "npu::npu_moe_token_unpermute(Tensor permuted_tokens, Tensor sorted_indices,"
    " Tensor? probs=None, bool padded_mode=False, int[]? restore_shape=None) -> Tensor"
)
def npu_moe_token_unpermute(
    permuted_tokens: Any, sorted_indices: Any, probs: Any, restore_shape: Any
) -> Any:
    del restore_shape  # of padded mode only
    return ge.MoeTokenUnpermute(permuted_tokens, sorted_indices, probs)


@converts(
    "npu::npu_moe_token_unpermute_grad(Tensor permuted_tokens, Tensor grad_unpermuted_tokens,"
    " Tensor sorted_indices, Tensor? probs=None, bool padded_mode=False,"
    " int[]? restore_shape=None) -> (Tensor, Tensor)"
)
def npu_moe_token_unpermute_grad(
    permuted_tokens: Any,
    grad_unpermuted_tokens: Any,
    sorted_indices: Any,
    probs: Any,
    restore_shape: Any,
    out: Any,
) -> Any:
    del restore_shape  # of padded mode only
    return ge.MoeTokenUnpermuteGrad(
        permuted_tokens, grad_unpermuted_tokens, sorted_indices, probs, out=tuple(out)
    )
