"""Kernels of normalization and softmax."""

from __future__ import annotations

import torch
from torch import Tensor

from torchair.backend_ge.host.kernels.registry import ints, kernel
from torchair.errors import EngineError

aten = torch.ops.aten


@kernel("LayerNormV4")
def layer_norm_v4(
    x: Tensor,
    normalized_shape: Tensor,
    gamma: Tensor | None,
    beta: Tensor | None,
    epsilon: float = 1e-5,
) -> tuple[Tensor, Tensor, Tensor]:
    return torch.native_layer_norm(x, ints(normalized_shape), gamma, beta, epsilon)


@kernel("LayerNormGradV3")
def layer_norm_grad_v3(
    dy: Tensor, x: Tensor, rstd: Tensor, mean: Tensor, gamma: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    return aten.native_layer_norm_backward(
        dy, x, gamma.shape, mean, rstd, gamma, gamma, [True, True, True]
    )


@kernel("GroupNormV2")
def group_norm_v2(
    x: Tensor,
    gamma: Tensor,
    beta: Tensor,
    num_groups: int,
    data_format: str = "NHWC",
    eps: float = 1e-5,
) -> tuple[Tensor, Tensor, Tensor]:
    _require_channels_first("GroupNormV2", data_format)
    batch, channels = x.shape[:2]
    inner = x[0, 0].numel() if batch and channels else 0
    return torch.native_group_norm(x, gamma, beta, batch, channels, inner, num_groups, eps)


@kernel("GroupNormGrad")
def group_norm_grad(
    dy: Tensor,
    mean: Tensor,
    rstd: Tensor,
    x: Tensor,
    gamma: Tensor,
    num_groups: int,
    data_format: str = "NCHW",
    dx_is_require: bool = True,
    dgamma_is_require: bool = True,
    dbeta_is_require: bool = True,
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients that are not required are zero."""
    _require_channels_first("GroupNormGrad", data_format)
    if x.numel() == 0:
        return torch.zeros_like(x), torch.zeros_like(gamma), torch.zeros_like(gamma)
    batch, channels = x.shape[:2]
    inner = x[0, 0].numel()
    wanted = [dx_is_require, dgamma_is_require, dbeta_is_require]
    grads = aten.native_group_norm_backward(
        dy.contiguous(), x, mean, rstd, gamma, batch, channels, inner, num_groups, wanted
    )
    like = (x, gamma, gamma)
    dx, dgamma, dbeta = (
        grad if on else torch.zeros_like(source)
        for grad, on, source in zip(grads, wanted, like, strict=True)
    )
    return dx, dgamma, dbeta


def _require_channels_first(name: str, data_format: str) -> None:
    if data_format not in ("NCHW", "NCDHW"):
        raise EngineError(
            f"the host kernel of {name} does not implement this data_format",
            expected="NCHW or NCDHW",
            found=data_format,
        )


@kernel("RmsNorm")
def rms_norm(x: Tensor, gamma: Tensor, epsilon: float = 1e-6) -> tuple[Tensor, Tensor]:
    """Computed in float32 and rounded once, over the dimensions of gamma."""
    dims = list(range(x.dim() - gamma.dim(), x.dim()))
    wide = x.float()
    rstd = torch.rsqrt(wide.pow(2).mean(dims, keepdim=True) + epsilon)
    return (wide * rstd * gamma.float()).to(x.dtype), rstd


@kernel("RmsNormGrad")
def rms_norm_grad(dy: Tensor, x: Tensor, rstd: Tensor, gamma: Tensor) -> tuple[Tensor, Tensor]:
    """dgamma is float32."""
    inner = list(range(x.dim() - gamma.dim(), x.dim()))
    outer = list(range(x.dim() - gamma.dim()))
    grad, normal = dy.float(), x.float() * rstd
    weighted = grad * gamma.float()
    mean = (weighted * normal).mean(inner, keepdim=True)
    dx = ((weighted - normal * mean) * rstd).to(x.dtype)
    product = grad * normal
    return dx, product.sum(outer) if outer else product


@kernel("SoftmaxV2")
def softmax_v2(x: Tensor, axes: list[int] = [-1], half_to_float: bool = False) -> Tensor:  # noqa: B006
    wide = x.float() if half_to_float and x.dtype is torch.float16 else x
    return _over_axes(torch.softmax, wide, axes)


@kernel("LogSoftmaxV2")
def log_softmax_v2(logits: Tensor, axes: list[int] = [-1]) -> Tensor:  # noqa: B006
    return _over_axes(torch.log_softmax, logits, axes)


def _over_axes(function: object, x: Tensor, axes: list[int]) -> Tensor:
    """Apply a function of one dimension to several dimensions taken together."""
    if len(axes) == 1:
        return function(x, axes[0])  # pyright: ignore[reportCallIssue]
    places = sorted(a % x.dim() for a in axes)
    last = list(range(x.dim() - len(places), x.dim()))
    moved = x.movedim(places, last)
    flat = function(moved.flatten(last[0]), -1)  # pyright: ignore[reportCallIssue]
    return flat.reshape(moved.shape).movedim(last, places)


@kernel("SoftmaxGrad")
def softmax_grad(softmax: Tensor, grad_softmax: Tensor, axes: list[int] = [-1]) -> Tensor:  # noqa: B006
    if len(axes) == 1 and softmax.is_floating_point():
        return aten._softmax_backward_data(grad_softmax, softmax, axes[0], softmax.dtype)
    product = grad_softmax * softmax
    return product - softmax * product.sum(axes, keepdim=True).to(product.dtype)


@kernel("LogSoftmaxGrad")
def log_softmax_grad(grad: Tensor, x: Tensor, axis: list[int] = [-1]) -> Tensor:  # noqa: B006
    if len(axis) == 1:
        return aten._log_softmax_backward_data(grad, x, axis[0], x.dtype)
    return grad - x.exp() * grad.sum(axis, keepdim=True)
