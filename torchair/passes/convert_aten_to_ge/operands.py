"""Operands in the element types that GE operators take: numbers become constants, narrow types are
widened where that is exact, and results come back in the type that ATen gives."""

from __future__ import annotations

import cmath
import math
import struct
from functools import cache
from typing import Any

from xdsl.ir import Attribute, SSAValue

from torchair.dialects.ge import builder as ge
from torchair.dialects.ge import registry
from torchair.errors import ConversionError
from torchair.ir import element_types, interned

_WIDER: dict[str, tuple[str, ...]] = {
    "bool": ("int8", "uint8", "int32", "int64"),
    "int8": ("int16", "int32", "int64"),
    "uint8": ("int16", "int32", "int64"),
    "int16": ("int32", "int64"),
    "uint16": ("int32", "int64"),
    "int32": ("int64",),
    "uint32": ("int64",),
    "float16": ("float32", "float64"),
    "bfloat16": ("float32", "float64"),
    "float32": ("float64",),
    "complex64": ("complex128",),
}
"""For each type, those that hold all its values and compute what it computes, cheapest first."""

REDUCED = (interned.f16, interned.bf16)


@cache
def has_type(op: str, element: Attribute) -> bool:
    """Whether a GE operator takes an element type (judged by its first input)."""
    port = ge.op_class(op).spec.inputs[0]
    return not port.dtypes or element_types.to_name(element) in port.dtypes


@cache
def supported_type(op: str, element: Attribute) -> Attribute:
    """The element type itself, or the nearest wider one that a GE operator takes.

    Raises:
        ConversionError: there is none.
    """
    name = element_types.to_name(element)
    for candidate in (name, *_WIDER.get(name, ())):
        if has_type(op, element_types.from_name(candidate)):
            return element_types.from_name(candidate)
    allowed = registry.lookup(op)
    assert allowed is not None, "has_type looked the operator up"
    raise ConversionError(
        f"GE's {op} does not compute in {name}",
        expected=", ".join(sorted(allowed.inputs[0].dtypes)),
        found=name,
        hint="cast the operand (x.to(torch.float32) or x.to(torch.int32)) before this call",
    )


def with_element(type_: Attribute, element: Attribute) -> Attribute:
    """A tensor type with another element type."""
    if interned.element_type(type_) == element:
        return type_
    sizes = interned.shape_of(type_)
    return interned.unranked(element) if sizes is None else interned.tensor(sizes, element)


def shape_of(value: SSAValue) -> tuple[int, ...]:
    """Sizes of a value, ``DYNAMIC`` where unknown.

    Raises:
        ConversionError: the rank is unknown.
    """
    sizes = interned.shape_of(value.type)
    if sizes is None:
        raise ConversionError("the rank of an operand is unknown", found=value.type)
    return sizes


def has_text(value: complex) -> bool:
    """Whether a constant of this number can be read back from MLIR's text."""
    return not isinstance(value, complex) or cmath.isfinite(value)


def number(value: complex, element: Attribute) -> SSAValue:
    """A 0-d constant: the number converted to the type as PyTorch does.

    A complex number with a part that is infinite or NaN is put together of its parts.
    """
    found = rounded(value, element)
    if not isinstance(found, complex) or has_text(found):
        return ge.current().constant(found, element)
    part = interned.f32 if element == interned.complex64 else interned.f64
    parts = [ge.current().constant(v, part) for v in (found.real, found.imag)]
    return ge.call("Complex", *parts, Tout=element, out=interned.tensor([], element))


