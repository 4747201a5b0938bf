"""Kernels of RMS normalisation and its fusions, after the definitions of the GE operators.

Sums and products are in float32 and rounded once to the result type.
"""

from __future__ import annotations

import torch
from torch import Tensor

from torchair.backend_ge.host.kernels.registry import kernel


def _normalized_dims(x: Tensor, gamma: Tensor) -> list[int]:
    """The trailing dims that ``gamma`` covers."""
    return list(range(x.dim() - gamma.dim(), x.dim()))


@kernel("RmsNorm")
def rms_norm(x: Tensor, gamma: Tensor, epsilon: float = 1e-6) -> tuple[Tensor, Tensor]:
    """``y = x * rstd * gamma`` with ``rstd = 1 / sqrt(mean(x * x) + epsilon)`` in float32."""
    wide = x.float()
    variance = wide.pow(2).mean(_normalized_dims(x, gamma), keepdim=True)
    rstd = torch.rsqrt(variance + epsilon)
    return (gamma.float() * (wide * rstd)).to(x.dtype), rstd


@kernel("RmsNormGrad")
def rms_norm_grad(dy: Tensor, x: Tensor, rstd: Tensor, gamma: Tensor) -> tuple[Tensor, Tensor]:
    """``dx`` in the type of ``x``; ``dgamma`` is float32."""
    dims = _normalized_dims(x, gamma)
    wide, grad = x.float(), dy.float()
    normalized = wide * rstd
    scaled = grad * gamma.float()
    mean = (scaled * normalized).mean(dims, keepdim=True)
    dx = (scaled - normalized * mean) * rstd
    outer = list(range(x.dim() - gamma.dim()))
    products = grad * normalized
    dgamma = products.sum(outer) if outer else products
    return dx.to(x.dtype), dgamma


@kernel("AddRmsNorm")
def add_rms_norm(
    x1: Tensor, x2: Tensor, gamma: Tensor, epsilon: float = 1e-6
) -> tuple[Tensor, Tensor, Tensor]:
    """RmsNorm of ``x = x1 + x2``; returns y, rstd, x."""
    x = x1 + x2
    y, rstd = rms_norm(x, gamma, epsilon)
    return y, rstd, x


