"""Folds small tensors that depend on nothing."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from xdsl.dialects.builtin import DenseIntOrFPElementsAttr
from xdsl.ir import Attribute, SSAValue

from torchair.dialects.aten import lookup
from torchair.ir import element_types, interned
from torchair.ir.calls import CallOp
from torchair.ir.interned import element_type
from torchair.ir.rewrite import Pattern, Rewriter, defining_op, pattern
from torchair.passes.canonicalize.aliasing import leaves_or_is_written
from torchair.passes.canonicalize.casts import is_plain_cast
from torchair.passes.dtype_rules import FLOATS, INTEGERS
from torchair.passes.rewrite_pass import PatternPass

ELEMENT_LIMIT = 128
"""Largest number of elements of a folded tensor (1 KiB of int64)."""
_EXACT_INTEGER = 1 << 11
"""Integers of at most this magnitude are exact in every type but bfloat16 and the 8-bit ones."""
_ARITHMETIC: dict[str, Callable[[Any, Any], Any]] = {
    "aten.add.Tensor": operator.add,
    "aten.sub.Tensor": operator.sub,
    "aten.mul.Tensor": operator.mul,
    "aten.div.Tensor": operator.truediv,  # pyright: ignore[reportUnknownMemberType]
}


@pattern("aten.arange", "aten.arange.start", "aten.arange.start_step")
def fold_arange(op: CallOp, rewriter: Rewriter) -> None:
    bounds = {"start": 0, "step": 1} | {
        name: op.argument(name) for name in ("start", "end", "step") if name in op.schema.positions
    }
    if all(type(bound) is int for bound in bounds.values()) and bounds["step"]:
        values = range(bounds["start"], bounds["end"], bounds["step"])
        if max((abs(v) for v in (values[:1], values[-1:]) for v in v), default=0) < _EXACT_INTEGER:
            _fold(op, values, rewriter)


@pattern("aten.full", "aten.full_like", "aten.new_full", "aten.scalar_tensor")
def fold_fill(op: CallOp, rewriter: Rewriter) -> None:
    value = op.argument("s" if op.name == "aten.scalar_tensor" else "fill_value")
    if isinstance(value, int | float):
        _fold_splat(op, value, rewriter)


@pattern("aten.zeros", "aten.zeros_like", "aten.new_zeros")
def fold_zeros(op: CallOp, rewriter: Rewriter) -> None:
    _fold_splat(op, 0, rewriter)


@pattern("aten.ones", "aten.ones_like", "aten.new_ones")
def fold_ones(op: CallOp, rewriter: Rewriter) -> None:
    _fold_splat(op, 1, rewriter)


@pattern(
    "aten.view", "aten._unsafe_view", "aten.reshape", "aten.unsqueeze", "aten.squeeze",
    "aten.squeeze.dim", "aten.squeeze.dims", "aten.clone", "aten.lift_fresh_copy", "aten.expand",
    "aten._to_copy", "prims.convert_element_type",
)  # fmt: skip
def fold_same_elements(op: CallOp, rewriter: Rewriter) -> None:
    values = _values(op.operands[0])
    if values is None or (op.name == "aten._to_copy" and not is_plain_cast(op)):
        return
    count = _count(op.results[0].type)
    if count == len(values):
        _fold(op, values, rewriter)
    elif count is not None and len(set(values)) == 1:
        _fold(op, values[:1] * count, rewriter)


@pattern(*_ARITHMETIC)
def fold_arithmetic(op: CallOp, rewriter: Rewriter) -> None:
    left, right, *alpha = op.arguments()
    count = _count(op.results[0].type)
    name = element_types.to_name(element_type(op.results[0].type))
    if count is None or alpha not in ([], [1]) or name not in ("float32", "float64", "int64"):
        return
    a, b = (_broadcast(v, name, count) for v in (left, right))
    if a is None or b is None or (op.name == "aten.div.Tensor" and 0 in b):
        return
    function = _ARITHMETIC[op.name]
    _fold(op, [function(x, y) for x, y in zip(a, b, strict=True)], rewriter)


def _values(value: Any) -> list[Any] | None:
    """The elements of a constant, None when the value is no constant."""
    constant = defining_op(value, "aten.constant")
    dense = None if constant is None else constant.properties.get("value")
    if not isinstance(dense, DenseIntOrFPElementsAttr) or not isinstance(value, SSAValue):
        return None
    if element_types.is_complex(element_type(value.type)):  # pyright: ignore
        return None
    values: list[Any] = list(dense.get_values())
    is_bool = element_type(value.type) == interned.i1  # pyright: ignore
    return [bool(v) for v in values] if is_bool else values


def _broadcast(value: Any, name: str, count: int) -> list[Any] | None:
    """``count`` elements of an operand whose type is the result's: a constant or a number."""
    if isinstance(value, int | float):
        return [interned.round_to_single(value) if name == "float32" else value] * count
    values = _values(value)
    if values is None or element_types.to_name(element_type(value.type)) != name:
        return None
    if len(values) == count:
        return values
    return values * count if len(values) == 1 else None


