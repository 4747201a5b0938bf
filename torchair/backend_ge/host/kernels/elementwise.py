"""Kernels of elementwise arithmetic and mathematical functions."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from torchair.backend_ge.host.kernels.numbers import Number, known_number, written
from torchair.backend_ge.host.kernels.registry import kernel

_UNARY: dict[str, Callable[[Tensor], Tensor]] = {
    "Abs": torch.abs,
    "Acos": torch.acos,
    "Acosh": torch.acosh,
    "Asin": torch.asin,
    "Asinh": torch.asinh,
    "Atan": torch.atan,
    "Atanh": torch.atanh,
    "Ceil": torch.ceil,
    "Cos": torch.cos,
    "Cosh": torch.cosh,
    "Erf": torch.erf,
    "Erfc": torch.erfc,
    "Erfinv": torch.erfinv,
    "Expm1": torch.expm1,
    "Floor": torch.floor,
    "Log1p": torch.log1p,
    "Neg": torch.neg,
    "Reciprocal": torch.reciprocal,
    "Rint": torch.round,
    "Round": torch.round,
    "Rsqrt": torch.rsqrt,
    "Sigmoid": torch.sigmoid,
    "Sign": torch.sgn,
    "Sin": torch.sin,
    "Sinh": torch.sinh,
    "Sqrt": torch.sqrt,
    "Square": torch.square,
    "Tan": torch.tan,
    "Tanh": torch.tanh,
    "Trunc": torch.trunc,
}
_BINARY: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "Add": torch.add,
    "Atan2": torch.atan2,
    "Div": torch.div,
    "FloorMod": torch.remainder,
    "Maximum": torch.maximum,
    "Minimum": torch.minimum,
    "Mod": torch.fmod,
    "Mul": torch.mul,
    "RealDiv": torch.div,
    "Sub": torch.sub,
    "TruncateMod": torch.fmod,
    "Xlogy": torch.xlogy,
}


def _register_unary(name: str, function: Callable[[Tensor], Tensor]) -> None:
    @kernel(name)
    def _(x: Tensor) -> Tensor:
        return function(x)


def _register_binary(name: str, function: Callable[[Tensor, Tensor], Tensor]) -> None:
    @kernel(name)
    def _(x1: Tensor, x2: Tensor) -> Tensor:
        return function(*promoted(x1, x2))


for _name, _function in _UNARY.items():
    _register_unary(_name, _function)
for _name, _function in _BINARY.items():
    _register_binary(_name, _function)


def promoted(*tensors: Tensor) -> list[Tensor]:
    """Operands in their common type; unlike PyTorch's rule, GE's does not look at the rank."""
    dtype = tensors[0].dtype
    for tensor in tensors[1:]:
        dtype = torch.promote_types(dtype, tensor.dtype)
    return [t if t.dtype is dtype else t.to(dtype) for t in tensors]


@kernel("FloorDiv")
def floor_div(x1: Tensor, x2: Tensor) -> Tensor:
    return torch.div(x1, x2, rounding_mode="floor")


@kernel("TruncateDiv")
def truncate_div(x1: Tensor, x2: Tensor) -> Tensor:
    return torch.div(x1, x2, rounding_mode="trunc")


@kernel("Adds")
def adds(x: Tensor, value: float) -> Tensor:
    return x + scalar_for(x, value)


@kernel("Muls")
def muls(x: Tensor, value: float) -> Tensor:
    return x * scalar_for(x, value)


def scalar_for(x: Tensor, value: float) -> Number:
    """A float attribute in the category of a tensor's type."""
    return written(value) if x.is_floating_point() else int(value)


@kernel("Axpy")
def axpy(x1: Tensor, x2: Tensor, alpha: float) -> Tensor:
    return torch.add(x1, x2, alpha=scalar_for(x1, alpha))


@kernel("AxpyV2")
def axpy_v2(x1: Tensor, x2: Tensor, alpha: Tensor) -> Tensor:
    scale = known_number(alpha)
    return x1 + alpha * x2 if scale is None else torch.add(x1, x2, alpha=scale)


@kernel("Pow")
def power(x1: Tensor, x2: Tensor) -> Tensor:
    base, exponent = promoted(x1, x2)
    number = known_number(x2)
    if number is not None:
        return torch.pow(base, number)
    number = known_number(x1)
    return torch.pow(base if number is None else number, exponent)


@kernel("Exp")
def exp(x: Tensor, base: float, scale: float, shift: float) -> Tensor:
    inner = _scaled(x, scale, shift)
    if base == -1.0:
        return torch.exp(inner)
    return torch.exp2(inner) if base == 2.0 else torch.exp(inner * math.log(written(base)))


@kernel("Log")
def log(x: Tensor, base: float, scale: float, shift: float) -> Tensor:
    inner = _scaled(x, scale, shift)
    named = {-1.0: torch.log, 2.0: torch.log2, 10.0: torch.log10}.get(base)
    return torch.log(inner) / math.log(written(base)) if named is None else named(inner)


def _scaled(x: Tensor, scale: float, shift: float) -> Tensor:
    if scale != 1.0:
        x = x * written(scale)
    return x if shift == 0.0 else x + written(shift)


@kernel("ClipByValue", "ClipByValueV2")
def clip_by_value(x: Tensor, clip_value_min: Tensor, clip_value_max: Tensor) -> Tensor:
    return torch.clamp(x, clip_value_min, clip_value_max)


@kernel("Addcmul")
def addcmul(input_data: Tensor, x1: Tensor, x2: Tensor, value: Tensor) -> Tensor:
    scale = known_number(value)
    if scale is None:
        return input_data + value * x1 * x2
    return torch.addcmul(input_data, x1, x2, value=scale)


@kernel("Addcdiv")
def addcdiv(input_data: Tensor, x1: Tensor, x2: Tensor, value: Tensor) -> Tensor:
    scale = known_number(value)
    if scale is None:
        return input_data + value * (x1 / x2)
    return torch.addcdiv(input_data, x1, x2, value=scale)


@kernel("Lerp")
def lerp(start: Tensor, end: Tensor, weight: Tensor) -> Tensor:
    scale: Any = known_number(weight)
    return torch.lerp(start, end, weight if scale is None else scale)


@kernel("NanToNum")
def nan_to_num(x: Tensor, nan: float, posinf: float, neginf: float) -> Tensor:
    return torch.nan_to_num(x, nan, posinf, neginf)
