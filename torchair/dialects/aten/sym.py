"""The ``sym`` namespace: arithmetic on symbolic sizes (SymInt, SymFloat, SymBool).

Operands are ``i64``, ``f64`` or ``i1`` values; static operands are properties, as everywhere.
"""

from __future__ import annotations

_BINARY = [
    "add",
    "sub",
    "mul",
    "floordiv",
    "truediv",
    "mod",
    "pow",
    "min",
    "max",
    "lshift",
    "rshift",
    "bitwise_and",
    "bitwise_or",
]
_COMPARE = ["eq", "ne", "lt", "le", "gt", "ge", "and", "or"]
_UNARY = ["neg", "abs", "floor", "ceil", "trunc", "round", "sqrt", "log2", "float", "int", "not"]

SCHEMAS: dict[str, str] = {
    **{f"sym.{op}": f"sym::{op}(Scalar a, Scalar b) -> Scalar" for op in (*_BINARY, *_COMPARE)},
    **{f"sym.{op}": f"sym::{op}(Scalar a) -> Scalar" for op in _UNARY},
    "sym.sum": "sym::sum(Scalar[] values) -> Scalar",
    "sym.ite": "sym::ite(Scalar condition, Scalar a, Scalar b) -> Scalar",
}
