"""Choice of experts for tokens."""

from __future__ import annotations

import torch
from torch import Tensor

from torchair.backend_ge.host.kernels import npu_moe_gating as kernels
from torchair.errors import ConversionError
from torchair.frontend.npu_operators.registry import implements


@implements("npu_moe_gating_top_k_softmax")
def npu_moe_gating_top_k_softmax(
    x: Tensor, finished: Tensor | None = None, k: int = 1
) -> tuple[Tensor, Tensor, Tensor]:
    _require_rank(x, "npu_moe_gating_top_k_softmax", 2, 3)
    return kernels.moe_gating_top_k_softmax(x, finished, k)


@implements("npu_moe_gating_top_k_softmax_v2")
def npu_moe_gating_top_k_softmax_v2(
    x: Tensor,
    *,
    k: int = 1,
    finished: Tensor | None = None,
    renorm: int | None = 0,
    output_softmax: bool | None = False,
) -> tuple[Tensor, Tensor, Tensor]:
    _require_rank(x, "npu_moe_gating_top_k_softmax_v2", 2, 3)
    return kernels.moe_gating_top_k_softmax_v2(x, finished, k, renorm or 0, bool(output_softmax))


@implements("npu_moe_gating_top_k")
def npu_moe_gating_top_k(
    x: Tensor,
    k: int,
    *,
    bias: Tensor | None = None,
    input_ids: Tensor | None = None,
    tid2eid: Tensor | None = None,
    k_group: int = 1,
    group_count: int = 1,
    group_select_mode: int = 0,
    renorm: int = 0,
    norm_type: int = 0,
    out_flag: bool = False,
    routed_scaling_factor: float = 1.0,
    eps: float = 1e-20,
) -> tuple[Tensor, Tensor, Tensor]:
    _require_rank(x, "npu_moe_gating_top_k", 2)
    if (input_ids is None) != (tid2eid is None):
        raise ConversionError("npu_moe_gating_top_k: input_ids and tid2eid go together")
    return kernels.moe_gating_top_k(
        x,
        bias,
        input_ids,
        tid2eid,
        k,
        k_group,
        group_count,
        group_select_mode,
        renorm,
        norm_type,
        out_flag,
        routed_scaling_factor,
        eps,
    )


@implements("npu_moe_update_expert")
def npu_moe_update_expert(
    expert_ids: Tensor,
    eplb_table: Tensor,
    *,
    expert_scales: Tensor | None = None,
    pruning_threshold: Tensor | None = None,
    active_mask: Tensor | None = None,
    local_rank_id: int = -1,
    world_size: int = -1,
    balance_mode: int = 0,
) -> tuple[Tensor, Tensor]:
    if balance_mode == 0 and not 0 <= local_rank_id < world_size:
        raise ConversionError(
            "npu_moe_update_expert spreads over ranks: it needs local_rank_id and world_size",
            found=f"local_rank_id = {local_rank_id}, world_size = {world_size}",
            hint="pass both, or balance_mode=1",
        )
    return kernels.moe_update_expert(
        expert_ids,
        eplb_table,
        expert_scales,
        pruning_threshold,
        active_mask,
        local_rank_id,
        world_size,
        balance_mode,
    )


def _require_rank(x: torch.Tensor, operator: str, *ranks: int) -> None:
    if x.dim() not in ranks:
        allowed = " or ".join(map(str, ranks))
        raise ConversionError(
            f"{operator} takes {allowed} dimensions", expected=allowed, found=tuple(x.shape)
        )