@kernel("AddRmsNormCast")
def add_rms_norm_cast(
    x1: Tensor, x2: Tensor, gamma: Tensor, epsilon: float = 1e-6
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """AddRmsNorm with y twice, in float32 before it is rounded; returns y1, y2, rstd, x."""
    x = x1 + x2
    wide, rstd = rms_norm(x.float(), gamma, epsilon)
    return wide, wide.to(x.dtype), rstd, x


@kernel("GemmaRmsNorm")
def gemma_rms_norm(x: Tensor, gamma: Tensor, epsilon: float = 1e-6) -> tuple[Tensor, Tensor]:
    """RmsNorm with ``1 + gamma`` in the place of gamma."""
    y, rstd = rms_norm(x.float(), gamma.float() + 1, epsilon)
    return y.to(x.dtype), rstd


def _centered(x: Tensor, gamma: Tensor, epsilon: float) -> tuple[Tensor, Tensor, Tensor]:
    """Centred x, mean and reciprocal deviation over the dims of gamma, in float32."""
    dims = _normalized_dims(x, gamma)
    mean = x.mean(dims, keepdim=True)
    centered = x - mean
    rstd = torch.rsqrt(centered.pow(2).mean(dims, keepdim=True) + epsilon)
    return centered, mean, rstd


@kernel("AddLayerNorm")
def add_layer_norm(
    x1: Tensor,
    x2: Tensor,
    gamma: Tensor,
    beta: Tensor,
    bias: Tensor | None = None,
    epsilon: float = 1e-5,
    additional_output: bool = False,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Layer normalisation of ``x = x1 + x2 + bias``; returns y, mean, rstd, x. Without
    ``additional_output`` the device does not write x."""
    x = x1.float() + x2.float()
    if bias is not None:
        x = x + bias.float()
    centered, mean, rstd = _centered(x, gamma, epsilon)
    y = centered * rstd * gamma.float() + beta.float()
    return y.to(x1.dtype), mean, rstd, x.to(x1.dtype)


def _layer_norm_grad(
    dy: Tensor, x: Tensor, mean: Tensor, rstd: Tensor, gamma: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """dx, dgamma and dbeta in float32."""
    dims = _normalized_dims(x, gamma)
    normalized = (x - mean) * rstd
    scaled = dy * gamma.float()
    share = scaled.mean(dims, keepdim=True)
    turned = normalized * (scaled * normalized).mean(dims, keepdim=True)
    outer = list(range(x.dim() - gamma.dim()))
    dgamma, dbeta = dy * normalized, dy
    if outer:
        dgamma, dbeta = dgamma.sum(outer), dbeta.sum(outer)
    return (scaled - share - turned) * rstd, dgamma, dbeta


@kernel("AddLayerNormGrad")
def add_layer_norm_grad(
    dy: Tensor,
    x1: Tensor,
    x2: Tensor,
    rstd: Tensor,
    mean: Tensor,
    gamma: Tensor,
    dsum: Tensor | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    """dx (of both addends), dgamma and dbeta in float32; ``dsum`` is the gradient of x."""
    x = x1.float() + x2.float()
    dx, dgamma, dbeta = _layer_norm_grad(dy.float(), x, mean, rstd, gamma)
    if dsum is not None:
        dx = dx + dsum.float()
    return dx.to(x1.dtype), dgamma, dbeta


@kernel("DeepNorm")
def deep_norm(
    x: Tensor,
    gx: Tensor,
    beta: Tensor,
    gamma: Tensor,
    alpha: float = 0.3,
    epsilon: float = 1e-6,
) -> tuple[Tensor, Tensor, Tensor]:
    """Layer normalisation of ``alpha * x + gx``; returns mean, rstd, y."""
    total = alpha * x.float() + gx.float()
    centered, mean, rstd = _centered(total, gamma, epsilon)
    return mean, rstd, (centered * rstd * gamma.float() + beta.float()).to(x.dtype)


@kernel("DeepNormGrad")
def deep_norm_grad(
    dy: Tensor,
    x: Tensor,
    gx: Tensor,
    gamma: Tensor,
    mean: Tensor,
    rstd: Tensor,
    alpha: float = 0.3,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """dx, dgx and, in float32, dbeta and dgamma."""
    total = alpha * x.float() + gx.float()
    dgx, dgamma, dbeta = _layer_norm_grad(dy.float(), total, mean, rstd, gamma)
    return (alpha * dgx).to(x.dtype), dgx.to(x.dtype), dbeta, dgamma


@kernel("GroupNormSilu")
def group_norm_silu(
    x: Tensor,
    gamma: Tensor | None = None,
    beta: Tensor | None = None,
    num_groups: int = 1,
    eps: float = 1e-4,
) -> tuple[Tensor, Tensor, Tensor]:
    """``silu`` of the group normalisation of ``x[N, C, ...]``; returns y and, per sample and group,
    the mean and the reciprocal deviation."""
    y, mean, rstd = _group_norm(x, gamma, beta, num_groups, eps)
    dtype = x.dtype if gamma is None else gamma.dtype
    return torch.nn.functional.silu(y).to(x.dtype), mean.to(dtype), rstd.to(dtype)


def _group_norm(
    x: Tensor, gamma: Tensor | None, beta: Tensor | None, groups: int, eps: float
) -> tuple[Tensor, Tensor, Tensor]:
    """y, mean and rstd in float32."""
    parts = x.float().unflatten(1, (groups, x.size(1) // groups)).flatten(2)
    mean = parts.mean(-1, keepdim=True)
    centered = parts - mean
    rstd = torch.rsqrt(centered.pow(2).mean(-1, keepdim=True) + eps)
    y = (centered * rstd).reshape(x.shape)
    sizes = [1, -1, *[1] * (x.dim() - 2)]
    if gamma is not None:
        y = y * gamma.float().reshape(sizes)
    if beta is not None:
        y = y + beta.float().reshape(sizes)
    return y, mean.squeeze(-1), rstd.squeeze(-1)


@kernel("GroupNormSwish")
def group_norm_swish(
    x: Tensor,
    gamma: Tensor,
    beta: Tensor,
    num_groups: int = 1,
    data_format: str = "NCHW",
    eps: float = 1e-5,
    activate_swish: bool = True,
    swish_scale: float = 1.0,
) -> tuple[Tensor, Tensor, Tensor]:
    """``y * sigmoid(swish_scale * y)`` of the group normalisation y; returns it, mean and rstd."""
    y, mean, rstd = _group_norm(x, gamma, beta, num_groups, eps)
    if activate_swish:
        y = y * torch.sigmoid(swish_scale * y)
    return y.to(x.dtype), mean.to(gamma.dtype), rstd.to(gamma.dtype)


@kernel("GroupNormSwishGrad")
def group_norm_swish_grad(
    dy: Tensor,
    mean: Tensor,
    rstd: Tensor,
    x: Tensor,
    gamma: Tensor,
    beta: Tensor,
    num_groups: int = 1,
    data_format: str = "NCHW",
    swish_scale: float = 1.0,
    dgamma_is_require: bool = True,
    dbeta_is_require: bool = True,
) -> tuple[Tensor, Tensor, Tensor]:
    """dx, dgamma and dbeta; those not required are zero."""
    sizes = [1, -1, *[1] * (x.dim() - 2)]
    spread = [x.size(0), num_groups, 1]
    parts = x.float().unflatten(1, (num_groups, x.size(1) // num_groups)).flatten(2)
    normalized = (parts - mean.float().reshape(spread)) * rstd.float().reshape(spread)
    flat = normalized.reshape(x.shape)
    y = flat * gamma.float().reshape(sizes) + beta.float().reshape(sizes)
    gate = torch.sigmoid(swish_scale * y)
    dgn = dy.float() * (gate + swish_scale * y * gate * (1 - gate))
    scaled = (dgn * gamma.float().reshape(sizes)).reshape(parts.shape)
    share = scaled.mean(-1, keepdim=True)
    turned = normalized * (scaled * normalized).mean(-1, keepdim=True)
    dx = ((scaled - share - turned) * rstd.float().reshape(spread)).reshape(x.shape)
    dims = [0, *range(2, x.dim())]
    zero = torch.zeros_like(gamma)
    dgamma = (dgn * flat).sum(dims).to(gamma.dtype) if dgamma_is_require else zero
    dbeta = dgn.sum(dims).to(gamma.dtype) if dbeta_is_require else zero
    return dx.to(x.dtype), dgamma, dbeta


@kernel("BNTrainingReduce")
def bn_training_reduce(x: Tensor) -> tuple[Tensor, Tensor]:
    """Per channel of ``x[N, C, ...]`` the sum and the sum of squares in float32."""
    wide = x.float()
    dims = [0, *range(2, x.dim())]
    return wide.sum(dims), wide.pow(2).sum(dims)


@kernel("SyncBatchNormGatherStats")
def sync_batch_norm_gather_stats(
    total_sum: Tensor,
    total_square_sum: Tensor,
    sample_count: Tensor,
    mean: Tensor,
    variance: Tensor,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Statistics over all devices from their sums.

    Args:
        total_sum: ``[devices, C]``, as ``total_square_sum``; ``sample_count`` is ``[devices]``.
        mean: running statistics ``[C]``, as ``variance``.

    Returns:
        Mean and reciprocal deviation of the batch, then the running mean and (unbiased) variance.
    """
    count = sample_count.float().sum()
    batch_mean = total_sum.float().sum(0) / count
    batch_variance = total_square_sum.float().sum(0) / count - batch_mean.pow(2)
    invstd = torch.rsqrt(batch_variance + eps)
    unbiased = batch_variance * (count / (count - 1))
    new_mean = mean.float() * (1 - momentum) + momentum * batch_mean
    new_variance = variance.float() * (1 - momentum) + momentum * unbiased
    results = (batch_mean, invstd, new_mean, new_variance)
    kinds = (total_sum, total_sum, mean, variance)
    return tuple(r.to(k.dtype) for r, k in zip(results, kinds, strict=True))  # pyright: ignore[reportReturnType]
