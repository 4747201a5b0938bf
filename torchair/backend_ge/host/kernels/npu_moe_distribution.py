"""Kernels of dispatch to experts and back, for one rank that holds all experts."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from torchair.backend_ge.host.kernels.npu_collectives import one_rank
from torchair.backend_ge.host.kernels.npu_normalization import rms_norm
from torchair.backend_ge.host.kernels.registry import kernel
from torchair.errors import EngineError

_ASSIST = 128
"""Numbers per row in the second version's information for the way back."""


def _check(
    name: str, sizes: tuple[int, int], absent: tuple[Tensor | None, ...], modes: Any
) -> None:
    for size in sizes:
        one_rank(name, size)
    if any(t is not None for t in absent) or any(modes):
        raise EngineError(
            f"the host kernel of {name} does not implement quantisation, shared or special "
            "experts, masks or elastic groups",
            hint="run this graph on NPUs",
        )


def _dispatch(x: Tensor, expert_ids: Tensor, experts: int) -> tuple[Tensor, Tensor, Tensor]:
    """Rows by expert, the place of every choice ``[tokens * choices]``, and counts per expert."""
    choices = expert_ids.shape[1]
    flat = expert_ids.reshape(-1).long()
    order = torch.sort(flat, stable=True).indices
    rows = x[order // choices]
    place = torch.argsort(order)
    numbers = torch.arange(experts, device=x.device)
    counts = (flat[None] == numbers[:, None]).sum(-1)
    return rows, place.to(torch.int32), counts


@kernel("MoeDistributeDispatch", "MoeDistributeDispatchV2")
def moe_distribute_dispatch(
    x: Tensor,
    expert_ids: Tensor,
    scales: Tensor | None = None,
    x_active_mask: Tensor | None = None,
    expert_scales: Tensor | None = None,
    elastic_info: Tensor | None = None,
    performance_info: Tensor | None = None,
    *,
    ep_world_size: int,
    moe_expert_num: int,
    tp_world_size: int = 0,
    quant_mode: int = 0,
    expert_token_nums_type: int = 1,
    shared_expert_rank_num: int = 0,
    **rest: Any,
) -> tuple[Tensor, ...]:
    """Rows by expert, scales (unused), places, rows per expert, and counts received.

    ``expert_token_nums`` are counts (type 1) or their sums (0). The second version (it has
    ``comm_alg``) gives places padded to 128 numbers per row.
    """
    absent = (scales, x_active_mask, expert_scales, elastic_info, performance_info)
    special = [rest.get(n, 0) for n in ("zero_expert_num", "copy_expert_num", "const_expert_num")]
    name = "MoeDistributeDispatch"
    modes = (quant_mode, shared_expert_rank_num, *special)
    _check(name, (ep_world_size, tp_world_size), absent, modes)
    rows, place, counts = _dispatch(x, expert_ids, moe_expert_num)
    room = x.shape[0] * min(moe_expert_num, expert_ids.shape[1])
    sums = counts.cumsum(0)
    if "comm_alg" in rest:
        place = torch.nn.functional.pad(place, (0, room * _ASSIST - place.shape[0]))
    nums = counts if expert_token_nums_type == 1 else sums
    floats = x.new_zeros(room, dtype=torch.float32)
    received = x.new_zeros(tp_world_size, dtype=torch.int32)
    numbers = (place, nums, sums.to(torch.int32), received)
    return rows[:room], floats, *numbers, floats.new_empty(0)


def _combine(expand_x: Tensor, expert_ids: Tensor, place: Tensor, expert_scales: Tensor) -> Tensor:
    """``sum_k scale_k row_k`` of every token, float32."""
    count = expert_ids.numel()
    rows = expand_x.float()[place.reshape(-1)[:count].long()]
    choices = rows.reshape(*expert_ids.shape, expand_x.shape[1])
    return (choices * expert_scales.float()[..., None]).sum(1)


@kernel("MoeDistributeCombine", "MoeDistributeCombineV2")
def moe_distribute_combine(
    expand_x: Tensor,
    expert_ids: Tensor,
    expand_idx: Tensor,
    ep_send_counts: Tensor,
    expert_scales: Tensor,
    tp_send_counts: Tensor | None = None,
    *absent: Tensor | None,
    ep_world_size: int,
    moe_expert_num: int,
    tp_world_size: int = 0,
    comm_quant_mode: int = 0,
    **rest: Any,
) -> Tensor:
    """Every token's rows, weighted and summed."""
    sizes = (ep_world_size, tp_world_size)
    _check("MoeDistributeCombine", sizes, absent, (comm_quant_mode,))
    return _combine(expand_x, expert_ids, expand_idx, expert_scales).to(expand_x.dtype)


@kernel("MoeDistributeCombineAddRmsNorm")
def moe_distribute_combine_add_rms_norm(
    expand_x: Tensor,
    expert_ids: Tensor,
    assist_info_for_combine: Tensor,
    ep_send_counts: Tensor,
    expert_scales: Tensor,
    residual_x: Tensor,
    gamma: Tensor,
    tp_send_counts: Tensor | None = None,
    *absent: Tensor | None,
    ep_world_size: int,
    moe_expert_num: int,
    tp_world_size: int = 0,
    comm_quant_mode: int = 0,
    norm_eps: float = 1e-6,
    **rest: Any,
) -> tuple[Tensor, Tensor, Tensor]:
    """RmsNorm of ``x = combine + residual_x``: y, the reciprocal deviation, x."""
    sizes = (ep_world_size, tp_world_size)
    _check("MoeDistributeCombineAddRmsNorm", sizes, absent, (comm_quant_mode,))
    joined = _combine(expand_x, expert_ids, assist_info_for_combine, expert_scales)
    x = (joined.reshape(residual_x.shape) + residual_x.float()).to(expand_x.dtype)
    y, rstd = rms_norm(x, gamma, norm_eps)
    return y, rstd, x
