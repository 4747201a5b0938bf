"""Flash attention as PyTorch computes it on CPU: the plain cases of FlashAttentionScore."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from torchair.errors import EngineError

_STATISTICS = 8
_TO_BNSD = {"BNSD": (0, 1, 2, 3), "BSND": (0, 2, 1, 3)}


def forward(
    query: Tensor, key: Tensor, value: Tensor, given: Any
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """softmax(query key^T scale + shift, masked) value, with each row's maximum and sum.

    Args:
        query, key, value: in ``given.input_layout``.
        given: optional inputs and attributes (``npu_fusion_attention.Training``).
    """
    layout = given.input_layout
    heads = given.key_heads(query, key)
    q = _to_heads(query, layout, given.head_num)
    k, v = (_to_heads(t, layout, heads) for t in (key, value))
    is_causal = given.is_causal()
    output = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu(
        q, k, v, 0.0, is_causal, attn_mask=given.shift, scale=given.scale_value
    )[0]
    maximum, total = _statistics(q, k, given.shift, is_causal, given.scale_value)
    return maximum, total, q.new_empty(0), _from_heads(output, layout)


def backward(
    inputs: tuple[Tensor, ...], softmax_max: Tensor, softmax_sum: Tensor, given: Any
) -> list[Tensor]:
    """Gradients of query, key and value, given these, the result's gradient and the result."""
    layout = given.input_layout
    q, k, v, grad, result = (_to_heads(t, layout, given.head_num) for t in inputs)
    logsumexp = softmax_max[..., 0] + softmax_sum[..., 0].log()
    logsumexp = logsumexp.transpose(1, 2).contiguous().transpose(1, 2)
    differentiate = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward
    values = (grad, q, k, v, result, logsumexp, 0.0, given.is_causal())
    grads = differentiate(*values, attn_mask=given.shift, scale=given.scale_value)
    return [_from_heads(g, layout) for g in grads]


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


def _triangle(q: Tensor, k: Tensor) -> Tensor:
    """True where a token is at or before the query's."""
    rows = torch.arange(q.shape[2], device=q.device)[:, None]
    return torch.arange(k.shape[2], device=q.device)[None] <= rows


def _statistics(
    q: Tensor, k: Tensor, shift: Tensor | None, is_causal: bool, scale: float
) -> tuple[Tensor, Tensor]:
    """Maximum of each row of scores and the sum of its exponentials, repeated 8 times."""
    groups = q.shape[1] // k.shape[1]
    keys = k if groups == 1 else k.repeat_interleave(groups, 1)
    scores = torch.matmul(q.float(), keys.float().mT) * scale
    if is_causal:
        scores = torch.where(_triangle(q, k), scores, float("-inf"))
    elif shift is not None:
        scores = scores + shift.float()
    maximum = scores.amax(-1, keepdim=True)
    total = torch.exp(scores - maximum).sum(-1, keepdim=True)
    sizes = [*maximum.shape[:-1], _STATISTICS]
    return maximum.expand(sizes).contiguous(), total.expand(sizes).contiguous()
