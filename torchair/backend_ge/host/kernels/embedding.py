"""Kernels of embedding tables."""

from __future__ import annotations

import torch
from torch import Tensor

from torchair.backend_ge.host.kernels.registry import kernel

_BAG_MODES = {"sum": 0, "mean": 1, "max": 2}


@kernel("EmbeddingDenseGrad")
def embedding_dense_grad(
    grad: Tensor, indices: Tensor, num_weights: int, padding_idx: int, scale_grad_by_freq: bool
) -> Tensor:
    return torch.ops.aten.embedding_dense_backward(
        grad, indices, num_weights, padding_idx, scale_grad_by_freq
    )


@kernel("EmbeddingBag")
def embedding_bag(
    weight: Tensor,
    indices: Tensor,
    offsets: Tensor | None,
    per_sample_weights: Tensor | None,
    mode: str,
    scale_grad_by_freq: bool,
    sparse: bool,
    include_last_offset: bool,
    padding_idx: int,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Without offsets every row of two-dimensional indices is a bag.

    The ATen kernel reads its operands as dense memory whatever their strides.
    """
    if offsets is None:
        rows, length = indices.shape
        offsets = torch.arange(0, rows * length, length, dtype=indices.dtype)
        indices = indices.reshape(-1)
        if per_sample_weights is not None:
            per_sample_weights = per_sample_weights.reshape(-1)
    return torch.ops.aten._embedding_bag.default(
        weight.contiguous(),
        indices.contiguous(),
        offsets.contiguous(),
        scale_grad_by_freq,
        _BAG_MODES[mode],
        sparse,
        None if per_sample_weights is None else per_sample_weights.contiguous(),
        include_last_offset,
        padding_idx,
    )
