"""Elementwise arithmetic and mathematical functions."""

from __future__ import annotations

import math
from typing import Any

from xdsl.ir import Attribute, SSAValue

from torchair.dialects.ge import builder as ge
from torchair.errors import ConversionError
from torchair.ir import element_types, interned
from torchair.passes.convert_aten_to_ge.complex_numbers import is_complex, magnitude_of
from torchair.passes.convert_aten_to_ge.operands import (
    REDUCED,
    compute,
    compute_opmath,
    has_type,
    is_number,
    loses_precision,
    number,
    operand,
    with_element,
)
from torchair.passes.convert_aten_to_ge.registry import converts

_SAME = {
    "acos": "Acos",
    "acosh": "Acosh",
    "asin": "Asin",
    "asinh": "Asinh",
    "atan": "Atan",
    "atanh": "Atanh",
    "cos": "Cos",
    "cosh": "Cosh",
    "erf": "Erf",
    "erfc": "Erfc",
    "erfinv": "Erfinv",
    "exp": "Exp",
    "expm1": "Expm1",
    "log": "Log",
    "log1p": "Log1p",
    "neg": "Neg",
    "reciprocal": "Reciprocal",
    "rsqrt": "Rsqrt",
    "sigmoid": "Sigmoid",
    "sign": "Sign",
    "sin": "Sin",
    "sinh": "Sinh",
    "sqrt": "Sqrt",
    "square": "Square",
    "tan": "Tan",
    "tanh": "Tanh",
}
"""ATen functions of one tensor that are one GE operator."""

_ROUNDING = {"ceil": "Ceil", "floor": "Floor", "round": "Round"}
_BASES = {"exp2": ("Exp", 2.0), "log2": ("Log", 2.0), "log10": ("Log", 10.0)}


def _register_unary(name: str, op: str, **attributes: Any) -> None:
    @converts(f"{name}(Tensor self) -> Tensor")
    def _(self: Any, out: Any) -> Any:
        return compute(op, self, out=out, **attributes)


def _register_rounding(name: str, op: str) -> None:
    @converts(f"{name}(Tensor self) -> Tensor")
    def _(self: Any, out: Any) -> Any:
        return compute(op, self, out=out) if is_floating(out) else self


for _name, _op in _SAME.items():
    _register_unary(_name, _op)
for _name, (_op, _base) in _BASES.items():
    _register_unary(_name, _op, base=_base)
for _name, _op in _ROUNDING.items():
    _register_rounding(_name, _op)


def is_floating(type_: Attribute) -> bool:
    """Whether a tensor type has real floating-point elements."""
    return element_types.is_floating(interned.element_type(type_))


def is_bool(type_: Attribute) -> bool:
    """Whether a tensor type has bool elements."""
    return interned.element_type(type_) == interned.i1


@converts("trunc(Tensor self) -> Tensor", "fix(Tensor self) -> Tensor")
def trunc(self: Any, out: Any) -> Any:
    if not is_floating(out):
        return self
    if interned.element_type(out) != interned.f64:
        return compute("Trunc", self, out=out)
    negative = compute("Less", self, 0.0, out=with_element(out, interned.i1), element=interned.f64)
    up, down = compute("Ceil", self, out=out), compute("Floor", self, out=out)
    return ge.call("SelectV2", negative, up, down, out=out)


@converts("round.decimals(Tensor self, *, int decimals) -> Tensor")
def round_decimals(self: Any, decimals: Any, out: Any) -> Any:
    if not is_floating(out):
        return self
    element = interned.element_type(out)
    wide = with_element(out, interned.f32) if element in REDUCED else out
    power = 10.0 ** abs(decimals)
    before, after = ("Mul", "RealDiv") if decimals > 0 else ("RealDiv", "Mul")
    scaled = compute(before, self, power, out=wide)
    restored = compute(after, compute("Round", scaled, out=wide), power, out=wide)
    return ge.cast_to(restored, element)


@converts("abs(Tensor self) -> Tensor")
def absolute(self: Any, out: Any) -> Any:
    return magnitude_of(self) if is_complex(self) else compute("Abs", self, out=out)


@converts("sgn(Tensor self) -> Tensor")
def sgn(self: Any, out: Any) -> Any:
    """Of a complex number: the number of magnitude one in its direction, or zero."""
    return compute("Sign", self, out=out)


