"""What PyTorch code sees of narrow element types, and arguments that only NPUs implement."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from torchair.backend_ge.host.narrow_types import (
    FLOAT8_E8M0,
    HIFLOAT8,
    INT4,
    folded,
    is_four_bit,
)
from torchair.errors import ConversionError


def visible(y: Tensor) -> Tensor:
    """A result in a type that PyTorch has: 8 int4 in an int32, 2 float4 in a uint8, the bits of
    other types in a uint8. The last dimension shrinks accordingly."""
    if y.dtype is INT4:
        return folded(y, torch.int32)
    if is_four_bit(y.dtype):
        return folded(y, torch.uint8)
    return y.view(torch.uint8) if y.dtype in (FLOAT8_E8M0, HIFLOAT8) else y


def require_default(operator: str, **given: tuple[Any, Any]) -> None:
    """Refuse arguments that the host device does not implement.

    Args:
        operator: its name, for the message.
        given: per argument its value and its default.

    Raises:
        ConversionError: an argument differs from its default.
    """
    for name, (value, default) in given.items():
        if value != default:
            raise ConversionError(
                f"{operator}: only the default of '{name}' runs on the host device",
                expected=default,
                found=value,
                hint=f"leave {name} out, or run on an NPU",
            )
