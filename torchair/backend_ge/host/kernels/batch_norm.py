"""Kernels of batch normalization. New running statistics are results; inputs are never written."""

from __future__ import annotations

import torch
from torch import Tensor

from torchair.backend_ge.host.kernels.registry import kernel

aten = torch.ops.aten


@kernel("BatchNormV3")
def batch_norm_v3(
    x: Tensor,
    weight: Tensor,
    bias: Tensor,
    running_mean: Tensor,
    running_var: Tensor,
    epsilon: float = 1e-5,
    momentum: float = 0.1,
    is_training: bool = True,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """y, running mean and variance, batch mean and reciprocal standard deviation.

    Parameters are float32, or of the type of x: then ATen keeps the statistics in it as well.
    """
    kind = x.dtype if weight.dtype == x.dtype else torch.float32
    statistics = running_mean.to(kind), running_var.to(kind)
    scale, offset = weight.to(kind), bias.to(kind)
    if not is_training:
        y = aten._native_batch_norm_legit_no_training(
            x, scale, offset, *statistics, momentum, epsilon
        )[0]
        return y, running_mean, running_var, running_mean, torch.rsqrt(running_var + epsilon)
    y, *rest = aten._native_batch_norm_legit_functional(
        x, scale, offset, *statistics, True, momentum, epsilon
    )
    mean, rstd, new_mean, new_var = (s.float() for s in rest)
    return y, new_mean, new_var, mean, rstd


@kernel("BNInfer")
def bn_infer(
    x: Tensor, scale: Tensor, offset: Tensor, mean: Tensor, variance: Tensor, epsilon: float
) -> Tensor:
    return aten._native_batch_norm_legit_no_training(
        x, scale, offset, mean, variance, 0.0, epsilon
    )[0]


@kernel("BatchNormGradV3")
def batch_norm_grad_v3(
    dy: Tensor,
    x: Tensor,
    weight: Tensor,
    running_mean: Tensor,
    running_var: Tensor,
    save_mean: Tensor,
    save_rstd: Tensor,
    is_training: bool = True,
    epsilon: float = 1e-5,
) -> tuple[Tensor, Tensor, Tensor]:
    kind = x.dtype if weight.dtype == x.dtype else torch.float32
    if x.shape[-1] == 1 and x.stride() != dy.stride():
        x, dy = x.contiguous(), dy.contiguous()  # ATen's kernel mistakes their order in memory
    dx, dweight, dbias = aten.native_batch_norm_backward(
        dy,
        x,
        weight.to(kind),
        running_mean.to(kind),
        running_var.to(kind),
        save_mean.to(kind),
        save_rstd.to(kind),
        is_training,
        epsilon,
        [True, True, True],
    )
    return dx, dweight.to(weight.dtype), dbias.to(weight.dtype)


@kernel("SyncBatchNormBackwardReduce")
def sync_batch_norm_backward_reduce(
    sum_dy: Tensor, sum_dy_dx_pad: Tensor, mean: Tensor, invert_std: Tensor
) -> tuple[Tensor, Tensor]:
    """Sum of the gradient times the centred input, and the gradient of the scale."""
    centred = sum_dy_dx_pad - sum_dy * mean
    return centred, centred * invert_std


@kernel("SyncBatchNormBackwardElemt")
def sync_batch_norm_backward_elemt(
    grad_output: Tensor,
    save_input: Tensor,
    mean: Tensor,
    invstd: Tensor,
    weight: Tensor,
    mean_dy: Tensor,
    mean_dy_xmu: Tensor,
) -> Tensor:
    centred = (save_input - mean) * invstd.square() * mean_dy_xmu
    return ((grad_output - mean_dy - centred) * invstd * weight).to(grad_output.dtype)