@converts(
    "add.Tensor(Tensor self, Tensor other, *, Scalar alpha=1) -> Tensor",
    "add.Scalar(Tensor self, Scalar other, Scalar alpha=1) -> Tensor",
    "prims::add(Tensor self, Tensor other) -> Tensor",
)
def add(self: Any, other: Any, out: Any, alpha: Any = 1) -> Any:
    if is_bool(out):
        return compute("LogicalOr", self, _bool_scaled(other, alpha), out=out)
    if is_number(alpha) and is_number(other):
        return _shift(self, other * alpha, out)
    if is_number(alpha) and alpha == 1:
        if is_number(self):
            return _shift(other, self, out)
        return compute("Add", self, other, out=out)
    return _add_scaled(self, other, alpha, out)


@converts(
    "sub.Tensor(Tensor self, Tensor other, *, Scalar alpha=1) -> Tensor",
    "sub.Scalar(Tensor self, Scalar other, Scalar alpha=1) -> Tensor",
    "prims::sub(Tensor self, Tensor other) -> Tensor",
)
def sub(self: Any, other: Any, out: Any, alpha: Any = 1) -> Any:
    if is_number(alpha) and is_number(other) and is_floating(out):
        return _shift(self, -(other * alpha), out)
    if is_number(alpha) and alpha == 1:
        return compute("Sub", self, other, out=out)
    if is_number(alpha):
        return _add_scaled(self, other, -alpha, out)
    return compute("Sub", self, compute("Mul", other, alpha, out=_type_of(other, out)), out=out)


@converts(
    "rsub.Tensor(Tensor self, Tensor other, *, Scalar alpha=1) -> Tensor",
    "rsub.Scalar(Tensor self, Scalar other, Scalar alpha=1) -> Tensor",
)
def rsub(self: Any, other: Any, out: Any, alpha: Any = 1) -> Any:
    return sub(other, self, out, alpha)


def _bool_scaled(other: Any, alpha: Any) -> Any:
    if not is_number(alpha):
        raise ConversionError(
            "adding bool tensors takes a constant alpha", hint="use torch.logical_or"
        )
    return other if alpha else False


def _shift(self: Any, distance: Any, out: Any) -> SSAValue:
    """Tensor plus number; ``Adds`` holds the number as a float32."""
    if interned.element_type(out) in (interned.f32, interned.f16):
        return compute("Adds", self, out=out, value=float(distance))
    return compute("Add", self, distance, out=out)


def _add_scaled(self: Any, other: Any, alpha: Any, out: Any) -> SSAValue:
    """``self + alpha * other``; the attribute of ``Axpy`` is a float32."""
    element = interned.element_type(out)
    is_exact = is_number(alpha) and (is_floating(out) or abs(alpha) <= 2**24)
    if is_exact and has_type("Axpy", element) and not is_number(self):
        return compute("Axpy", self, other, out=out, alpha=float(alpha))
    if not is_number(alpha) and has_type("AxpyV2", element):
        return compute("AxpyV2", self, other, alpha, out=out)
    scaled = compute("Mul", other, alpha, out=_type_of(other, out))
    return compute("Add", self, scaled, out=out)


def _type_of(value: Any, out: Attribute) -> Attribute:
    """Type of a pointwise function of one operand, with the result's element type."""
    element = interned.element_type(out)
    return element if is_number(value) else with_element(value.type, element)


@converts(
    "mul.Tensor(Tensor self, Tensor other) -> Tensor",
    "mul.Scalar(Tensor self, Scalar other) -> Tensor",
    "prims::mul(Tensor self, Tensor other) -> Tensor",
)
def mul(self: Any, other: Any, out: Any) -> Any:
    if is_number(self):
        self, other = other, self
    element = interned.element_type(out)
    if element == interned.i1:
        return compute("LogicalAnd", self, other, out=out)
    if not is_number(other):
        return compute("Mul", self, other, out=out)
    if other == 1:
        return operand(self, element)
    if element in (interned.f32, *REDUCED):
        return compute("Muls", self, out=out, value=float(other))
    return compute("Mul", self, other, out=out)


@converts(
    "div.Tensor(Tensor self, Tensor other) -> Tensor",
    "div.Scalar(Tensor self, Scalar other) -> Tensor",
)
def div(self: Any, other: Any, out: Any) -> Any:
    if is_number(other) and _is_power_of_two(other):
        return mul(self, 1.0 / other, out)
    return compute_opmath("RealDiv", self, other, out=out)


