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
