"""Kernels of special functions: incomplete gamma, zeta, Bessel and normal quantiles."""

from __future__ import annotations

import torch
from torch import Tensor

from torchair.backend_ge.host.kernels.registry import kernel


@kernel("Igamma")
def igamma(a: Tensor, x: Tensor) -> Tensor:
    return torch.igamma(a, x)


@kernel("Igammac")
def igammac(a: Tensor, x: Tensor) -> Tensor:
    return torch.igammac(a, x)


@kernel("Zeta")
def zeta(x: Tensor, q: Tensor) -> Tensor:
    return torch.special.zeta(x, q)


@kernel("NextAfter")
def next_after(x1: Tensor, x2: Tensor) -> Tensor:
    return torch.nextafter(x1, x2)


@kernel("BesselI0e")
def bessel_i0e(x: Tensor) -> Tensor:
    return torch.special.i0e(x)


@kernel("BesselI1e")
def bessel_i1e(x: Tensor) -> Tensor:
    return torch.special.i1e(x)


@kernel("Ndtri")
def ndtri(x: Tensor) -> Tensor:
    return torch.special.ndtri(x)


@kernel("Gcd")
def gcd(x1: Tensor, x2: Tensor) -> Tensor:
    return torch.gcd(x1, x2)
