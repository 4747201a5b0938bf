"""Elementwise arithmetic and mathematical functions."""

from __future__ import annotations

from typing import Any

from torchair.dialects.ge import builder as ge
from torchair.passes.convert_aten_to_ge.registry import converts


@converts("add.Tensor(Tensor self, Tensor other, *, Scalar alpha=1) -> Tensor")
def add_tensor(self: Any, other: Any, alpha: Any = 1) -> Any:
    return ge.Add(self, other) if alpha == 1 else ge.AxpyV2(self, other, alpha)


@converts("mul.Tensor(Tensor self, Tensor other) -> Tensor")
def mul_tensor(self: Any, other: Any) -> Any:
    return ge.Mul(self, other)


@converts("neg(Tensor self) -> Tensor")
def neg(self: Any) -> Any:
    return ge.Neg(self)


@converts("rsqrt(Tensor self) -> Tensor")
def rsqrt(self: Any) -> Any:
    return ge.Rsqrt(self)
