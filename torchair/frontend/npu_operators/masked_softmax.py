"""Softmax of scaled scores of which a mask hides some, and its gradient."""

from __future__ import annotations

from torch import Tensor

from torchair.backend_ge.host.kernels import npu_masked_softmax as kernels
from torchair.frontend.npu_operators.registry import implements


@implements("npu_scaled_masked_softmax")
def npu_scaled_masked_softmax(
    x: Tensor, mask: Tensor, scale: float = 1.0, fixed_triu_mask: bool = False
) -> Tensor:
    return kernels.scaled_masked_softmax(
        x, mask, scale=float(scale), fixed_triu_mask=fixed_triu_mask
    )


@implements("npu_scaled_masked_softmax_backward")
def npu_scaled_masked_softmax_backward(
    y_grad: Tensor, y: Tensor, mask: Tensor, scale: float, fixed_triu_mask: bool
) -> Tensor:
    return kernels.scaled_masked_softmax_grad(
        y_grad, y, mask, scale=float(scale), fixed_triu_mask=fixed_triu_mask
    )
