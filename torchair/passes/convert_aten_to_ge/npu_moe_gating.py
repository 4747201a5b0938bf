"""torch_npu's choice of experts for tokens."""

from __future__ import annotations

from typing import Any

from torchair.dialects.ge import builder as ge
from torchair.passes.convert_aten_to_ge.registry import converts


@converts(
    "npu::npu_moe_gating_top_k_softmax(Tensor x, Tensor? finished=None, int k=1)"
    " -> (Tensor, Tensor, Tensor)"
)
def npu_moe_gating_top_k_softmax(x: Any, finished: Any, k: Any) -> Any:
    return ge.MoeGatingTopKSoftmax(x, finished, k=k)


@converts(
    "npu::npu_moe_gating_top_k_softmax_v2(Tensor x, *, int k=1, Tensor? finished=None,"
    " int? renorm=0, bool? output_softmax=False) -> (Tensor, Tensor, Tensor)"
)
def npu_moe_gating_top_k_softmax_v2(
    x: Any, k: Any, finished: Any, renorm: Any, output_softmax: Any, out: Any
) -> Any:
    return ge.MoeGatingTopKSoftmaxV2(
        x,
        finished,
        k=k,
        renorm=renorm or 0,
        output_softmax=bool(output_softmax),
        out=tuple(out),
    )


@converts(
    "npu::npu_moe_gating_top_k(Tensor x, int k, *, Tensor? bias=None, Tensor? input_ids=None,"
    " Tensor? tid2eid=None, int k_group=1, int group_count=1, int group_select_mode=0,"
    " int renorm=0, int norm_type=0, bool out_flag=False, float routed_scaling_factor=1.0,"
    " float eps=1e-20) -> (Tensor, Tensor, Tensor)"
)
def npu_moe_gating_top_k(x: Any, out: Any, **rest: Any) -> Any:
    return ge.MoeGatingTopK(x, out=tuple(out), **rest)


@converts(
    "npu::npu_moe_update_expert(Tensor expert_ids, Tensor eplb_table, *,"
    " Tensor? expert_scales=None, Tensor? pruning_threshold=None, Tensor? active_mask=None,"
    " int local_rank_id=-1, int world_size=-1, int balance_mode=0) -> (Tensor, Tensor)"
)
def npu_moe_update_expert(expert_ids: Any, eplb_table: Any, out: Any, **rest: Any) -> Any:
    return ge.MoeUpdateExpert(expert_ids, eplb_table, out=tuple(out), **rest)
