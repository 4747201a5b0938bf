"""Kernels of gated and approximate activation functions, after the GE operators' definitions.

Everything is computed in float32 and rounded once to the result type.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from torchair.backend_ge.host.kernels.registry import kernel
from torchair.errors import EngineError

aten = torch.ops.aten
_FAST_GELU_SLOPE = 1.702
_GELU_OF_NUMBER = ("none", "tanh")
"""``GeGluV2.approximate`` as a number."""


def halves(x: Tensor, dim: int) -> tuple[Tensor, Tensor]:
    """The two halves of a dimension of even size.

    Raises:
        EngineError: the size is odd.
    """
    if x.size(dim) % 2:
        raise EngineError(
            f"dimension {dim} of {tuple(x.shape)} cannot be halved",
            expected="an even size",
            found=x.size(dim),
        )
    half = x.size(dim) // 2
    return x.narrow(dim, 0, half), x.narrow(dim, half, half)


@kernel("SwiGlu")
def swiglu(x: Tensor, dim: int = -1) -> Tensor:
    """``silu(a) * b`` of the halves ``a, b`` of ``x``."""
    a, b = halves(x.float(), dim)
    return (functional.silu(a) * b).to(x.dtype)


@kernel("SwiGluGrad")
def swiglu_grad(y_grad: Tensor, x: Tensor, dim: int = -1) -> Tensor:
    a, b = halves(x.float(), dim)
    grad = y_grad.float()
    da = aten.silu_backward(grad * b, a)
    return torch.cat((da, grad * functional.silu(a)), dim).to(x.dtype)


@kernel("ClippedSwiglu")
def clipped_swiglu(
    x: Tensor,
    group_index: Tensor | None = None,
    dim: int = -1,
    alpha: float = 1.702,
    limit: float = 7.0,
    bias: float = 1.0,
    interleaved: bool = True,
) -> Tensor:
    """``a * sigmoid(alpha * a) * (b + bias)`` with ``a <= limit`` and ``|b| <= limit``.

    Args:
        x: everything from ``dim`` on is cut as one row: into its even and odd elements when
            interleaved, into halves otherwise.
        group_index: number of rows per group; rows beyond their sum are zero here, undefined on the
            device.
    """
    dim %= x.dim()
    rows = x.float().flatten(dim)
    a, b = (rows[..., ::2], rows[..., 1::2]) if interleaved else halves(rows, -1)
    y = clipped_gate(a, b, alpha, limit, bias)
    sizes = list(x.shape)
    sizes[dim] //= 2
    y = y.reshape(sizes)
    return keep_rows(y, group_index, dim).to(x.dtype)


def clipped_gate(a: Tensor, b: Tensor, alpha: float, limit: float, bias: float) -> Tensor:
    """The gate of ClippedSwiglu on separated halves in float32."""
    a, b = a.clamp(max=limit), b.clamp(-limit, limit)
    return a * torch.sigmoid(alpha * a) * (b + bias)


def keep_rows(y: Tensor, group_index: Tensor | None, dim: int) -> Tensor:
    """``y`` with zeros in the rows (all dimensions before ``dim``) that belong to no group."""
    if group_index is None or dim == 0:
        return y
    lead = list(y.shape[:dim])
    row = torch.arange(y.flatten(0, dim - 1).size(0), device=y.device).reshape(lead)
    live = row < group_index.sum()
    return torch.where(live.reshape(lead + [1] * (y.dim() - dim)), y, 0.0)


@kernel("GeGluV2")
def geglu(
    x: Tensor, dim: int = -1, approximate: int = 1, activate_left: bool = False
) -> tuple[Tensor, Tensor]:
    """Returns ``other * gelu(active)`` and ``gelu(active)`` of the halves of ``x``."""
    left, right = halves(x.float(), dim)
    active, other = (left, right) if activate_left else (right, left)
    gelu = functional.gelu(active, approximate=_GELU_OF_NUMBER[approximate])
    return (other * gelu).to(x.dtype), gelu.to(x.dtype)


@kernel("GeGluGradV2")
def geglu_grad(
    dy: Tensor,
    x: Tensor,
    gelu: Tensor,
    dim: int = -1,
    approximate: int = 1,
    activate_left: bool = False,
) -> Tensor:
    left, right = halves(x.float(), dim)
    active, other = (left, right) if activate_left else (right, left)
    grad = dy.float()
    d_active = aten.gelu_backward(grad * other, active, approximate=_GELU_OF_NUMBER[approximate])
    d_other = grad * gelu.float()
    parts = (d_active, d_other) if activate_left else (d_other, d_active)
    return torch.cat(parts, dim).to(x.dtype)


@kernel("GeluMul")
def gelu_mul(x: Tensor, approximate: str = "none") -> Tensor:
    """``gelu(a) * b`` of the halves of the last dimension."""
    a, b = halves(x.float(), -1)
    return (functional.gelu(a, approximate=approximate) * b).to(x.dtype)


@kernel("FastGelu", "FastGeluV2")
def fast_gelu(x: Tensor) -> Tensor:
    """``x * sigmoid(1.702 x)``."""
    wide = x.float()
    return (wide * torch.sigmoid(_FAST_GELU_SLOPE * wide)).to(x.dtype)


@kernel("FastGeluGrad")
def fast_gelu_grad(dy: Tensor, x: Tensor) -> Tensor:
    wide = x.float()
    gate = torch.sigmoid(_FAST_GELU_SLOPE * wide)
    slope = gate * (1 + _FAST_GELU_SLOPE * wide * (1 - gate))
    return (dy.float() * slope).to(x.dtype)
