"""Arithmetic of sizes: known values move into their users, identities vanish."""

from __future__ import annotations

import math
from typing import Any

from xdsl.ir import Attribute, SSAValue

from torchair.dialects.aten.sym import FUNCTIONS
from torchair.ir import interned
from torchair.ir.calls import CallOp
from torchair.ir.rewrite import Pattern, Rewriter, defining_op, pattern

_SCALAR_TYPES: dict[type, Attribute] = {
    int: interned.i64,
    float: interned.f64,
    bool: interned.i1,
}
_INT64 = 1 << 63


@pattern(*FUNCTIONS, "aten.sym_size.int", "aten.sym_numel")
def inline_known_scalar(op: CallOp, rewriter: Rewriter) -> None:
    value, result = _known_value(op), op.results[0]
    if value is None or _SCALAR_TYPES[type(value)] != result.type:
        return
    if isinstance(value, int) and not -_INT64 <= value < _INT64:
        return
    for user in {use.operation: None for use in result.uses}:
        if isinstance(user, CallOp):
            _substitute(user, result, value, rewriter)
    if result.first_use is None:
        rewriter.erase(op)


@pattern("sym.add", "sym.sub", "sym.mul", "sym.floordiv")
def drop_neutral_operand(op: CallOp, rewriter: Rewriter) -> None:
    left, right = op.arguments()
    neutral = 0 if op.name in ("sym.add", "sym.sub") else 1
    if _is_static(right, neutral):
        _replace_by(op, left, rewriter)
    elif op.name in ("sym.add", "sym.mul") and _is_static(left, neutral):
        _replace_by(op, right, rewriter)


@pattern("sym.floordiv", "sym.sub")
def cancel_inverse(op: CallOp, rewriter: Rewriter) -> None:
    left, right = op.arguments()
    inner = defining_op(left, "sym.mul" if op.name == "sym.floordiv" else "sym.add")
    if inner is None or (op.name == "sym.floordiv" and not isinstance(right, int)) or right == 0:
        return
    first, second = inner.arguments()
    if _is_same(second, right):
        _replace_by(op, first, rewriter)
    elif _is_same(first, right):
        _replace_by(op, second, rewriter)


def _known_value(op: CallOp) -> Any:
    if op.name.startswith("aten."):
        return _known_size(op)
    if op.operands:
        return None
    values = op.arguments()
    if None in values:
        return None
    try:
        return FUNCTIONS[op.name](*values)
    except (ArithmeticError, ValueError):  # of a root or logarithm
        return None


def _known_size(op: CallOp) -> int | None:
    shape = interned.shape_of(op.operands[0].type)
    if shape is None:
        return None
    if op.name == "aten.sym_numel":
        return None if interned.DYNAMIC in shape else math.prod(shape)
    size: int = shape[op.argument("dim")]  # pyright: ignore[reportUnknownVariableType]
    return None if size == interned.DYNAMIC else size  # pyright: ignore[reportUnknownVariableType]


def _substitute(user: CallOp, value: SSAValue, known: Any, rewriter: Rewriter) -> None:
    """Rewrite a user in place so that it holds the known number instead of the operand."""
    values = [_exchange(v, value, known) for v in user.arguments()]
    template = type(user).build_call(values, [r.type for r in user.results])
    user.operands = list(template.operands)
    user.properties = dict(template.properties)
    template.erase()
    rewriter.modified(user)


def _exchange(held: Any, value: SSAValue, known: Any) -> Any:
    if isinstance(held, list):
        return [_exchange(item, value, known) for item in held]  # pyright: ignore
    return known if held is value else held


def _replace_by(op: CallOp, value: Any, rewriter: Rewriter) -> None:
    if isinstance(value, SSAValue) and value.type == op.results[0].type == interned.i64:  # pyright: ignore
        rewriter.replace(op, [value])  # pyright: ignore[reportUnknownArgumentType]


def _is_static(value: Any, number: int) -> bool:
    return isinstance(value, int) and value == number


def _is_same(a: Any, b: Any) -> bool:
    return a is b if isinstance(a, SSAValue) or isinstance(b, SSAValue) else a == b


PATTERNS: tuple[Pattern, ...] = (inline_known_scalar, drop_neutral_operand, cancel_inverse)
