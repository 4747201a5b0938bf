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
    host_dtype,
    is_four_bit,
)
from torchair.dialects.ge.npu_types import type_name
from torchair.errors import ConversionError


def visible(y: Tensor) -> Tensor:
    """A result in a type that PyTorch has: 8 int4 in an int32, 2 float4 in a uint8, the bits of
    other types in a uint8. The last dimension shrinks accordingly."""
    if y.dtype is INT4:
        return folded(y, torch.int32)
    if is_four_bit(y.dtype):
        return folded(y, torch.uint8)
    return y.view(torch.uint8) if y.dtype in (FLOAT8_E8M0, HIFLOAT8) else y


def held(x: Tensor, number: int | None, operator: str) -> Tensor:
    """The 8-bit tensor that PyTorch code sees, under the element type that it holds.

    Args:
        x: numbers or scales.
        number: torch_npu's number of the type; None when the tensor has its own.
        operator: who got it, for the message.

    Raises:
        ConversionError: the tensor cannot hold such elements.
    """
    if number is None:
        return x
    dtype = host_dtype(type_name(number, operator))
    if dtype is None or is_four_bit(dtype) or dtype.itemsize != x.dtype.itemsize:
        raise ConversionError(
            f"{operator}: a tensor of {x.dtype} cannot hold the type number {number}",
            expected="an 8-bit type",
        )
    return x if x.dtype is dtype else x.contiguous().view(torch.uint8).view(dtype)


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
