"""Element types of GE that torch cannot compute in: how the host device stores, packs and rounds
them.

A tensor of a 4-bit type holds one element a byte under a dtype that torch only knows by name (its
carrier), so that a kernel sees GE's shape and type. ``Bitcast`` packs such bytes into the container
that PyTorch code sees (8 int4 in an int32, 2 float4 in a uint8), the first element lowest.
"""

from __future__ import annotations

import torch
from torch import Tensor

from torchair.errors import EngineError


def _dtype(name: str) -> torch.dtype:
    """A dtype that torch's type stubs do not list."""
    return getattr(torch, name)


INT4, FLOAT4_E2M1, FLOAT4_E1M2 = _dtype("int4"), _dtype("uint4"), _dtype("uint3")
"""Carriers of the 4-bit types."""

HIFLOAT8, FLOAT8_E8M0 = _dtype("bits8"), _dtype("float8_e8m0fnu")

_CARRIERS = {
    "float4_e2m1": FLOAT4_E2M1,
    "float4_e1m2": FLOAT4_E1M2,
    "hifloat8": HIFLOAT8,
    "float8_e8m0": FLOAT8_E8M0,
}

_LARGEST = {FLOAT4_E2M1: 6.0, FLOAT4_E1M2: 1.75}
_SIGN = 8
ROUND_MODES = ("rint", "round", "floor", "ceil", "trunc")


def host_dtype(name: str) -> torch.dtype | None:
    """torch dtype under which the host holds a GE element type, None when it cannot."""
    found = _CARRIERS.get(name) or getattr(torch, name, None)
    return found if isinstance(found, torch.dtype) else None


def is_four_bit(dtype: torch.dtype) -> bool:
    """Whether a dtype is the carrier of a 4-bit type."""
    return dtype in (INT4, FLOAT4_E2M1, FLOAT4_E1M2)


def largest(dtype: torch.dtype) -> float:
    """The largest finite value of a type that values are quantised to.

    Raises:
        EngineError: the host does not round to this type.
    """
    if dtype is INT4:
        return 7.0
    if dtype in _LARGEST:
        return _LARGEST[dtype]
    if dtype in (torch.float8_e5m2, torch.float8_e4m3fn):
        return torch.finfo(dtype).max
    if dtype in (torch.int8, torch.uint8, torch.int16, torch.int32):
        return float(torch.iinfo(dtype).max)
    raise EngineError(
        f"the host device does not quantise to {dtype}",
        expected="int8, uint8, int32, int4, float8_e5m2, float8_e4m3fn, float4_e2m1, float4_e1m2",
        found=dtype,
        hint="choose another dst_type, or run this graph on an NPU",
    )


def rounded(values: Tensor, mode: str = "rint") -> Tensor:
    """Integers: ``rint`` half to even, ``round`` half away from zero, ``floor``, ``ceil``,
    ``trunc``.

    Raises:
        EngineError: unknown mode.
    """
    if mode == "rint":
        return values.round()
    if mode == "round":
        return torch.where(values < 0, (values - 0.5).ceil(), (values + 0.5).floor())
    if mode in ("floor", "ceil", "trunc"):
        return getattr(values, mode)()
    raise EngineError("no such round mode", expected=", ".join(ROUND_MODES), found=mode)


def quantized(values: Tensor, dtype: torch.dtype, mode: str = "rint") -> Tensor:
    """Values in float32 rounded to a narrow type; what is out of range becomes the nearest bound.

    Raises:
        EngineError: the host does not round to this type.
    """
    bound = largest(dtype)
    if dtype in (torch.float8_e5m2, torch.float8_e4m3fn):
        return values.clamp(-bound, bound).to(dtype)
    if dtype is FLOAT4_E2M1:
        return _to_e2m1(values, mode)
    if dtype is FLOAT4_E1M2:
        return _with_sign(rounded(values * 4, mode), values, dtype)
    low = -8.0 if dtype is INT4 else float(torch.iinfo(dtype).min)
    if dtype is torch.int32:
        values = values.double()  # float32 has no 2**31 - 1
    numbers = rounded(values, mode).clamp(low, bound)
    return _carried(numbers, dtype) if dtype is INT4 else numbers.to(dtype)