def _is_power_of_two(value: Any) -> bool:
    """Dividing by these is multiplying by the inverse, whose exponent fits every float type."""
    if isinstance(value, complex) or not math.isfinite(value):
        return False
    return abs(math.frexp(value)[0]) == 0.5 and 2**-8 < abs(value) < 2**8


@converts(
    "div.Tensor_mode(Tensor self, Tensor other, *, str? rounding_mode) -> Tensor",
    "div.Scalar_mode(Tensor self, Scalar other, *, str? rounding_mode) -> Tensor",
)
def div_mode(self: Any, other: Any, out: Any, rounding_mode: Any = None) -> Any:
    if rounding_mode is None:
        return div(self, other, out)
    op = {"floor": "FloorDiv", "trunc": "TruncateDiv"}[rounding_mode]
    return compute_opmath(op, self, other, out=out)


@converts("floor_divide(Tensor self, Tensor other) -> Tensor")
def floor_divide(self: Any, other: Any, out: Any) -> Any:
    return compute_opmath("FloorDiv", self, other, out=out)


@converts(
    "remainder.Tensor(Tensor self, Tensor other) -> Tensor",
    "remainder.Scalar(Tensor self, Scalar other) -> Tensor",
    "remainder.Scalar_Tensor(Scalar self, Tensor other) -> Tensor",
)
def remainder(self: Any, other: Any, out: Any) -> Any:
    return compute("FloorMod", self, other, out=out)


@converts(
    "fmod.Tensor(Tensor self, Tensor other) -> Tensor",
    "fmod.Scalar(Tensor self, Scalar other) -> Tensor",
)
def fmod(self: Any, other: Any, out: Any) -> Any:
    return compute("Mod", self, other, out=out)


@converts(
    "pow.Tensor_Tensor(Tensor self, Tensor exponent) -> Tensor",
    "pow.Scalar(Scalar self, Tensor exponent) -> Tensor",
)
def pow_tensor(self: Any, exponent: Any, out: Any) -> Any:
    return compute("Pow", self, exponent, out=out)


@converts("pow.Tensor_Scalar(Tensor self, Scalar exponent) -> Tensor")
def pow_scalar(self: Any, exponent: Any, out: Any) -> Any:
    element = interned.element_type(out)
    if is_number(exponent):
        if exponent == 1:
            return operand(self, element)
        if exponent == 2 and has_type("Square", element):
            return compute("Square", self, out=out)
        if exponent == 0.5 and is_floating(out):
            return compute("Sqrt", self, out=out)
    return compute("Pow", self, exponent, out=out)


@converts("atan2(Tensor self, Tensor other) -> Tensor")
def atan2(self: Any, other: Any, out: Any) -> Any:
    return compute("Atan2", self, other, out=out)


@converts(
    "xlogy.Tensor(Tensor self, Tensor other) -> Tensor",
    "xlogy.Scalar_Self(Scalar self, Tensor other) -> Tensor",
    "xlogy.Scalar_Other(Tensor self, Scalar other) -> Tensor",
)
def xlogy(self: Any, other: Any, out: Any) -> Any:
    return compute("Xlogy", self, other, out=out)


@converts(
    "maximum(Tensor self, Tensor other) -> Tensor",
    "prims::maximum(Tensor self, Tensor other) -> Tensor",
)
def maximum(self: Any, other: Any, out: Any) -> Any:
    return compute("LogicalOr" if is_bool(out) else "Maximum", self, other, out=out)


@converts(
    "minimum(Tensor self, Tensor other) -> Tensor",
    "prims::minimum(Tensor self, Tensor other) -> Tensor",
)
def minimum(self: Any, other: Any, out: Any) -> Any:
    return compute("LogicalAnd" if is_bool(out) else "Minimum", self, other, out=out)


@converts(
    "clamp(Tensor self, Scalar? min=None, Scalar? max=None) -> Tensor",
    "clamp.Tensor(Tensor self, Tensor? min=None, Tensor? max=None) -> Tensor",
    "clamp_min(Tensor self, Scalar min) -> Tensor",
    "clamp_min.Tensor(Tensor self, Tensor min) -> Tensor",
    "clamp_max(Tensor self, Scalar max) -> Tensor",
    "clamp_max.Tensor(Tensor self, Tensor max) -> Tensor",
)
def clamp(self: Any, out: Any, min: Any = None, max: Any = None) -> Any:
    if max is None:
        if is_number(min) and min == 0 and has_type("Relu", interned.element_type(out)):
            return compute("Relu", self, out=out)
        return compute("Maximum", self, min, out=out)
    if min is None:
        return compute("Minimum", self, max, out=out)
    if min == 0 and max == 6 and has_type("Relu6", interned.element_type(out)):
        return compute("Relu6", self, out=out)
    return compute("ClipByValueV2", self, min, max, out=out)


