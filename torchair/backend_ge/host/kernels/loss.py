"""Kernels of loss functions and their gradients."""

from __future__ import annotations

import torch
from torch import Tensor

from torchair.backend_ge.host.kernels.registry import kernel

aten = torch.ops.aten

_REDUCTIONS = ("none", "mean", "sum")


@kernel("MseLoss")
def mse_loss(predict: Tensor, label: Tensor, reduction: str = "mean") -> Tensor:
    return aten.mse_loss(predict, label, _REDUCTIONS.index(reduction))


@kernel("MseLossGrad")
def mse_loss_grad(predict: Tensor, label: Tensor, dout: Tensor, reduction: str = "mean") -> Tensor:
    return aten.mse_loss_backward(dout, predict, label, _REDUCTIONS.index(reduction))


@kernel("SmoothL1LossV2")
def smooth_l1_loss_v2(
    predict: Tensor, label: Tensor, sigma: float = 1.0, reduction: str = "mean"
) -> Tensor:
    """Quadratic where the difference is below sigma, linear elsewhere."""
    return aten.smooth_l1_loss(predict, label, _REDUCTIONS.index(reduction), sigma)


@kernel("SmoothL1LossGradV2")
def smooth_l1_loss_grad_v2(
    predict: Tensor, label: Tensor, dout: Tensor, sigma: float = 1.0, reduction: str = "mean"
) -> Tensor:
    return aten.smooth_l1_loss_backward(dout, predict, label, _REDUCTIONS.index(reduction), sigma)


@kernel("BinaryCrossEntropy")
def binary_cross_entropy(
    x: Tensor, y: Tensor, weight: Tensor | None, reduction: str = "mean"
) -> Tensor:
    return aten.binary_cross_entropy(x, y, weight, _REDUCTIONS.index(reduction))


@kernel("BinaryCrossEntropyGrad")
def binary_cross_entropy_grad(
    x: Tensor, y: Tensor, grad_output: Tensor, weight: Tensor | None, reduction: str = "mean"
) -> Tensor:
    return aten.binary_cross_entropy_backward(
        grad_output, x, y, weight, _REDUCTIONS.index(reduction)
    )


@kernel("SigmoidCrossEntropyWithLogitsV2")
def sigmoid_cross_entropy_with_logits_v2(
    predict: Tensor,
    target: Tensor,
    weight: Tensor | None,
    pos_weight: Tensor | None,
    reduction: str = "mean",
) -> Tensor:
    return aten.binary_cross_entropy_with_logits(
        predict, target, weight, pos_weight, _REDUCTIONS.index(reduction)
    )


@kernel("NLLLoss")
def nll_loss(
    x: Tensor,
    target: Tensor,
    weight: Tensor | None,
    reduction: str = "mean",
    ignore_index: int = -100,
) -> tuple[Tensor, Tensor]:
    """The loss and the sum of the weights of the targets that are not ignored."""
    return aten.nll_loss_forward(
        x, target.long(), weight, _REDUCTIONS.index(reduction), ignore_index
    )


@kernel("NLLLossGrad")
def nll_loss_grad(
    x: Tensor,
    y_grad: Tensor,
    target: Tensor,
    weight: Tensor,
    total_weight: Tensor,
    reduction: str = "mean",
    ignore_index: int = -100,
) -> Tensor:
    return aten.nll_loss_backward(
        y_grad,
        x,
        target.long(),
        weight,
        _REDUCTIONS.index(reduction),
        ignore_index,
        total_weight,
    )
