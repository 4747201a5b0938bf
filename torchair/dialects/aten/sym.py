"""The ``sym`` namespace: arithmetic on symbolic sizes (SymInt, SymFloat, SymBool).

Operands are ``i64``, ``f64`` or ``i1`` values; static operands are properties, as everywhere.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable
from typing import Any

_Functions = dict[str, Callable[..., Any]]
_Operators: Any = operator  # typeshed leaves some of its functions without types

_BINARY: _Functions = {
    **{
        name: getattr(_Operators, name)
        for name in ("add", "sub", "mul", "floordiv", "truediv", "mod", "pow", "lshift", "rshift")
    },
    **{name: getattr(_Operators, name) for name in ("eq", "ne", "lt", "le", "gt", "ge")},
    "and": _Operators.and_,
    "or": _Operators.or_,
    "bitwise_and": _Operators.and_,
    "bitwise_or": _Operators.or_,
    "min": min,
    "max": max,
}
_UNARY: _Functions = {
    "neg": operator.neg,
    "abs": abs,
    "floor": math.floor,
    "ceil": math.ceil,
    "trunc": math.trunc,
    "round": round,
    "sqrt": math.sqrt,
    "log2": math.log2,
    "float": float,
    "int": int,
    "not": operator.not_,
}


def _if_then_else(condition: Any, a: Any, b: Any) -> Any:
    return a if condition else b


FUNCTIONS: _Functions = {
    **{f"sym.{name}": function for name, function in (_BINARY | _UNARY).items()},
    "sym.sum": sum,
    "sym.ite": _if_then_else,
}
"""What each operator computes from Python numbers (``sum`` from a list of them)."""

SCHEMAS: dict[str, str] = {
    **{f"sym.{name}": f"sym::{name}(Scalar a, Scalar b) -> Scalar" for name in _BINARY},
    **{f"sym.{name}": f"sym::{name}(Scalar a) -> Scalar" for name in _UNARY},
    "sym.sum": "sym::sum(Scalar[] values) -> Scalar",
    "sym.ite": "sym::ite(Scalar condition, Scalar a, Scalar b) -> Scalar",
}
