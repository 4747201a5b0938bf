"""Comparisons, logic, bits and selection."""

from __future__ import annotations

import math
from typing import Any

from xdsl.ir import Attribute, SSAValue

from torchair.dialects.ge import builder as ge
from torchair.ir import element_types, interned
from torchair.passes.convert_aten_to_ge.complex_numbers import complex_parts
from torchair.passes.convert_aten_to_ge.operands import (
    compute,
    has_type,
    is_number,
    operand,
    shape_of,
    supported_type,
    with_element,
)
from torchair.passes.convert_aten_to_ge.registry import converts

_ORDER = {"lt": "Less", "le": "LessEqual", "gt": "Greater", "ge": "GreaterEqual"}
_BITS = {
    "and": ("BitwiseAnd", "LogicalAnd"),
    "or": ("BitwiseOr", "LogicalOr"),
}


def _common_element(self: Any, other: Any) -> Attribute:
    """Element type that a comparison is computed in; promotion has already been made explicit."""
    first: Any = other if is_number(self) else self
    element = ge.element(first)
    if not is_number(other) or element_types.is_floating(element):
        return element
    return interned.f32 if isinstance(other, float) and not other.is_integer() else element


def _register_order(name: str, op: str) -> None:
    @converts(
        f"{name}.Tensor(Tensor self, Tensor other) -> Tensor",
        f"{name}.Scalar(Tensor self, Scalar other) -> Tensor",
        f"prims::{name}(Tensor self, Tensor other) -> Tensor",
    )
    def _(self: Any, other: Any, out: Any) -> Any:
        return compute(op, self, other, out=out, element=_common_element(self, other))


for _name, _op in _ORDER.items():
    _register_order(_name, _op)


@converts(
    "eq.Tensor(Tensor self, Tensor other) -> Tensor",
    "eq.Scalar(Tensor self, Scalar other) -> Tensor",
)
def eq(self: Any, other: Any, out: Any) -> Any:
    return compute("Equal", self, other, out=out, element=_common_element(self, other))


@converts(
    "ne.Tensor(Tensor self, Tensor other) -> Tensor",
    "ne.Scalar(Tensor self, Scalar other) -> Tensor",
)
def ne(self: Any, other: Any, out: Any) -> Any:
    element = _common_element(self, other)
    if element == interned.i1:
        return _different(self, other, out)
    if element_types.is_complex(element):
        return ge.call("LogicalNot", eq(self, other, out), out=out)
    return compute("NotEqual", self, other, out=out, element=element)


def _different(self: Any, other: Any, out: Any) -> SSAValue:
    """Exclusive or of bools: GE has no such operator."""
    if is_number(other):
        return ge.call("LogicalNot", self, out=out) if other else self
    return ge.call("LogicalNot", ge.call("Equal", self, other, out=out), out=out)


@converts("logical_and(Tensor self, Tensor other) -> Tensor")
def logical_and(self: Any, other: Any, out: Any) -> Any:
    return ge.call("LogicalAnd", as_bool(self), as_bool(other), out=out)


@converts("logical_or(Tensor self, Tensor other) -> Tensor")
def logical_or(self: Any, other: Any, out: Any) -> Any:
    return ge.call("LogicalOr", as_bool(self), as_bool(other), out=out)


@converts("logical_xor(Tensor self, Tensor other) -> Tensor")
def logical_xor(self: Any, other: Any, out: Any) -> Any:
    return _different(as_bool(self), as_bool(other), out)


@converts("logical_not(Tensor self) -> Tensor")
def logical_not(self: Any, out: Any) -> Any:
    if ge.element(self) == interned.i1:
        return ge.call("LogicalNot", self, out=out)
    return compute("Equal", self, 0, out=out, element=ge.element(self))


def as_bool(value: Any) -> SSAValue:
    """Truth value of each element."""
    return operand(value, interned.i1)


def _register_bits(name: str) -> None:
    bitwise, logical = _BITS[name]

    @converts(
        f"bitwise_{name}.Tensor(Tensor self, Tensor other) -> Tensor",
        f"bitwise_{name}.Scalar(Tensor self, Scalar other) -> Tensor",
    )
    def _(self: Any, other: Any, out: Any) -> Any:
        is_bool = interned.element_type(out) == interned.i1
        return compute(logical if is_bool else bitwise, self, other, out=out)


for _name in _BITS:
    _register_bits(_name)


@converts(
    "bitwise_xor.Tensor(Tensor self, Tensor other) -> Tensor",
    "bitwise_xor.Scalar(Tensor self, Scalar other) -> Tensor",
)
def bitwise_xor(self: Any, other: Any, out: Any) -> Any:
    if interned.element_type(out) == interned.i1:
        return _different(self, other, out)
    return compute("BitwiseXor", self, other, out=out)


@converts("bitwise_not(Tensor self) -> Tensor")
def bitwise_not(self: Any, out: Any) -> Any:
    is_bool = interned.element_type(out) == interned.i1
    return compute("LogicalNot" if is_bool else "Invert", self, out=out)


