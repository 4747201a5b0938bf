"""Special functions that GE has operators for; torchair/frontend/decompositions/special.py writes
others in terms of these."""

from __future__ import annotations

from typing import Any

from torchair.dialects.ge import builder as ge
from torchair.ir import interned
from torchair.passes.convert_aten_to_ge.operands import REDUCED, compute, with_element
from torchair.passes.convert_aten_to_ge.recipes import require
from torchair.passes.convert_aten_to_ge.registry import converts

_UNARY = {
    "special_i0e": "BesselI0e",
    "special_i1e": "BesselI1e",
    "special_ndtri": "Ndtri",
}
_BINARY = {"igamma": "Igamma", "igammac": "Igammac"}


def _register_unary(name: str, op: str) -> None:
    @converts(f"{name}(Tensor self) -> Tensor")
    def _(self: Any, out: Any) -> Any:
        return compute(op, self, out=out)


def _register_binary(name: str, op: str) -> None:
    @converts(f"{name}(Tensor self, Tensor other) -> Tensor")
    def _(self: Any, other: Any, out: Any) -> Any:
        return compute(op, self, other, out=out)


for _name, _op in _UNARY.items():
    _register_unary(_name, _op)
for _name, _op in _BINARY.items():
    _register_binary(_name, _op)


@converts(
    "special_zeta(Tensor self, Tensor other) -> Tensor",
    "special_zeta.self_scalar(Scalar self, Tensor other) -> Tensor",
    "special_zeta.other_scalar(Tensor self, Scalar other) -> Tensor",
)
def zeta(self: Any, other: Any, out: Any) -> Any:
    return compute("Zeta", self, other, out=out)


@converts("nextafter(Tensor self, Tensor other) -> Tensor")
def nextafter(self: Any, other: Any, out: Any) -> Any:
    """Of 32 or 64 bits: a step of a wider type is another number."""
    require("NextAfter", self)
    return compute("NextAfter", self, other, out=out)


@converts("gcd(Tensor self, Tensor other) -> Tensor")
def gcd(self: Any, other: Any, out: Any) -> Any:
    """Of up to 32 bits; wider numbers are decomposed."""
    return compute("Gcd", self, other, out=out)


@converts(
    "i0(Tensor self) -> Tensor",
    "special_modified_bessel_i0(Tensor self) -> Tensor",
)
def i0(self: Any, out: Any) -> Any:
    return _unscaled("BesselI0e", self, out)


@converts(
    "special_i1(Tensor self) -> Tensor",
    "special_modified_bessel_i1(Tensor self) -> Tensor",
)
def i1(self: Any, out: Any) -> Any:
    return _unscaled("BesselI1e", self, out)


def _unscaled(op: str, self: Any, out: Any) -> Any:
    """A modified Bessel function: the scaled one times ``exp(|x|)``, in at least float32."""
    element = interned.element_type(out)
    wide = with_element(out, interned.f32) if element in REDUCED else out
    scaled = compute(op, self, out=wide)
    growth = compute("Exp", compute("Abs", self, out=wide), out=wide)
    return ge.cast_to(compute("Mul", scaled, growth, out=wide), element)
