"""Kernels of softmax over scaled scores of which a mask hides some, after GE's definitions."""

from __future__ import annotations

import torch
from torch import Tensor

from torchair.backend_ge.host.kernels.registry import kernel
from torchair.errors import EngineError

LEAST = -10000.0
"""What stands for hidden scores."""


@kernel("ScaledMaskedSoftmax")
def scaled_masked_softmax(
    x: Tensor, mask: Tensor | None = None, *, scale: float = 1.0, fixed_triu_mask: bool = False
) -> Tensor:
    """``softmax(x scale)`` over the last dimension, hidden scores replaced by ``LEAST``.

    Args:
        x: ``[batch, heads, rows, columns]``, float16 or bfloat16; computed in float32.
        mask: True hides, ``[batch or 1, heads or 1, rows, columns]``.
        scale: factor of the scores.
        fixed_triu_mask: what is above the diagonal is hidden, and ``mask`` is not read.
    """
    scores = x.float() * scale
    if fixed_triu_mask:
        mask = torch.ones(x.shape[-2:], dtype=torch.bool, device=x.device).triu(1)
    if mask is not None:
        scores = scores.masked_fill(mask, LEAST)
    return torch.softmax(scores, -1).to(_result_dtype(x))


@kernel("ScaledMaskedSoftmaxGrad")
def scaled_masked_softmax_grad(
    y_grad: Tensor,
    y: Tensor,
    mask: Tensor | None = None,
    *,
    scale: float = 1.0,
    fixed_triu_mask: bool = False,
) -> Tensor:
    """Gradient of ``x``, given the result ``y`` and its gradient: zero where the mask hides."""
    wide, weights = y_grad.float(), y.float()
    grad = (wide - (wide * weights).sum(-1, keepdim=True)) * weights * scale
    if fixed_triu_mask:
        mask = torch.ones(y.shape[-2:], dtype=torch.bool, device=y.device).triu(1)
    if mask is not None:
        grad = grad.masked_fill(mask, 0.0)
    return grad.to(_result_dtype(y_grad))


def _result_dtype(x: Tensor) -> torch.dtype:
    if x.dtype in (torch.float16, torch.bfloat16):
        return x.dtype
    raise EngineError(
        "masked softmax gives results of float16 and bfloat16 only",
        expected="float16 or bfloat16",
        found=x.dtype,
        hint="write softmax and masked_fill for this dtype",
    )
