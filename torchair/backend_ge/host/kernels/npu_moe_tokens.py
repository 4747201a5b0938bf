"""Kernels that permute tokens by expert and back, with their gradients, after the GE operators."""

from __future__ import annotations

import torch
from torch import Tensor

from torchair.backend_ge.host.kernels.npu_moe_routing import inverse, picked
from torchair.backend_ge.host.kernels.registry import kernel
from torchair.errors import EngineError


def _require_unpadded(padded_mode: bool) -> None:
    if padded_mode:
        raise EngineError("padded_mode is not defined for tokens", expected=False, found=True)


@kernel("MoeTokenPermute")
def moe_token_permute(
    tokens: Tensor, indices: Tensor, num_out_tokens: int = 0, padded_mode: bool = False
) -> tuple[Tensor, Tensor]:
    """Repeats each token once per expert and sorts by expert.

    Args:
        tokens: ``[tokens, H]``.
        indices: experts ``[tokens, k]`` or ``[tokens]``.
        num_out_tokens: how many rows are kept when positive; otherwise how many are added to all.

    Returns:
        Rows, and the int32 place of each ``token * k + choice`` among all rows.
    """
    _require_unpadded(padded_mode)
    order = torch.sort(indices.reshape(-1), stable=True)[1]
    total = order.size(0)
    kept = min(num_out_tokens, total) if num_out_tokens > 0 else total + num_out_tokens
    k = indices.size(1) if indices.dim() == 2 else 1
    return tokens.index_select(0, order.narrow(0, 0, kept) // k), inverse(order).int()


@kernel("MoeTokenUnpermute")
def moe_token_unpermute(
    permuted_tokens: Tensor,
    sorted_indices: Tensor,
    probs: Tensor | None = None,
    padded_mode: bool = False,
    restore_shape: list[int] | None = None,
) -> Tensor:
    """Sums the rows of each token, times ``probs[tokens, k]``; rows that were dropped are zero."""
    _require_unpadded(padded_mode)
    k = 1 if probs is None else probs.size(1)
    rows = picked(permuted_tokens.float(), sorted_indices.long())
    rows = rows.unflatten(0, (sorted_indices.size(0) // k, k))
    if probs is not None:
        rows = rows * probs.float().unsqueeze(-1)
    return rows.sum(1).to(permuted_tokens.dtype)


@kernel("MoeTokenPermuteGrad")
def moe_token_permute_grad(
    permuted_output_grad: Tensor, sorted_indices: Tensor, num_topk: int, padded_mode: bool = False
) -> Tensor:
    """Sum of the gradients of each token's rows."""
    _require_unpadded(padded_mode)
    rows = picked(permuted_output_grad.float(), sorted_indices.long())
    total = rows.unflatten(0, (sorted_indices.size(0) // num_topk, num_topk)).sum(1)
    return total.to(permuted_output_grad.dtype)


@kernel("MoeTokenUnpermuteGrad")
def moe_token_unpermute_grad(
    permuted_tokens: Tensor,
    unpermuted_tokens_grad: Tensor,
    sorted_indices: Tensor,
    probs: Tensor | None = None,
    padded_mode: bool = False,
    restore_shape: list[int] | None = None,
) -> tuple[Tensor, Tensor]:
    """Gradients of the rows and of ``probs`` (empty without them)."""
    _require_unpadded(padded_mode)
    k = 1 if probs is None else probs.size(1)
    grad = unpermuted_tokens_grad.float().unsqueeze(1)
    spread = grad.expand(-1, k, -1)
    if probs is not None:
        spread = spread * probs.float().unsqueeze(-1)
    rows = spread.flatten(0, 1)
    order = inverse(sorted_indices.long()).narrow(0, 0, permuted_tokens.size(0))
    d_rows = rows.index_select(0, order).to(permuted_tokens.dtype)
    if probs is None:
        return d_rows, permuted_tokens.new_empty([0])
    found = picked(permuted_tokens.float(), sorted_indices.long())
    d_probs = (found.unflatten(0, (probs.size(0), k)) * grad).sum(-1)
    return d_rows, d_probs.to(probs.dtype)
