"""Kernels of comparisons, logic, bits and selection."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from torchair.backend_ge.host.kernels.elementwise import promoted
from torchair.backend_ge.host.kernels.numbers import written
from torchair.backend_ge.host.kernels.registry import kernel

_BINARY: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "BitwiseAnd": torch.bitwise_and,
    "BitwiseOr": torch.bitwise_or,
    "BitwiseXor": torch.bitwise_xor,
    "Equal": torch.eq,
    "Greater": torch.gt,
    "GreaterEqual": torch.ge,
    "Less": torch.lt,
    "LessEqual": torch.le,
    "LogicalAnd": torch.logical_and,
    "LogicalOr": torch.logical_or,
    "NotEqual": torch.ne,
}
_UNARY: dict[str, Callable[[Tensor], Tensor]] = {
    "Invert": torch.bitwise_not,
    "IsFinite": torch.isfinite,
    "IsInf": torch.isinf,
    "IsNan": torch.isnan,
    "LogicalNot": torch.logical_not,
}


def _register_binary(name: str, function: Callable[[Tensor, Tensor], Tensor]) -> None:
    @kernel(name)
    def _(x1: Tensor, x2: Tensor) -> Tensor:
        return function(*promoted(x1, x2))


def _register_unary(name: str, function: Callable[[Tensor], Tensor]) -> None:
    @kernel(name)
    def _(x: Tensor) -> Tensor:
        return function(x)


for _name, _function in _BINARY.items():
    _register_binary(_name, _function)
for _name, _function in _UNARY.items():
    _register_unary(_name, _function)


@kernel("LeftShift")
def left_shift(x: Tensor, y: Tensor) -> Tensor:
    return torch.bitwise_left_shift(x, y)


@kernel("RightShift")
def right_shift(x: Tensor, y: Tensor) -> Tensor:
    return torch.bitwise_right_shift(x, y)


@kernel("ApproximateEqual")
def approximate_equal(x1: Tensor, x2: Tensor, tolerance: float) -> Tensor:
    return (x1 - x2).abs() < written(tolerance)


@kernel("SelectV2")
def select_v2(condition: Tensor, then: Tensor, other: Tensor) -> Tensor:
    return torch.where(condition, then, other)


@kernel("Select")
def select(condition: Tensor, x1: Tensor, x2: Tensor) -> Tensor:
    """A condition of fewer dimensions selects along the leading ones."""
    extra = x1.dim() - condition.dim()
    if extra > 0 and condition.dim():
        condition = condition.reshape([*condition.shape, *[1] * extra])
    return torch.where(condition, x1, x2)


@kernel("MaskedFill")
def masked_fill(x: Tensor, mask: Tensor, value: Tensor) -> Tensor:
    return torch.where(mask, value, x)
