"""RMS normalisation, alone and with what surrounds it in transformer blocks."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from torchair.backend_ge.host.kernels import npu_normalization as kernels
from torchair.frontend.npu_operators.registry import gradient, implements


@implements("npu_rms_norm")
def npu_rms_norm(input: Tensor, gamma: Tensor, epsilon: float = 1e-6) -> tuple[Tensor, Tensor]:
    return kernels.rms_norm(input, gamma, epsilon)


@implements("npu_rms_norm_backward")
def npu_rms_norm_backward(
    dy: Tensor, input: Tensor, gamma: Tensor, rstd: Tensor
) -> tuple[Tensor, Tensor]:
    return kernels.rms_norm_grad(dy, input, rstd, gamma)


def _save_rms_norm(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    ctx.save_for_backward(inputs[0], inputs[1], output[1])


@gradient("npu_rms_norm", save=_save_rms_norm)
def rms_norm_gradient(ctx: Any, dy: Tensor, _: Tensor) -> tuple[Tensor, Tensor, None]:
    input, gamma, rstd = ctx.saved_tensors
    return *torch.ops.npu.npu_rms_norm_backward(dy, input, gamma, rstd), None


@implements("npu_add_rms_norm")
def npu_add_rms_norm(
    x1: Tensor, x2: Tensor, gamma: Tensor, epsilon: float = 1e-6
) -> tuple[Tensor, Tensor, Tensor]:
    return kernels.add_rms_norm(x1, x2, gamma, epsilon)


@implements("npu_add_rms_norm_v2_functional")
def npu_add_rms_norm_v2_functional(
    x1: Tensor, x2: Tensor, gamma: Tensor, epsilon: float = 1e-6
) -> tuple[Tensor, Tensor, Tensor]:
    """Returns rstd, then what the in-place operator writes: y to x1, the sum to x2."""
    y, rstd, x = kernels.add_rms_norm(x1, x2, gamma, epsilon)
    return rstd, y, x


@implements("npu_add_rms_norm_v2")
def npu_add_rms_norm_v2(x1: Tensor, x2: Tensor, gamma: Tensor, epsilon: float = 1e-6) -> Tensor:
    y, rstd, x = kernels.add_rms_norm(x1, x2, gamma, epsilon)
    x1.copy_(y)
    x2.copy_(x)
    return rstd


@implements("npu_add_rms_norm_cast")
def npu_add_rms_norm_cast(
    x1: Tensor, x2: Tensor, gamma: Tensor, epsilon: float = 1e-6
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    return kernels.add_rms_norm_cast(x1, x2, gamma, epsilon)


@implements("npu_gemma_rms_norm")
def npu_gemma_rms_norm(
    input: Tensor, gamma: Tensor, epsilon: float = 1e-6
) -> tuple[Tensor, Tensor]:
    return kernels.gemma_rms_norm(input, gamma, epsilon)


@implements("npu_layer_norm_eval")
def npu_layer_norm_eval(
    input: Tensor,
    normalized_shape: list[int],
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
) -> Tensor:
    return torch.native_layer_norm(input, normalized_shape, weight, bias, eps)[0]


@implements("npu_add_layer_norm")
def npu_add_layer_norm(
    x1: Tensor,
    x2: Tensor,
    gamma: Tensor,
    beta: Tensor,
    epsilon: float = 1e-5,
    additional_output: bool = False,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    return kernels.add_layer_norm(x1, x2, gamma, beta, None, epsilon, additional_output)


@implements("npu_add_layer_norm_backward")
def npu_add_layer_norm_backward(
    dy_opt: Tensor | None,
    x1: Tensor,
    x2: Tensor,
    rstd: Tensor,
    mean: Tensor,
    gamma: Tensor,
    dsum_opt: Tensor | None,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    dy = torch.zeros_like(x1) if dy_opt is None else dy_opt
    dx, dgamma, dbeta = kernels.add_layer_norm_grad(dy, x1, x2, rstd, mean, gamma, dsum_opt)
    return dx, dx.clone(), dgamma, dbeta


def _save_add_layer_norm(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
    ctx.set_materialize_grads(False)
    ctx.save_for_backward(*inputs[:3], output[1], output[2])


@gradient("npu_add_layer_norm", save=_save_add_layer_norm)
def add_layer_norm_gradient(
    ctx: Any, dy: Tensor | None, _: Any, __: Any, dsum: Tensor | None
) -> tuple[Tensor | None, ...]:
    x1, x2, gamma, mean, rstd = ctx.saved_tensors
    backward = torch.ops.npu.npu_add_layer_norm_backward
    return *backward(dy, x1, x2, rstd, mean, gamma, dsum), None, None


@implements("npu_deep_norm")
def npu_deep_norm(
    x: Tensor,
    gx: Tensor,
    beta: Tensor,
    gamma: Tensor,
    alpha: float = 0.3,
    epsilon: float = 1e-6,
) -> tuple[Tensor, Tensor, Tensor]:
    return kernels.deep_norm(x, gx, beta, gamma, alpha, epsilon)


@implements("npu_deep_norm_backward")
def npu_deep_norm_backward(
    dy: Tensor,
    x: Tensor,
    gx: Tensor,
    gamma: Tensor,
    mean: Tensor,
    rstd: Tensor,
    alpha: float = 0.3,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    dx, dgx, dbeta, dgamma = kernels.deep_norm_grad(dy, x, gx, gamma, mean, rstd, alpha)
    return dx, dgx, dbeta.to(gamma.dtype), dgamma.to(gamma.dtype)


def _save_deep_norm(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
    ctx.save_for_backward(inputs[0], inputs[1], inputs[3], output[0], output[1])
    ctx.alpha = inputs[4]


@gradient("npu_deep_norm", save=_save_deep_norm)
def deep_norm_gradient(ctx: Any, _: Any, __: Any, dy: Tensor) -> tuple[Tensor | None, ...]:
    backward = torch.ops.npu.npu_deep_norm_backward
    return *backward(dy, *ctx.saved_tensors, ctx.alpha), None, None


@implements("npu_group_norm_silu")
def npu_group_norm_silu(
    input: Tensor, weight: Tensor | None, bias: Tensor | None, group: int, eps: float = 1e-5
) -> tuple[Tensor, Tensor, Tensor]:
    return kernels.group_norm_silu(input, weight, bias, group, eps)


@implements("npu_group_norm_swish")
def npu_group_norm_swish(
    input: Tensor,
    num_groups: int,
    weight: Tensor,
    bias: Tensor,
    eps: float | None = 1e-5,
    swish_scale: float | None = 1.0,
) -> tuple[Tensor, Tensor, Tensor]:
    scale = 1.0 if swish_scale is None else swish_scale
    epsilon = 1e-5 if eps is None else eps
    return kernels.group_norm_swish(input, weight, bias, num_groups, eps=epsilon, swish_scale=scale)


@implements("npu_group_norm_swish_grad")
def npu_group_norm_swish_grad(
    grad: Tensor,
    input: Tensor,
    num_groups: int,
    weight: Tensor,
    bias: Tensor,
    mean: Tensor,
    rstd: Tensor,
    grad_input_mask: list[bool],
    swish_scale: float | None = 1.0,
) -> tuple[Tensor, Tensor, Tensor]:
    scale = 1.0 if swish_scale is None else swish_scale
    return kernels.group_norm_swish_grad(
        grad,
        mean,
        rstd,
        input,
        weight,
        bias,
        num_groups,
        swish_scale=scale,
        dgamma_is_require=grad_input_mask[1],
        dbeta_is_require=grad_input_mask[2],
    )


def _save_swish(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
    input, groups, weight, bias = inputs[:4]
    ctx.save_for_backward(input, weight, bias, output[1], output[2])
    ctx.groups, ctx.scale = groups, inputs[5]


@gradient("npu_group_norm_swish", save=_save_swish)
def group_norm_swish_gradient(ctx: Any, dy: Tensor, _: Any, __: Any) -> tuple[Any, ...]:
    input, weight, bias, mean, rstd = ctx.saved_tensors
    backward = torch.ops.npu.npu_group_norm_swish_grad
    dx, dgamma, dbeta = backward(
        dy, input, ctx.groups, weight, bias, mean, rstd, [True] * 3, ctx.scale
    )
    return dx, None, dgamma, dbeta, None, None


@implements("batch_norm_reduce")
def batch_norm_reduce(input: Tensor, eps: float) -> tuple[Tensor, Tensor]:
    return kernels.bn_training_reduce(input)


@implements("batch_norm_gather_stats_update")
def batch_norm_gather_stats_update(
    input: Tensor,
    mean: Tensor,
    invstd: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    momentum: float,
    eps: float,
    counts: Tensor,
) -> tuple[Tensor, Tensor]:
    """Mean and reciprocal deviation over all devices from their sums (``mean``), sums of squares
    (``invstd``) and counts; as the schema says, the running statistics are not written."""
    stand_in = torch.zeros(input.size(1), dtype=mean.dtype, device=mean.device)
    found = kernels.sync_batch_norm_gather_stats(
        mean,
        invstd,
        counts.int(),
        stand_in if running_mean is None else running_mean,
        stand_in if running_var is None else running_var,
        momentum,
        eps,
    )
    return found[0], found[1]
