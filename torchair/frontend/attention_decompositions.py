"""Scaled-dot-product attention of the CPU as matrix products and softmax, forward and backward.

PyTorch's own decomposition returns the weights where the backward pass expects the log-sum-exp, and has
no decomposition of the backward pass at all; these two belong together.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor


def attention_forward(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    *,
    attn_mask: Tensor | None = None,
    scale: float | None = None,
) -> tuple[Tensor, Tensor]:
    """``aten::_scaled_dot_product_flash_attention_for_cpu``.

    Shapes: query [batch, heads, q, head], key and value [batch, kv heads, kv, head]; half precision
    accumulates in float32. Returns the output and the log-sum-exp [batch, heads, q] in float32.
    """
    groups = _groups(query, key)
    wide_key, wide_value = _repeat(_widen(key), groups), _repeat(_widen(value), groups)
    scores = _scores(_widen(query), wide_key, is_causal, attn_mask, scale)
    if attn_mask is None:
        weights = torch.softmax(scores, -1)
    else:
        weights = torch.ops.aten._safe_softmax(scores, -1)
    output = torch.matmul(weights, wide_value).to(query.dtype)
    output = output.transpose(1, 2).contiguous().transpose(1, 2)
    return output, torch.logsumexp(scores, -1)


def attention_backward(
    grad_out: Tensor,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    out: Tensor,
    logsumexp: Tensor,
    dropout_p: float,
    is_causal: bool,
    *,
    attn_mask: Tensor | None = None,
    scale: float | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    """``aten::_scaled_dot_product_flash_attention_for_cpu_backward``.

    With P = exp(S - logsumexp): dV = P^T dO, dS = P (dO V^T - sum(dO O)), dQ = dS K, dK = dS^T Q
    (Dao et al., FlashAttention, appendix B).
    """
    groups = _groups(query, key)
    wide_query, grad = _widen(query), _widen(grad_out)
    wide_key, wide_value = _repeat(_widen(key), groups), _repeat(_widen(value), groups)
    factor = _scale(query, scale)
    scores = _scores(wide_query, wide_key, is_causal, attn_mask, scale)
    weights = torch.exp(scores - logsumexp.unsqueeze(-1))
    grad_value = torch.matmul(weights.transpose(-2, -1), grad)
    delta = (grad * _widen(out)).sum(-1, keepdim=True)
    grad_scores = weights * (torch.matmul(grad, wide_value.transpose(-2, -1)) - delta)
    grad_query = torch.matmul(grad_scores, wide_key) * factor
    grad_key = torch.matmul(grad_scores.transpose(-2, -1), wide_query) * factor
    return (
        _like_input(grad_query, query),
        _like_input(_sum_groups(grad_key, groups), key),
        _like_input(_sum_groups(grad_value, groups), value),
    )


def _scale(query: Tensor, scale: float | None) -> float:
    return query.shape[-1] ** -0.5 if scale is None else scale


def _widen(x: Tensor) -> Tensor:
    return x.float() if x.dtype in (torch.float16, torch.bfloat16) else x


def _groups(query: Tensor, key: Tensor) -> int:
    return 1 if query.shape[1] == key.shape[1] else query.shape[1] // key.shape[1]


def _repeat(x: Tensor, groups: int) -> Tensor:
    return x if groups == 1 else x.repeat_interleave(groups, 1)


def _sum_groups(grad: Tensor, groups: int) -> Tensor:
    return grad if groups == 1 else grad.unflatten(1, (-1, groups)).sum(2)


def _like_input(grad: Tensor, source: Tensor) -> Tensor:
    """Gradients have the type and the memory layout that PyTorch's kernel gives them."""
    grad = grad.to(source.dtype)
    return grad.transpose(1, 2).contiguous().transpose(1, 2)


def _scores(
    query: Tensor, key: Tensor, is_causal: bool, mask: Tensor | None, scale: float | None
) -> Tensor:
    scores = torch.matmul(query, key.transpose(-2, -1)) * _scale(query, scale)
    if is_causal:
        shape = (query.shape[-2], key.shape[-2])
        allowed = torch.ones(shape, dtype=torch.bool, device=query.device).tril()
        return scores.masked_fill(allowed.logical_not(), float("-inf"))
    if mask is None:
        return scores
    if mask.dtype is torch.bool:
        return scores.masked_fill(mask.logical_not(), float("-inf"))
    return scores + mask


ATTENTION_DECOMPOSITIONS: dict[Any, Callable[..., Any]] = {
    torch.ops.aten._scaled_dot_product_flash_attention_for_cpu.default: attention_forward,
    torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward.default: attention_backward,
}
"""Decompositions by OpOverload."""
