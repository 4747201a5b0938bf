"""Kernels that choose experts for tokens, after the definitions of the GE operators.

Scores are computed in float32; of equal scores the expert with the lower number is chosen.
"""

from __future__ import annotations

import torch
from torch import Tensor

from torchair.backend_ge.host.kernels.registry import kernel
from torchair.errors import EngineError


def largest(scores: Tensor, k: int) -> Tensor:
    """Indices of the ``k`` largest scores of each row, in descending order."""
    order = torch.sort(scores, dim=-1, descending=True, stable=True)[1]
    return order.narrow(-1, 0, k)


@kernel("MoeGatingTopKSoftmax")
def moe_gating_top_k_softmax(
    x: Tensor, finished: Tensor | None = None, k: int = 1
) -> tuple[Tensor, Tensor, Tensor]:
    """The ``k`` largest softmax scores of each row, their experts and their source rows.

    Args:
        x: ``[..., experts]``.
        finished: rows that take part no more; their expert is one past the last.

    Returns:
        Scores in the type of ``x``, experts and ``row + column * rows``, both int32.
    """
    y, experts, _ = moe_gating_top_k_softmax_v2(x, finished, k)
    rows = x.flatten(0, -2).size(0)
    row = torch.arange(rows, dtype=torch.int32, device=x.device).unsqueeze(-1)
    column = torch.arange(k, dtype=torch.int32, device=x.device)
    return y, experts, (row + column * rows).reshape(y.shape)


@kernel("MoeGatingTopKSoftmaxV2")
def moe_gating_top_k_softmax_v2(
    x: Tensor,
    finished: Tensor | None = None,
    k: int = 1,
    renorm: int = 0,
    output_softmax: bool = False,
) -> tuple[Tensor, Tensor, Tensor]:
    """As ``MoeGatingTopKSoftmax``; with ``renorm`` the softmax is over the chosen scores only.

    Returns:
        Scores, experts, and all softmax scores in float32 when ``output_softmax`` asks for them and
        ``renorm`` is 0, else nothing.
    """
    scores = x.float() if renorm else torch.softmax(x.float(), -1)
    chosen = largest(scores, k)
    y = scores.gather(-1, chosen)
    if renorm:
        y = torch.softmax(y, -1)
    experts = chosen.int()
    if finished is not None:
        experts = torch.where(finished.reshape(x.shape[:-1]).unsqueeze(-1), x.size(-1), experts)
    wanted = output_softmax and not renorm
    return y.to(x.dtype), experts.int(), scores if wanted else scores.new_empty([0])


@kernel("MoeGatingTopK")
def moe_gating_top_k(
    x: Tensor,
    bias: Tensor | None = None,
    input_ids: Tensor | None = None,
    tid2eid: Tensor | None = None,
    k: int = 1,
    k_group: int = 1,
    group_count: int = 1,
    group_select_mode: int = 0,
    renorm: int = 0,
    norm_type: int = 0,
    out_flag: bool = False,
    routed_scaling_factor: float = 1.0,
    eps: float = 1e-20,
) -> tuple[Tensor, Tensor, Tensor]:
    """The ``k`` best experts of each row, from the ``k_group`` best groups of experts.

    Args:
        x: ``[rows, experts]``.
        bias: added to the scores while choosing, not to the result.
        input_ids: with ``tid2eid[ids, k]`` names the experts of each row: nothing is chosen.
        group_select_mode: a group counts its best score (0) or the sum of its two best (1).
        norm_type: softmax (0) or sigmoid (1) makes scores of ``x``.
        renorm: whether softmax scores are divided by the sum of the chosen; sigmoid's always are.

    Returns:
        Scores times ``routed_scaling_factor`` in the type of ``x``, experts (int32), and all scores
        in float32, which the device writes only with ``out_flag``.
    """
    scores = torch.sigmoid(x.float()) if norm_type else torch.softmax(x.float(), -1)
    if input_ids is not None and tid2eid is not None:
        chosen = tid2eid.index_select(0, input_ids).long()
    else:
        biased = scores if bias is None else scores + bias.float()
        if group_count > 1:
            biased = _best_groups(biased, k_group, group_count, group_select_mode)
        chosen = largest(biased, k)
    y = scores.gather(-1, chosen)
    if norm_type or renorm:
        y = y / (y.sum(-1, keepdim=True) + eps)
    return (y * routed_scaling_factor).to(x.dtype), chosen.int(), scores


def _best_groups(scores: Tensor, k_group: int, group_count: int, mode: int) -> Tensor:
    """Scores with those outside of the best groups at minus infinity.

    Raises:
        EngineError: unknown mode.
    """
    if mode not in (0, 1):
        raise EngineError("no such group_select_mode", expected="0 or 1", found=mode)
    groups = scores.unflatten(1, (group_count, scores.size(1) // group_count))
    ranked = torch.sort(groups, -1, descending=True)[0]
    total = ranked[..., 0] + ranked[..., 1] if mode else ranked[..., 0]
    best = largest(total, k_group)
    lost = torch.ones_like(total, dtype=torch.bool).scatter(-1, best, False)
    return torch.where(lost.unsqueeze(-1), float("-inf"), groups).reshape(scores.shape)


@kernel("MoeUpdateExpert")
def moe_update_expert(
    expert_ids: Tensor,
    eplb_table: Tensor,
    expert_scales: Tensor | None = None,
    pruning_threshold: Tensor | None = None,
    active_mask: Tensor | None = None,
    local_rank_id: int = -1,
    world_size: int = -1,
    balance_mode: int = 0,
) -> tuple[Tensor, Tensor]:
    """Physical experts of logical ones, of which there may be several instances each.

    Args:
        expert_ids: ``[tokens, k]``.
        eplb_table: per logical expert the number of its instances, then their physical numbers.
        expert_scales: ``[tokens, k]``; an expert below ``pruning_threshold`` (per column) times the
            token's sum is pruned.
        active_mask: tokens that take part.
        balance_mode: instances are spread over ranks (0) or tokens (1).

    Returns:
        Physical experts, and which of them are used (all, without scales; undefined on the device).
    """
    rows = eplb_table.index_select(0, expert_ids.flatten())
    count = rows[:, 0].long()
    if balance_mode == 0:
        instance = local_rank_id // ((world_size + count - 1) // count)
    else:
        token = torch.arange(expert_ids.size(0), device=expert_ids.device).unsqueeze(-1)
        instance = token.expand(expert_ids.shape).reshape(-1) % count
    physical = rows.gather(1, (instance + 1).unsqueeze(-1)).reshape(expert_ids.shape)
    used = torch.ones_like(expert_ids, dtype=torch.bool)
    if expert_scales is not None and pruning_threshold is not None:
        scales = expert_scales.float()
        limit = pruning_threshold.float().reshape(1, -1) * scales.sum(-1, keepdim=True)
        used = scales >= limit
    if active_mask is not None:
        used = used & active_mask.unsqueeze(-1)
    return physical.to(expert_ids.dtype), used
