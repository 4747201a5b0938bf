"""Factors of quantised products, as GE's operators read them."""

from __future__ import annotations

import torch
from torch import Tensor

_FACTOR_BITS = 0xFFFFE000
"""What TransQuantParam keeps of a float32 factor: sign, exponent and 10 bits of the mantissa."""
_OFFSET_PLACE, _OFFSET_BITS = 37, 9


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


def dequant_offset(scale: Tensor) -> Tensor | None:
    """The offset that 64-bit integers hold next to the factor; None of float factors."""
    if scale.dtype not in (torch.int64, torch.uint64):
        return None
    number = (scale.view(torch.int64) >> _OFFSET_PLACE) & ((1 << _OFFSET_BITS) - 1)
    half = 1 << (_OFFSET_BITS - 1)
    return torch.where(number >= half, number - 2 * half, number).float()
