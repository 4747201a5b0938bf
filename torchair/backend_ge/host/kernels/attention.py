"""Flash attention as PyTorch computes it on CPU: the plain cases of FlashAttentionScore."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from torchair.errors import EngineError

_STATISTICS = 8
UNBOUNDED = 65536
"""Token windows of at least this size do not limit anything here."""
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
    mask = _mask(q, k, given.shift, given.atten_mask, given.sparse_mode)
    is_causal = given.sparse_mode == 2 and given.shift is None
    output = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu(
        q, k, v, 0.0, is_causal, attn_mask=None if is_causal else mask, scale=given.scale_value
    )[0]
    maximum, total = _statistics(q, k, mask, given.scale_value)
    return maximum, total, q.new_empty(0), _from_heads(output, layout)


def backward(
    inputs: tuple[Tensor, ...], softmax_max: Tensor, softmax_sum: Tensor, given: Any
) -> list[Tensor]:
    """Gradients of query, key and value, given these, the result's gradient and the result."""
    layout = given.input_layout
    q, k, v, grad, result = (_to_heads(t, layout, given.head_num) for t in inputs)
    mask = _mask(q, k, given.shift, given.atten_mask, given.sparse_mode)
    is_causal = given.sparse_mode == 2 and given.shift is None
    logsumexp = softmax_max[..., 0] + softmax_sum[..., 0].log()
    logsumexp = logsumexp.transpose(1, 2).contiguous().transpose(1, 2)
    differentiate = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward
    values = (grad, q, k, v, result, logsumexp, 0.0, is_causal)
    mask = None if is_causal else mask
    grads = differentiate(*values, attn_mask=mask, scale=given.scale_value)
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