def rounded(value: complex, element: Attribute) -> Any:
    """The value of a number in an element type.

    Floats that are too large become infinite, integers wrap, and a bool tells zero from the rest.
    """
    if isinstance(value, complex):
        return _rounded_complex(value, element)
    if element == interned.f16:
        try:
            return struct.unpack("e", struct.pack("e", value))[0]
        except OverflowError:
            return math.copysign(math.inf, value)
    if element == interned.f32:
        return interned.round_to_single(value)
    if element == interned.bf16:
        return _round_to_bfloat16(interned.round_to_single(value))
    name = element_types.to_name(element)
    if name == "bool":
        return bool(value)
    if "int" in name:
        return _wrapped(int(value), int(name.lstrip("uint")), name.startswith("u"))
    return value


def _rounded_complex(value: complex, element: Attribute) -> Any:
    single = interned.round_to_single
    if element == interned.complex64:
        return complex(single(value.real), single(value.imag))
    return value


def _wrapped(value: int, bits: int, is_unsigned: bool) -> int:
    value %= 1 << bits
    return value if is_unsigned or value < 1 << (bits - 1) else value - (1 << bits)


def _round_to_bfloat16(value: float) -> float:
    if not math.isfinite(value):
        return value
    bits = struct.unpack("I", struct.pack("f", value))[0]
    bits = (bits + 0x7FFF + ((bits >> 16) & 1)) & 0xFFFF0000  # ties to even
    return struct.unpack("f", struct.pack("I", bits))[0]


def is_number(value: Any) -> bool:
    """Whether an argument is a Python number rather than a tensor or symbolic value."""
    return not isinstance(value, SSAValue)


def operand(value: Any, element: Attribute) -> SSAValue:
    """A tensor of exactly this element type: a number becomes a constant, another type a cast."""
    if is_number(value):
        return number(value, element)
    if element_types.is_complex(ge.element(value)) and not _holds_complex(element):
        raise ConversionError(
            "a complex operand of a function of real numbers",
            expected=element_types.to_name(element),
            found=element_types.to_name(ge.element(value)),
            hint="take the real and imaginary parts (x.real, x.imag) and compute with these",
        )
    return ge.cast_to(value, element)


def converted(value: Any, element: Attribute) -> SSAValue:
    """A tensor converted on request; of complex numbers, real types keep the real part."""
    return number(value, element) if is_number(value) else ge.cast_to(value, element)


def _holds_complex(element: Attribute) -> bool:
    """Whether converting a complex number keeps both parts, or asks whether it is zero."""
    return element == interned.i1 or element_types.is_complex(element)


def compute(
    op: str, *operands: Any, out: Attribute, element: Attribute | None = None, **attributes: Any
) -> SSAValue:
    """Append a GE operator with one result.

    Args:
        op: GE type.
        operands: tensors or numbers of one compute type; None for an absent optional input.
        out: type of the result.
        element: compute type; the result's by default.
        attributes: GE attributes.

    Returns:
        The result, in the element type of ``out``.

    Raises:
        ConversionError: neither the compute type nor a wider one is known to the operator.
    """
    wanted = interned.element_type(out)
    kind = supported_type(op, wanted if element is None else element)
    tensors = [None if v is None else operand(v, kind) for v in operands]
    computed = with_element(out, kind) if element is None else out
    return ge.cast_to(ge.call(op, *tensors, out=computed, **attributes), wanted)


def loses_precision(value: Any, element: Attribute) -> bool:
    """Whether a number changes when it is rounded to a 16-bit float type."""
    if element not in REDUCED or not is_number(value):
        return False
    single = interned.round_to_single(value)
    return not math.isnan(single) and rounded(single, element) != single


def compute_opmath(op: str, *operands: Any, out: Attribute) -> SSAValue:
    """``compute``, in float32 when a number would lose precision in a 16-bit float type.

    So do eager multiplications, divisions and interpolations, where the number is on the right;
    eager sums, remainders, powers and comparisons round the number first, and ``compute`` does.
    """
    wanted = interned.element_type(out)
    if not any(loses_precision(v, wanted) for v in operands[1:]):
        return compute(op, *operands, out=out)
    wide = compute(op, *operands, out=with_element(out, interned.f32))
    return ge.cast_to(wide, wanted)