def _count(type_: Attribute) -> int | None:
    """Number of elements of a static tensor type within the limit."""
    shape = interned.shape_of(type_)
    if shape is None or interned.DYNAMIC in shape:
        return None
    count = math.prod(shape)
    return count if 0 < count <= ELEMENT_LIMIT else None


def _fold_splat(op: CallOp, value: float, rewriter: Rewriter) -> None:
    count = _count(op.results[0].type)
    if count is not None:
        _fold(op, [value] * count, rewriter)


def _fold(op: CallOp, values: Sequence[Any], rewriter: Rewriter) -> None:
    """Replace an operation by a constant, when its type holds the values exactly as torch would."""
    result = op.results[0]
    if _count(result.type) != len(values) or leaves_or_is_written(result):
        return
    stored = _store(values, element_types.to_name(element_type(result.type)))
    constant = lookup("aten.constant")
    assert constant is not None
    if stored is None:
        return
    type_: Any = result.type
    dense = DenseIntOrFPElementsAttr.from_list(type_, stored)
    rewriter.replace(op, [rewriter.create(constant, [dense], [type_], op).results[0]])


def _store(values: Sequence[Any], name: str) -> list[Any] | None:
    """The elements as an element type holds them, None where a cast is not plain rounding."""
    if name == "bool":
        return [int(v != 0) for v in values]
    if name in INTEGERS:
        low, high = INTEGERS[name]
        limits = (-(1 << low) if low else 0, (1 << high) - 1)
        exact = all(v == v and abs(v) != math.inf and int(v) == v for v in values)
        inside = exact and all(limits[0] <= v <= limits[1] for v in values)
        return [int(v) for v in values] if inside else None
    if name not in FLOATS:
        return None
    largest = {"float16": 65504.0, "float64": math.inf}.get(name, 3.38e38)
    if any(abs(v) > largest and abs(v) != math.inf for v in values):
        return None
    # torch converts to half precision by way of float32.
    narrow = interned.round_to_single if name in ("float16", "bfloat16") else float
    return [narrow(v) for v in values]


@dataclass(frozen=True)
class FoldConstantsPass(PatternPass):
    """Replaces small tensors that depend on nothing by their values.

        %0 = aten.arange(end = 3)                ->   %1 = aten.constant(value = dense<[[0, 1, 2]]>)
        %1 = aten.unsqueeze(%0, dim = 0)

    Only what Python computes to the last bit is folded: ranges of integers, fills, views, casts,
    and sums, products and quotients in float32, float64 and int64. A tensor that is written or
    leaves the function is not. For graphs whose tensors live on one device: a constant names none.
    Numeric class: exact. Shown by: test/lit/passes/fold-constants.mlir
    """

    name = "fold-constants"
    numeric_class: ClassVar[str] = "exact"
    patterns: ClassVar[tuple[Pattern, ...]] = (
        fold_arange,
        fold_fill,
        fold_zeros,
        fold_ones,
        fold_same_elements,
        fold_arithmetic,
    )
