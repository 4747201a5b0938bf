"""Quantised numbers and their factors, as GE's operators read and write them."""

from __future__ import annotations

import torch
from torch import Tensor

_FACTOR_BITS = 0xFFFFE000
"""What TransQuantParam keeps of a float32 factor: sign, exponent and 10 bits of the mantissa."""


def dequant_factor(scale: Tensor) -> Tensor:
    """A dequantisation factor in float32.

    Args:
        scale: float, or 64-bit integers whose low half holds a float32 (``TransQuantParamV2``).
    """
    if scale.dtype not in (torch.int64, torch.uint64):
        return scale.float()
    low = scale.view(torch.int64) & _FACTOR_BITS
    signed = torch.where(low >= 1 << 31, low - (1 << 32), low)
    return signed.to(torch.int32).view(torch.float32)


def quantized(values: Tensor, dtype: torch.dtype) -> Tensor:
    """Rounded half to even and clamped to the range of an integer type."""
    limits = torch.iinfo(dtype)
    return values.round().clamp(limits.min, limits.max).to(dtype)