@converts(
    "bitwise_left_shift.Tensor(Tensor self, Tensor other) -> Tensor",
    "bitwise_left_shift.Tensor_Scalar(Tensor self, Scalar other) -> Tensor",
    "__lshift__.Tensor(Tensor self, Tensor other) -> Tensor",
    "__lshift__.Scalar(Tensor self, Scalar other) -> Tensor",
)
def left_shift(self: Any, other: Any, out: Any) -> Any:
    return compute("LeftShift", self, other, out=out)


@converts(
    "bitwise_right_shift.Tensor(Tensor self, Tensor other) -> Tensor",
    "bitwise_right_shift.Tensor_Scalar(Tensor self, Scalar other) -> Tensor",
    "__rshift__.Tensor(Tensor self, Tensor other) -> Tensor",
    "__rshift__.Scalar(Tensor self, Scalar other) -> Tensor",
)
def right_shift(self: Any, other: Any, out: Any) -> Any:
    return compute("RightShift", self, other, out=out)


def _register_class(name: str, op: str, for_integers: str) -> None:
    @converts(f"{name}(Tensor self) -> Tensor")
    def _(self: Any, out: Any) -> Any:
        element = ge.element(self)
        if element_types.is_floating(element):
            return compute(op, self, out=out, element=element)
        if element_types.is_complex(element):
            tests = [compute(op, p, out=out, element=ge.element(p)) for p in complex_parts(self)]
            return ge.call("LogicalAnd" if op == "IsFinite" else "LogicalOr", *tests, out=out)
        return compute(for_integers, self, self, out=out, element=element)


# An integer is never an infinity or NaN, and always equal to itself.
_register_class("isnan", "IsNan", "Greater")
_register_class("isinf", "IsInf", "Greater")
_register_class("isfinite", "IsFinite", "Equal")


@converts(
    "where.self(Tensor condition, Tensor self, Tensor other) -> Tensor",
    "where.ScalarSelf(Tensor condition, Scalar self, Tensor other) -> Tensor",
    "where.ScalarOther(Tensor condition, Tensor self, Scalar other) -> Tensor",
    "where.Scalar(Tensor condition, Scalar self, Scalar other) -> Tensor",
)
def where(condition: Any, self: Any, other: Any, out: Any) -> Any:
    return select(condition, self, other, out)


def select(condition: Any, first: Any, second: Any, out: Attribute) -> SSAValue:
    """``first`` where the condition holds, else ``second``; tensors or numbers, broadcast."""
    element = interned.element_type(out)
    chosen = operand(first, element), operand(second, element)
    return ge.call("SelectV2", as_bool(condition), *chosen, out=out)


@converts(
    "masked_fill.Scalar(Tensor self, Tensor mask, Scalar value) -> Tensor",
    "masked_fill.Tensor(Tensor self, Tensor mask, Tensor value) -> Tensor",
)
def masked_fill(self: Any, mask: Any, value: Any, out: Any) -> Any:
    element = interned.element_type(out)
    if not has_type("MaskedFill", element) or shape_of(self) != interned.shape_of(out):
        return select(mask, value, self, out)
    return ge.call("MaskedFill", self, as_bool(mask), operand(value, element), out=out)


@converts("signbit(Tensor self) -> Tensor")
def signbit(self: Any, out: Any) -> Any:
    element = ge.element(self)
    if not element_types.is_floating(element):
        return compute("Less", self, 0, out=out, element=element)
    kind = supported_type("Bitcast", element)
    bits = element_types.from_name(element_types.to_name(kind).replace("float", "int"))
    value = ge.cast_to(self, kind)
    pattern = ge.call("Bitcast", value, type=bits, out=with_element(self.type, bits))
    return compute("Less", pattern, 0, out=out, element=bits)


@converts(
    "copysign.Tensor(Tensor self, Tensor other) -> Tensor",
    "copysign.Scalar(Tensor self, Scalar other) -> Tensor",
)
def copysign(self: Any, other: Any, out: Any) -> Any:
    size = compute("Abs", self, out=self.type)
    opposite = ge.call("Neg", size, out=self.type)
    if is_number(other):
        return opposite if math.copysign(1.0, other) < 0 else size
    flags = signbit(other, with_element(other.type, interned.i1))
    return select(flags, opposite, size, out)


def _register_ignoring_nan(name: str, op: str) -> None:
    @converts(f"{name}(Tensor self, Tensor other) -> Tensor")
    def _(self: Any, other: Any, out: Any) -> Any:
        element = interned.element_type(out)
        extreme = compute(op, self, other, out=out)
        if not element_types.is_floating(element):
            return extreme
        missing = [
            compute("IsNan", v, out=with_element(v.type, interned.i1), element=element)
            for v in (self, other)
        ]
        return select(missing[0], other, select(missing[1], self, extreme, out), out)


_register_ignoring_nan("fmax", "Maximum")
_register_ignoring_nan("fmin", "Minimum")
