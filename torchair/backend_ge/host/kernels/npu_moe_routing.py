"""Kernels that move tokens to their experts and back, after the definitions of the GE operators.

Rows that no token fills are zero here and undefined on the device.
"""

from __future__ import annotations

import torch
from torch import Tensor

from torchair.backend_ge.host.kernels.npu_quantization import divided, symmetric_scale
from torchair.backend_ge.host.kernels.registry import kernel
from torchair.backend_ge.host.narrow_types import quantized
from torchair.errors import EngineError


def inverse(order: Tensor) -> Tensor:
    """The inverse of a permutation."""
    place = torch.arange(order.size(0), device=order.device)
    return torch.zeros_like(order).scatter(0, order, place)


def picked(rows: Tensor, index: Tensor) -> Tensor:
    """Rows by index, zeros where the index is outside."""
    inside = (index >= 0) & (index < rows.size(0))
    found = rows.index_select(0, torch.where(inside, index, 0))
    return torch.where(inside.reshape([-1, *[1] * (rows.dim() - 1)]), found, 0)


@kernel("MoeInitRouting")
def moe_init_routing(
    x: Tensor, row_idx: Tensor, expert_idx: Tensor, active_num: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Sorts ``row_idx`` by expert and fetches the rows.

    Args:
        x: ``[rows, H]``.
        row_idx: ``[rows, k]`` int32, as ``expert_idx``; its values modulo ``rows`` name rows of x.
        active_num: how many tokens are fetched, times ``k``.

    Returns:
        Fetched rows, the place of each source row among them, and the sorted experts.
    """
    experts, order = torch.sort(expert_idx.reshape(-1), stable=True)
    sources = row_idx.reshape(-1).index_select(0, order).long()
    count = min(active_num, x.size(0)) * expert_idx.size(1)
    fetched = x.index_select(0, sources.narrow(0, 0, count) % x.size(0))
    return fetched, inverse(sources).int(), experts.int()


@kernel("MoeComputeExpertTokens")
def moe_compute_expert_tokens(sorted_experts: Tensor, num_experts: int) -> Tensor:
    """How many of the sorted experts are at most each expert."""
    expert = torch.arange(num_experts, dtype=sorted_experts.dtype, device=sorted_experts.device)
    return (sorted_experts <= expert.unsqueeze(-1)).sum(-1).int()


def _token_counts(counts: Tensor, first: int, kind: int, expert_num: int) -> Tensor:
    """Tokens per expert as they are reported: sums so far (0), counts (1), or pairs of expert and
    count of those that have tokens, ended by a pair of zeros (2).

    Raises:
        EngineError: unknown kind.
    """
    if kind == 0:
        return counts.cumsum(0)
    if kind == 1:
        return counts
    if kind != 2:
        raise EngineError("no such expert_tokens_num_type", expected="0, 1 or 2", found=kind)
    used = counts > 0
    slot = torch.where(used, used.cumsum(0) - 1, expert_num)
    expert = torch.arange(first, first + counts.size(0), device=counts.device)
    pairs = torch.stack((expert, counts), -1)
    empty = torch.zeros([expert_num + 1, 2], dtype=torch.int64, device=counts.device)
    return empty.scatter(0, slot.unsqueeze(-1).expand(-1, 2), pairs).narrow(0, 0, expert_num)


@kernel("MoeInitRoutingV3")
def moe_init_routing_v3(
    x: Tensor,
    expert_idx: Tensor,
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
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Sorts tokens by expert, fetches their rows and quantises them.

    Args:
        x: ``[rows, H]``; ``expert_idx`` is ``[rows, k]`` int32.
        scale: per row (``quant_mode`` -1: fetched along), one number (0), or factors ``[experts or
            1, H]`` (1).
        active_num: how many rows are fetched when positive, else all ``rows * k``.
        drop_pad_mode: 1 gives every expert ``expert_capacity`` rows: ``[experts, capacity, H]``.
        active_expert_range: first and one past the last expert whose tokens are fetched.
        quant_mode: none (-1), static (0) or one scale per row (1), to int8.
        row_idx_type: 0: where each of the ``rows * k`` sources went, -1 for nowhere; 1: from where
            each fetched row came.

    Returns:
        Rows, the int32 index, tokens per expert (see ``expert_tokens_num_type``), scales of rows.

    Raises:
        EngineError: a quant_mode that the host device does not implement.
    """
    if quant_mode not in (-1, 0, 1):
        raise EngineError(
            "the host kernel of MoeInitRoutingV3 does not implement this quant_mode",
            expected="-1, 0 or 1",
            found=quant_mode,
            hint="quantise the result, or run this graph on an NPU",
        )
    k = expert_idx.size(1)
    first, end = active_expert_range or (0, expert_num)
    experts = expert_idx.reshape(-1).long()
    active = (experts >= first) & (experts < end)
    keys, order = torch.sort(torch.where(active, experts, end), stable=True)
    every = torch.arange(first, end, device=x.device)
    counts = (keys == every.unsqueeze(-1)).sum(-1)
    place = torch.arange(order.size(0), device=x.device)
    if drop_pad_mode == 1:
        rank = place - _starts(counts, keys - first)
        kept = (keys < end) & (rank < expert_capacity)
        target = torch.where(kept, keys * expert_capacity + rank, expert_num * expert_capacity)
        length = expert_num * expert_capacity
    else:
        length = order.size(0) if active_num <= 0 else min(active_num, order.size(0))
        target = torch.where((keys < end) & (place < length), place, length)
    source = torch.full([length + 1], -1, dtype=torch.int64, device=x.device)
    source = source.scatter(0, target, order).narrow(0, 0, length)
    rows, scales = _fetched(x, source, k, scale, offset, quant_mode, experts - first)
    index = inverse(order)
    went = torch.where(target < length, target, -1).index_select(0, index)
    rows = rows.unflatten(0, (expert_num, expert_capacity)) if drop_pad_mode == 1 else rows
    told = counts.new_zeros([])
    if expert_tokens_num_flag:
        told = _token_counts(counts, first, expert_tokens_num_type, expert_num)
    return rows, (order if row_idx_type else went).int(), told, scales


def _starts(counts: Tensor, group: Tensor) -> Tensor:
    """Where the rows of each group begin, given sorted groups; groups past the last begin at the
    end."""
    ends = counts.cumsum(0)
    begins = torch.cat((ends - counts, ends[-1:]))
    return begins.index_select(0, group.clamp(max=counts.size(0)))


def _fetched(
    x: Tensor,
    source: Tensor,
    k: int,
    scale: Tensor | None,
    offset: Tensor | None,
    quant_mode: int,
    expert: Tensor,
) -> tuple[Tensor, Tensor]:
    """Rows of ``x`` by source (``row * k + choice``, -1 for none), and their scales."""
    row = torch.where(source < 0, -1, source // k)
    values = picked(x, row)
    if quant_mode == -1:
        if scale is None:
            return values, torch.zeros(row.shape, dtype=torch.float32, device=x.device)
        return values, picked(scale, row)
    wide = values.float()
    if quant_mode == 0:
        if scale is None or offset is None:
            raise EngineError("static quantisation needs scale and offset")
        filled = (row >= 0).unsqueeze(-1)
        numbers = torch.where(filled, wide * scale.float() + offset.float(), 0.0)
        return quantized(numbers, torch.int8), torch.zeros([], device=x.device)
    if scale is not None:
        chosen = expert.index_select(0, source.clamp(min=0)).clamp(0, scale.size(0) - 1)
        wide = wide * scale.float().index_select(0, chosen)
    factor = symmetric_scale(wide, [-1], torch.int8)
    return quantized(divided(wide, factor), torch.int8), factor.squeeze(-1)


@kernel("MoeFinalizeRouting")
def moe_finalize_routing(
    expanded_x: Tensor,
    x1: Tensor,
    x2: Tensor | None,
    bias: Tensor,
    scales: Tensor,
    expanded_row_idx: Tensor,
    expanded_expert_idx: Tensor,
) -> Tensor:
    return moe_finalize_routing_v2(
        expanded_x, expanded_row_idx, x1, x2, bias, scales, expanded_expert_idx
    )


@kernel("MoeFinalizeRoutingV2")
def moe_finalize_routing_v2(
    expanded_x: Tensor,
    expanded_row_idx: Tensor,
    x1: Tensor | None = None,
    x2: Tensor | None = None,
    bias: Tensor | None = None,
    scales: Tensor | None = None,
    expert_idx: Tensor | None = None,
    drop_pad_mode: int = 0,
    k: int = 1,
) -> Tensor:
    """``x1 + x2 + sum over k of scales * (expanded_x[row] + bias[expert])``.

    Args:
        expanded_x: ``[rows * k, H]``, or ``[experts, capacity, H]``.
        expanded_row_idx: ``[rows * k]``, in columns (``choice * rows + row``) for modes 0 and 1, in
            rows for 2 and 3; -1 contributes nothing.
        scales: ``[rows, k]``; without them the factors are 1 and ``k`` is the attribute.
    """
    width = expanded_x.size(-1)
    flat = expanded_x.flatten(0, -2).float()
    choices = k if scales is None else scales.size(1)
    rows = expanded_row_idx.size(0) // choices
    by_row = drop_pad_mode in (2, 3)
    index = expanded_row_idx.long()
    index = index.reshape(rows, choices) if by_row else index.reshape(choices, rows).t()
    terms = picked(flat, index.reshape(-1)).reshape(rows, choices, width)
    if bias is not None and expert_idx is not None:
        shift = bias.float().index_select(0, expert_idx.reshape(-1)).reshape(terms.shape)
        terms = terms + shift * (index >= 0).unsqueeze(-1).float()
    if scales is not None:
        terms = terms * scales.float().unsqueeze(-1)
    y = terms.sum(1)
    for skip in (x1, x2):
        y = y if skip is None else y + skip.float()
    return y.to(expanded_x.dtype)


@kernel("MoeReRouting")
def moe_re_routing(
    tokens: Tensor,
    expert_token_num_per_rank: Tensor,
    per_token_scales: Tensor | None = None,
    expert_token_num_type: int = 1,
    idx_type: int = 0,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Tokens ordered by rank, then expert become ordered by expert, then rank.

    Args:
        tokens: ``[tokens, H]``.
        expert_token_num_per_rank: ``[ranks, experts]``.
        expert_token_num_type: sums so far (0) or counts (1) per expert.
        idx_type: from where each token came (0), or where each went (1).
    """
    counts = expert_token_num_per_rank.long()
    ranks, experts = counts.shape
    before = (counts.reshape(-1).cumsum(0) - counts.reshape(-1)).reshape(ranks, experts)
    sizes = counts.t().reshape(-1)
    ends = sizes.cumsum(0)
    row = torch.arange(tokens.size(0), device=tokens.device)
    block = (row.unsqueeze(-1) >= ends).sum(-1)
    inside = block < ranks * experts
    block = block.clamp(max=ranks * experts - 1)
    start = before.t().reshape(-1).index_select(0, block)
    within = row - (ends - sizes).index_select(0, block)
    source = torch.where(inside, start + within, row)
    scales = torch.ones([tokens.size(0)], dtype=torch.float32, device=tokens.device)
    if per_token_scales is not None:
        scales = per_token_scales.index_select(0, source)
    total = counts.sum(0)
    told = (total if expert_token_num_type else total.cumsum(0)).to(expert_token_num_per_rank.dtype)
    index = inverse(source) if idx_type else source
    return tokens.index_select(0, source), scales, index.int(), told
