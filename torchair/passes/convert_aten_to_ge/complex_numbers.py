"""Complex numbers: their parts, conjugates, angles, and how they are put together.

Arithmetic and mathematical functions of complex numbers are those of the elementwise family.
"""

from __future__ import annotations

import math
from typing import Any

from xdsl.ir import Attribute, SSAValue

from torchair.dialects.ge import builder as ge
from torchair.errors import ConversionError
from torchair.ir import element_types, interned
from torchair.passes.convert_aten_to_ge.operands import compute, is_number, number, with_element
from torchair.passes.convert_aten_to_ge.registry import converts

_REAL_TYPES: dict[Attribute, Attribute] = {
    interned.complex64: interned.f32,
    interned.complex128: interned.f64,
}


def is_complex(value: SSAValue | Attribute) -> bool:
    """Whether a value or type has complex elements."""
    type_ = value.type if isinstance(value, SSAValue) else value
    return element_types.is_complex(interned.element_type(type_))


def real_type(type_: Attribute) -> Attribute:
    """The type of the parts of a complex tensor.

    Raises:
        ConversionError: GE does not compute in this complex type.
    """
    found = _REAL_TYPES.get(interned.element_type(type_))
    if found is None:
        raise ConversionError(
            "GE has no complex numbers of float16",
            found=type_,
            hint="use complex64: x.to(torch.complex64), or float32 before torch.complex",
        )
    return with_element(type_, found)


def real_part(value: SSAValue) -> SSAValue:
    """Real parts, of complex64 or complex128."""
    return _part("Real", value)


def imaginary_part(value: SSAValue) -> SSAValue:
    """Imaginary parts, of complex64 or complex128."""
    return _part("Imag", value)


def complex_parts(value: SSAValue) -> tuple[SSAValue, SSAValue]:
    """Real and imaginary parts."""
    return real_part(value), imaginary_part(value)


def _part(op: str, value: SSAValue) -> SSAValue:
    part = real_type(value.type)
    return ge.call(op, value, Tout=interned.element_type(part), out=part)


def complex_of(real: SSAValue, imaginary: SSAValue, out: Attribute) -> SSAValue:
    """Complex numbers of real and imaginary parts, which are broadcast.

    Raises:
        ConversionError: GE has no such complex type.
    """
    real_type(out)
    return ge.call("Complex", real, imaginary, Tout=interned.element_type(out), out=out)


def conjugate(value: SSAValue) -> SSAValue:
    """Complex conjugates, of complex64 or complex128."""
    real_type(value.type)
    return ge.call("Conj", value, out=value.type)


def magnitude_of(value: SSAValue) -> SSAValue:
    """Absolute values of complex numbers; real ones as they are."""
    if not is_complex(value):
        return value
    part = real_type(value.type)
    return ge.call("ComplexAbs", value, Tout=interned.element_type(part), out=part)


@converts("complex(Tensor real, Tensor imag) -> Tensor")
def complex_(real: Any, imag: Any, out: Any) -> Any:
    return complex_of(real, imag, out)


@converts("polar(Tensor abs, Tensor angle) -> Tensor")
def polar(abs: Any, angle: Any, out: Any) -> Any:
    part = real_type(out)
    turn = [ge.call(op, angle, out=angle.type) for op in ("Cos", "Sin")]
    real, imaginary = [ge.call("Mul", abs, t, out=part) for t in turn]
    return complex_of(real, imaginary, out)


@converts("real(Tensor(a) self) -> Tensor(a)", "prims::real(Tensor(a) self) -> Tensor(a)")
def real(self: Any) -> Any:
    return real_part(self) if is_complex(self) else self


@converts("imag(Tensor(a) self) -> Tensor(a)", "prims::imag(Tensor(a) self) -> Tensor(a)")
def imag(self: Any) -> Any:
    return imaginary_part(self)


@converts(
    "_conj(Tensor(a) self) -> Tensor(a)",
    "_conj_copy(Tensor self) -> Tensor",
    "_conj_physical(Tensor self) -> Tensor",
    "conj(Tensor(a) self) -> Tensor(a)",
    "conj_physical(Tensor self) -> Tensor",
    "prims::conj_physical(Tensor self) -> Tensor",
)
def conj(self: Any, out: Any) -> Any:
    if is_number(self):
        return number(complex(self).conjugate(), interned.element_type(out))
    return conjugate(self) if is_complex(self) else self


@converts("prims::conj(Tensor(a) a) -> Tensor(a)")
def prims_conj(a: Any, out: Any) -> Any:
    return conj(a, out)


@converts(
    "resolve_conj(Tensor(a) self) -> Tensor(a)",
    "resolve_neg(Tensor(a) self) -> Tensor(a)",
)
def resolve(self: Any) -> Any:
    """Values in a graph are never lazily conjugated or negated."""
    return self


@converts("_neg_view(Tensor(a) self) -> Tensor(a)", "_neg_view_copy(Tensor self) -> Tensor")
def neg_view(self: Any, out: Any) -> Any:
    return compute("Neg", self, out=out)


@converts("angle(Tensor self) -> Tensor")
def angle(self: Any, out: Any) -> Any:
    """Of a real number: pi where it is negative, else 0; NaN stays."""
    if is_complex(self):
        real_type(self.type)
        return ge.call("Angle", self, Tout=interned.element_type(out), out=out)
    element = ge.element(self)
    kind, flag = interned.element_type(out), with_element(out, interned.i1)
    if element == interned.i1 or element_types.to_name(element).startswith("uint"):
        return ge.call("ZerosLike", ge.cast_to(self, kind), out=out)
    negative = compute("Less", self, 0, out=flag, element=element)
    turn = ge.call("SelectV2", negative, number(math.pi, kind), number(0.0, kind), out=out)
    if not element_types.is_floating(element):
        return turn
    missing = compute("IsNan", self, out=flag, element=element)
    return ge.call("SelectV2", missing, ge.cast_to(self, kind), turn, out=out)
