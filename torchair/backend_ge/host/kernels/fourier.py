"""Kernels of Fourier transforms over the last dimensions; inverse ones divide by the length."""

from __future__ import annotations

import torch
from torch import Tensor

from torchair.backend_ge.host.kernels.registry import ints, kernel


@kernel("FFT")
def fft(x: Tensor) -> Tensor:
    return torch.fft.fft(x)


@kernel("IFFT")
def ifft(x: Tensor) -> Tensor:
    return torch.fft.ifft(x)


@kernel("FFT2D")
def fft2d(x: Tensor) -> Tensor:
    return torch.fft.fft2(x)


@kernel("IFFT2D")
def ifft2d(x: Tensor) -> Tensor:
    return torch.fft.ifft2(x)


@kernel("RFFT")
def rfft(input: Tensor, fft_length: Tensor) -> Tensor:
    """The non-negative frequencies of the input, cut or padded with zeros to ``fft_length``."""
    return torch.fft.rfft(input, ints(fft_length)[0])


@kernel("IRFFT")
def irfft(x: Tensor, fft_length: Tensor) -> Tensor:
    """The inverse of RFFT: ``fft_length`` real numbers from the non-negative frequencies."""
    return torch.fft.irfft(x, ints(fft_length)[0])
