"""Kernels of elementwise arithmetic and mathematical functions."""

from __future__ import annotations

import torch
from torch import Tensor

from torchair.backend_ge.host.kernels.registry import kernel


@kernel("Add")
def add(x1: Tensor, x2: Tensor) -> Tensor:
    return x1 + x2


@kernel("AxpyV2")
def axpy_v2(x1: Tensor, x2: Tensor, alpha: Tensor) -> Tensor:
    return x1 + alpha * x2


@kernel("Mul")
def mul(x1: Tensor, x2: Tensor) -> Tensor:
    return x1 * x2


@kernel("Neg")
def neg(x: Tensor) -> Tensor:
    return -x


@kernel("Rsqrt")
def rsqrt(x: Tensor) -> Tensor:
    return torch.rsqrt(x)