@converts("hardtanh(Tensor self, Scalar min_val=-1, Scalar max_val=1) -> Tensor")
def hardtanh(self: Any, out: Any, min_val: Any = -1, max_val: Any = 1) -> Any:
    return clamp(self, out, min_val, max_val)


@converts("addcmul(Tensor self, Tensor tensor1, Tensor tensor2, *, Scalar value=1) -> Tensor")
def addcmul(self: Any, tensor1: Any, tensor2: Any, out: Any, value: Any = 1) -> Any:
    return _scaled_pair("Addcmul", self, tensor1, tensor2, value, out)


@converts("addcdiv(Tensor self, Tensor tensor1, Tensor tensor2, *, Scalar value=1) -> Tensor")
def addcdiv(self: Any, tensor1: Any, tensor2: Any, out: Any, value: Any = 1) -> Any:
    return _scaled_pair("Addcdiv", self, tensor1, tensor2, value, out)


def _scaled_pair(op: str, self: Any, first: Any, second: Any, value: Any, out: Any) -> SSAValue:
    element = interned.element_type(out)
    if element_types.is_complex(element):
        pair = compute("Mul" if op == "Addcmul" else "RealDiv", first, second, out=out)
        return _add_scaled(self, pair, value, out)
    if loses_precision(value, element):
        wide = with_element(out, interned.f32)
        return ge.cast_to(compute(op, self, first, second, value, out=wide), element)
    return compute(op, self, first, second, value, out=out)


@converts("prims::fma(Tensor a, Tensor b, Tensor c) -> Tensor")
def fma(a: Any, b: Any, c: Any, out: Any) -> Any:
    """``a * b + c``: dynamo writes ``addcmul_`` and ``addcdiv_`` so, with a number for ``b``."""
    if is_number(b):
        return _add_scaled(c, a, b, out)
    return compute("Add", compute("Mul", a, b, out=out), c, out=out)


@converts(
    "lerp.Scalar(Tensor self, Tensor end, Scalar weight) -> Tensor",
    "lerp.Tensor(Tensor self, Tensor end, Tensor weight) -> Tensor",
)
def lerp(self: Any, end: Any, weight: Any, out: Any) -> Any:
    if has_type("Lerp", interned.element_type(out)):
        return compute_opmath("Lerp", self, end, weight, out=out)
    step = compute("Mul", compute("Sub", end, self, out=out), weight, out=out)
    return compute("Add", self, step, out=out)


@converts(
    "nan_to_num(Tensor self, float? nan=None, float? posinf=None, float? neginf=None) -> Tensor"
)
def nan_to_num(self: Any, out: Any, nan: Any = None, posinf: Any = None, neginf: Any = None) -> Any:
    if not is_floating(out):
        return self
    element = interned.element_type(out)
    low, high = _finite_range(element)
    chosen = {
        "nan": 0.0 if nan is None else nan,
        "posinf": high if posinf is None else posinf,
        "neginf": low if neginf is None else neginf,
    }
    if element != interned.f64:
        settings: dict[str, Any] = {k: float(v) for k, v in chosen.items()}
        return compute("NanToNum", self, out=out, **settings)
    flag = with_element(out, interned.i1)
    result = self
    for test, bound in ((chosen["posinf"], math.inf), (chosen["neginf"], -math.inf)):
        hit = compute("Equal", self, bound, out=flag, element=element)
        result = ge.call("SelectV2", hit, number(test, element), result, out=out)
    hit = compute("IsNan", self, out=flag, element=element)
    return ge.call("SelectV2", hit, number(chosen["nan"], element), result, out=out)


def _finite_range(element: Attribute) -> tuple[float, float]:
    high = {
        "float16": 65504.0,
        "bfloat16": math.ldexp(255.0, 120),
        "float32": math.ldexp(2.0**24 - 1, 104),
        "float64": math.ldexp(2.0**53 - 1, 971),
    }[element_types.to_name(element)]
    return -high, high
