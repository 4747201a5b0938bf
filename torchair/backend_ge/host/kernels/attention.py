"""Kernels of flash attention."""

from __future__ import annotations

import torch
from torch import Tensor

from torchair.backend_ge.host.kernels.registry import kernel
from torchair.errors import EngineError

_STATISTICS = 8
_UNBOUNDED = 65536
"""Token windows of at least this size do not limit anything here."""
_TO_BNSD = {"BNSD": (0, 1, 2, 3), "BSND": (0, 2, 1, 3)}


@kernel("FlashAttentionScore")
def flash_attention_score(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    real_shift: Tensor | None,
    drop_mask: Tensor | None,
    padding_mask: Tensor | None,
    atten_mask: Tensor | None,
    prefix: Tensor | None,
    actual_seq_qlen: Tensor | None,
    actual_seq_kvlen: Tensor | None,
    q_start_idx: Tensor | None,
    kv_start_idx: Tensor | None,
    head_num: int,
    input_layout: str,
    scale_value: float = 1.0,
    pre_tockens: int = 2147483647,
    next_tockens: int = 2147483647,
    inner_precise: int = 1,
    sparse_mode: int = 0,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """softmax(query key^T scale + shift, masked) value, with each row's maximum and sum."""
    absent = (drop_mask, padding_mask, prefix, actual_seq_qlen, actual_seq_kvlen)
    _refuse("FlashAttentionScore", (*absent, q_start_idx, kv_start_idx), pre_tockens, next_tockens)
    q, k, v = (_to_heads(t, input_layout, head_num) for t in (query, key, value))
    mask = _mask(q, k, real_shift, atten_mask, sparse_mode)
    is_causal = sparse_mode == 2 and real_shift is None
    output = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu(
        q, k, v, 0.0, is_causal, attn_mask=None if is_causal else mask, scale=scale_value
    )[0]
    maximum, total = _statistics(q, k, mask, scale_value)
    return maximum, total, q.new_empty(0), _from_heads(output, input_layout)


@kernel("FlashAttentionScoreGrad")
def flash_attention_score_grad(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    dy: Tensor,
    pse_shift: Tensor | None,
    drop_mask: Tensor | None,
    padding_mask: Tensor | None,
    atten_mask: Tensor | None,
    softmax_max: Tensor | None,
    softmax_sum: Tensor | None,
    softmax_in: Tensor | None,
    attention_in: Tensor | None,
    prefix: Tensor | None,
    actual_seq_qlen: Tensor | None,
    actual_seq_kvlen: Tensor | None,
    q_start_idx: Tensor | None,
    kv_start_idx: Tensor | None,
    head_num: int,
    input_layout: str,
    scale_value: float = 1.0,
    pre_tockens: int = 65536,
    next_tockens: int = 65536,
    inner_precise: int = 1,
    sparse_mode: int = 0,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Gradients of flash attention with respect to query, key and value."""
    name = "FlashAttentionScoreGrad"
    absent = (drop_mask, padding_mask, prefix, actual_seq_qlen, actual_seq_kvlen)
    _refuse(name, (*absent, q_start_idx, kv_start_idx), pre_tockens, next_tockens)
    if softmax_max is None or softmax_sum is None or attention_in is None:
        raise EngineError(f"{name} needs softmax_max, softmax_sum and attention_in")
    tensors = (query, key, value, dy, attention_in)
    q, k, v, grad, forward = (_to_heads(t, input_layout, head_num) for t in tensors)
    mask = _mask(q, k, pse_shift, atten_mask, sparse_mode)
    is_causal = sparse_mode == 2 and pse_shift is None
    logsumexp = softmax_max[..., 0] + softmax_sum[..., 0].log()
    logsumexp = logsumexp.transpose(1, 2).contiguous().transpose(1, 2)
    backward = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward
    inputs = (grad, q, k, v, forward, logsumexp, 0.0, is_causal)
    grads = backward(*inputs, attn_mask=None if is_causal else mask, scale=scale_value)
    dq, dk, dv = (_from_heads(g, input_layout) for g in grads)
    return dq, dk, dv, q.new_empty(0)


def _refuse(name: str, absent: tuple[Tensor | None, ...], before: int, after: int) -> None:
    if any(t is not None for t in absent) or min(before, after) < _UNBOUNDED:
        raise EngineError(
            f"the host kernel of {name} does not implement dropout, prefixes, variable lengths or "
            "token windows",
            hint="run this graph on an NPU",
        )


def _to_heads(tensor: Tensor, layout: str, heads: int) -> Tensor:
    """[batch, heads, sequence, head] of any supported layout."""
    if layout in _TO_BNSD:
        return tensor.permute(_TO_BNSD[layout])
    if layout == "BSH":
        return tensor.unflatten(-1, (heads, -1)).transpose(1, 2)
    if layout == "SBH":
        return tensor.unflatten(-1, (heads, -1)).permute(1, 2, 0, 3)
    raise EngineError(
        f"the host kernel of flash attention does not know the layout {layout}",
        expected="BNSD, BSND, BSH or SBH",
    )


def _from_heads(tensor: Tensor, layout: str) -> Tensor:
    if layout in _TO_BNSD:
        return tensor.permute(_TO_BNSD[layout])
    if layout == "BSH":
        return tensor.transpose(1, 2).flatten(2)
    return tensor.permute(2, 0, 1, 3).flatten(2)


def _mask(
    q: Tensor, k: Tensor, shift: Tensor | None, hidden: Tensor | None, sparse_mode: int
) -> Tensor | None:
    """What is added to the scores: None, the shift, or the shift with -inf where hidden."""
    if sparse_mode in (2, 3):
        rows = torch.arange(q.shape[2], device=q.device)[:, None]
        columns = torch.arange(k.shape[2], device=q.device)[None]
        offset = 0 if sparse_mode == 2 else k.shape[2] - q.shape[2]
        hidden = columns > rows + offset
    elif sparse_mode not in (0, 1):
        raise EngineError(
            f"the host kernel of flash attention does not know sparse_mode {sparse_mode}",
            expected="0, 1, 2 or 3",
        )
    if hidden is None:
        return shift
    hidden = hidden.to(torch.bool)
    if shift is None:
        return torch.logical_not(hidden)
    return shift.masked_fill(hidden, float("-inf"))


def _statistics(q: Tensor, k: Tensor, mask: Tensor | None, scale: float) -> tuple[Tensor, Tensor]:
    """Maximum of each row of scores and the sum of its exponentials, repeated 8 times."""
    groups = q.shape[1] // k.shape[1]
    keys = k if groups == 1 else k.repeat_interleave(groups, 1)
    scores = torch.matmul(q.float(), keys.float().mT) * scale
    if mask is not None and mask.dtype is torch.bool:
        scores = scores.masked_fill(torch.logical_not(mask), float("-inf"))
    elif mask is not None:
        scores = scores + mask.float()
    maximum = scores.amax(-1, keepdim=True)
    total = torch.exp(scores - maximum).sum(-1, keepdim=True)
    sizes = [*maximum.shape[:-1], _STATISTICS]
    return maximum.expand(sizes).contiguous(), total.expand(sizes).contiguous()