def _to_e2m1(values: Tensor, mode: str) -> Tensor:
    """Spacing is 0.5 below 2, 1 below 4 and 2 above; codes count the values from zero."""
    size = values.abs()
    step = torch.where(size < 2, 0.5, torch.where(size < 4, 1.0, 2.0))
    base = torch.where(size < 2, 0.0, torch.where(size < 4, 2.0, 4.0))
    count = rounded(values / step, mode)
    return _with_sign(torch.where(values < 0, count - base, count + base), values, FLOAT4_E2M1)


def _with_sign(count: Tensor, values: Tensor, dtype: torch.dtype) -> Tensor:
    code = count.abs().clamp(max=7.0)
    return _carried(torch.where(values < 0, code + _SIGN, code), dtype)


def _carried(numbers: Tensor, dtype: torch.dtype) -> Tensor:
    """Small integers under a carrier; dense, because torch cannot copy carriers."""
    return numbers.to(torch.int8).contiguous().view(dtype)


def dequantized(x: Tensor) -> Tensor:
    """Values of a narrow type in float32.

    Raises:
        EngineError: the host has only the bytes of this type.
    """
    if x.dtype is HIFLOAT8:
        raise EngineError("the host device cannot read hifloat8", hint="run this graph on an NPU")
    if not is_four_bit(x.dtype):
        return x.float()
    code = x.view(torch.int8)
    if x.dtype is INT4:
        return code.float()
    size = code & 7
    if x.dtype is FLOAT4_E2M1:
        count = size.float()
        value = torch.where(size < 4, count / 2, torch.where(size < 6, count - 2, count * 2 - 8))
    else:
        value = size.float() * 0.25
    return torch.where(code >= _SIGN, -value, value)


def converted(x: Tensor, dtype: torch.dtype) -> Tensor:
    """``Cast``: as ``Tensor.to``, for 4-bit types as well (rounded half to even, clamped)."""
    if x.dtype is dtype or not (is_four_bit(x.dtype) or is_four_bit(dtype)):
        return x.to(dtype)
    values = dequantized(x)
    return quantized(values, dtype) if is_four_bit(dtype) else values.to(dtype)


def packed(x: Tensor, container: torch.dtype) -> Tensor:
    """The 4-bit elements of the last dimension in one number each; that dimension goes away.

    Args:
        x: its last dimension has as many elements as fit into the container.

    Raises:
        EngineError: it has another size.
    """
    count = container.itemsize * 2
    if x.dim() == 0 or x.size(-1) != count:
        raise EngineError(
            f"{x.dtype} elements cannot be packed into {container}",
            expected=f"a last dimension of {count}",
            found=tuple(x.shape),
        )
    bits = (x.view(torch.int8) & 0xF).long()
    total = bits[..., 0]
    for place in range(1, count):
        total = total | (bits[..., place] << (4 * place))
    if container is torch.uint8:
        return total.to(torch.uint8)
    limit = 1 << (container.itemsize * 8 - 1)
    return torch.where(total >= limit, total - 2 * limit, total).to(container)


def unpacked(x: Tensor, dtype: torch.dtype) -> Tensor:
    """Undoes ``packed``: a last dimension with the elements of each number."""
    numbers = x.long()
    nibbles = [(numbers >> place) & 0xF for place in range(0, x.dtype.itemsize * 8, 4)]
    bits = torch.stack(nibbles, -1).to(torch.int8)
    if dtype is INT4:
        bits = torch.where(bits >= _SIGN, bits - 16, bits).to(torch.int8)
    return bits.view(dtype)


def folded(x: Tensor, container: torch.dtype) -> Tensor:
    """``packed`` for the groups of neighbours in the last dimension, which shrinks.

    Raises:
        EngineError: the last dimension is no multiple of what fits into the container.
    """
    count = container.itemsize * 2
    if x.size(-1) % count:
        raise EngineError(
            f"the last dimension cannot be packed into {container}",
            expected=f"a multiple of {count}",
            found=x.size(-1),
        )
    return packed(x.reshape(*x.shape[:-1], x.size(-1) // count, count), container)


def unfolded(x: Tensor, dtype: torch.dtype) -> Tensor:
    """Undoes ``folded``: the last dimension grows."""
    return unpacked(x, dtype).flatten(-2)
