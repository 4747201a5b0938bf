"""Arithmetic identities that hold bit for bit.

``x + 0`` is not one of them for floats (``-0.0 + 0`` is ``0.0``), nor is ``x * 1`` for complex
numbers.
"""

from __future__ import annotations

import math
from typing import Any

from xdsl.dialects.builtin import ComplexType, IntegerType
from xdsl.ir import SSAValue

from torchair.ir.calls import CallOp
from torchair.ir.interned import element_type
from torchair.ir.private import operands_of
from torchair.ir.rewrite import Pattern, Rewriter, defining_op, pattern
from torchair.passes.canonicalize.aliasing import is_ever_written
from torchair.passes.canonicalize.copies import replace_by_copy
from torchair.passes.canonicalize.types import has_same_type


@pattern("aten.mul.Tensor", "aten.mul.Scalar")
def drop_product_with_one(op: CallOp, rewriter: Rewriter) -> None:
    if len(operands_of(op)) != 1:
        return
    left, right = op.arguments()
    for tensor, number in ((left, right), (right, left)):
        if _is_number(number, 1) and not _is_complex(tensor):
            _drop(op, tensor, rewriter)
            return


@pattern("aten.div.Tensor", "aten.div.Scalar")
def drop_quotient_by_one(op: CallOp, rewriter: Rewriter) -> None:
    if len(operands_of(op)) != 1:
        return
    tensor, number = op.arguments()
    if _is_number(number, 1) and not _is_complex(tensor):
        _drop(op, tensor, rewriter)


@pattern("aten.add.Tensor", "aten.add.Scalar")
def drop_sum_with_zero(op: CallOp, rewriter: Rewriter) -> None:
    if len(operands_of(op)) != 1:
        return
    tensor, number, alpha = op.arguments()
    is_neutral = _is_number(number, 0) and (_is_integral(op) or _is_negative(number))
    if alpha == 1 and is_neutral:
        _drop(op, tensor, rewriter)


@pattern("aten.sub.Tensor", "aten.sub.Scalar")
def drop_difference_with_zero(op: CallOp, rewriter: Rewriter) -> None:
    if len(operands_of(op)) != 1:
        return
    tensor, number, alpha = op.arguments()
    if alpha == 1 and _is_number(number, 0) and not _is_negative(number):
        _drop(op, tensor, rewriter)


@pattern("aten.pow.Tensor_Scalar")
def drop_first_power(op: CallOp, rewriter: Rewriter) -> None:
    tensor, exponent = op.arguments()
    if _is_number(exponent, 1):
        _drop(op, tensor, rewriter)


@pattern("aten.neg", "aten.bitwise_not", "aten.logical_not")
def cancel_double_negation(op: CallOp, rewriter: Rewriter) -> None:
    inner = defining_op(operands_of(op)[0], op.name)
    if inner is not None and not is_ever_written(operands_of(inner)[0]):
        _drop(op, operands_of(inner)[0], rewriter)


def _drop(op: CallOp, value: Any, rewriter: Rewriter) -> None:
    if isinstance(value, SSAValue) and has_same_type(value, op.results[0]):  # pyright: ignore
        replace_by_copy(op, value, rewriter)  # pyright: ignore[reportUnknownArgumentType]


def _is_number(value: Any, number: int) -> bool:
    return isinstance(value, int | float) and value == number


def _is_negative(number: float) -> bool:
    return math.copysign(1.0, number) < 0


def _is_integral(op: CallOp) -> bool:
    return isinstance(element_type(op.results[0].type), IntegerType)


def _is_complex(value: Any) -> bool:
    return isinstance(value, SSAValue) and isinstance(element_type(value.type), ComplexType)  # pyright: ignore


PATTERNS: tuple[Pattern, ...] = (
    drop_product_with_one,
    drop_quotient_by_one,
    drop_sum_with_zero,
    drop_difference_with_zero,
    drop_first_power,
    cancel_double_negation,
)
