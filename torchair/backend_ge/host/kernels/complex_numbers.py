"""Kernels of complex numbers."""

from __future__ import annotations

import torch
from torch import Tensor

from torchair.backend_ge.host.kernels.registry import kernel


@kernel("Complex")
def complex_(real: Tensor, imag: Tensor, Tout: torch.dtype) -> Tensor:
    return torch.complex(real, imag).to(Tout)


@kernel("ComplexAbs")
def complex_abs(x: Tensor, Tout: torch.dtype) -> Tensor:
    return torch.abs(x).to(Tout)


@kernel("Real")
def real(input: Tensor, Tout: torch.dtype) -> Tensor:
    return torch.real(input).to(Tout)


@kernel("Imag")
def imag(input: Tensor, Tout: torch.dtype) -> Tensor:
    return torch.imag(input).to(Tout)


@kernel("Angle")
def angle(input: Tensor, Tout: torch.dtype) -> Tensor:
    return torch.angle(input).to(Tout)


@kernel("Conj")
def conj(input: Tensor) -> Tensor:
    return torch.conj_physical(input)
