"""PyTorch's type promotion, without torch.

Source: ``c10/core/ScalarType.h`` (``promoteTypes``) and ``aten/src/ATen/native/TypeProperties.cpp``
(``result_type``). ``test/unit/test_promote_dtypes.py`` compares every pair with the installed
torch.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import IntEnum
from functools import reduce

from xdsl.ir import Attribute

from torchair.errors import ConversionError
from torchair.ir import element_types, interned

INTEGERS = {
    "bool": (0, 1), "uint8": (0, 8), "int8": (7, 7), "int16": (15, 15), "int32": (31, 31),
    "int64": (63, 63), "uint16": (0, 16), "uint32": (0, 32), "uint64": (0, 64),
}  # fmt: skip
"""Bits of the largest negative (0 when unsigned) and positive magnitude."""
FLOATS = {"float16": (11, 5), "bfloat16": (8, 8), "float32": (24, 8), "float64": (53, 11)}
"""Bits of significand and exponent."""
COMPLEX = {"complex32": "float16", "complex64": "float32", "complex128": "float64"}
"""The real type of each complex type."""
_COMPLEX_OF = {
    "float16": "complex32",
    "bfloat16": "complex64",
    "float32": "complex64",
    "float64": "complex128",
}
_SIGNED = ("int8", "int16", "int32", "int64")
_WIDE_UNSIGNED = ("uint16", "uint32", "uint64")


class Category(IntEnum):
    """How much say an operand has: a higher kind of number in a lower category still wins."""

    NUMBER = 0
    """A Python number or a symbolic scalar."""
    ZERO_DIM = 1
    """A tensor without dimensions."""
    DIMENSIONED = 2
    """A tensor with dimensions."""


def result_type(
    operands: Iterable[tuple[Attribute, Category]], default_float: Attribute = interned.f32
) -> Attribute:
    """The type in which PyTorch computes on these operands (``torch.result_type``).

    Args:
        operands: element type and category of each; numbers are ``i1``, ``i64``, ``f64`` or
            ``complex<f64>``.
        default_float: type that Python floats stand for (``torch.get_default_dtype()``).

    Raises:
        ConversionError: two of the types do not promote to a common one.
    """
    names: dict[Category, list[str]] = {}
    for element, category in operands:
        name = element_types.to_name(element)
        if category is Category.NUMBER:
            name = _number_type(name, element_types.to_name(default_float))
        names.setdefault(category, []).append(name)
    combined: str | None = None
    for category in sorted(names):
        combined = _combine(reduce(promote_names, names[category]), combined)
    if combined is None:
        raise ConversionError("no operand has a type", hint="pass at least one tensor or number")
    return element_types.from_name(combined)


def promote_types(a: Attribute, b: Attribute) -> Attribute:
    """The smallest type that PyTorch promotes both types to (``torch.promote_types``).

    Raises:
        ConversionError: the types do not promote.
    """
    names = promote_names(element_types.to_name(a), element_types.to_name(b))
    return element_types.from_name(names)


def promote_names(a: str, b: str) -> str:
    """``promote_types`` on canonical names."""
    if a == b:
        return a
    wide = [name for name in (a, b) if name in _WIDE_UNSIGNED]
    if wide and a not in FLOATS and b not in FLOATS:
        raise _no_promotion(a, b)
    if a in COMPLEX or b in COMPLEX:
        return _promote_complex(a, b)
    if a in FLOATS and b in FLOATS:
        return _promote_floats(a, b)
    if a in FLOATS and b in INTEGERS:
        return a
    if b in FLOATS and a in INTEGERS:
        return b
    if a in INTEGERS and b in INTEGERS:
        return _promote_integers(a, b)
    raise _no_promotion(a, b)


def _promote_complex(a: str, b: str) -> str:
    if a in COMPLEX and b in INTEGERS:
        return a
    if b in COMPLEX and a in INTEGERS:
        return b
    real_a, real_b = COMPLEX.get(a, a), COMPLEX.get(b, b)
    if real_a not in FLOATS or real_b not in FLOATS:
        raise _no_promotion(a, b)
    return _COMPLEX_OF[_promote_floats(real_a, real_b)]


def _promote_floats(a: str, b: str) -> str:
    if {a, b} == {"float16", "bfloat16"}:
        return "float32"
    return max(a, b, key=lambda name: FLOATS[name][0] + FLOATS[name][1])


def _promote_integers(a: str, b: str) -> str:
    if "bool" in (a, b):
        return a if b == "bool" else b
    if "uint8" in (a, b):
        signed = a if b == "uint8" else b
        return "int16" if signed == "int8" else signed
    return max(a, b, key=_SIGNED.index)


def _no_promotion(a: str, b: str) -> ConversionError:
    return ConversionError(
        f"{a} and {b} have no common type",
        hint="convert one operand in the model, e.g. with tensor.to(torch.float32)",
    )


def _number_type(name: str, default_float: str) -> str:
    if name in COMPLEX:
        return _COMPLEX_OF[default_float]
    return default_float if name in FLOATS else name


def _combine(higher: str, lower: str | None) -> str:
    """Type of two categories together: the lower one counts only where it is of a higher kind."""
    if lower is None or higher in COMPLEX:
        return higher
    if higher not in INTEGERS:
        if lower in COMPLEX and higher not in _COMPLEX_OF:
            raise _no_promotion(higher, lower)
        return _COMPLEX_OF[higher] if lower in COMPLEX else higher
    if lower in COMPLEX:
        return lower
    return promote_names(higher, lower) if higher == "bool" or lower not in INTEGERS else higher


def loses_nothing(source: Attribute, target: Attribute) -> bool:
    """Whether every value of one element type is a value of another."""
    a, b = element_types.to_name(source), element_types.to_name(target)
    if b in COMPLEX:
        a, b = COMPLEX.get(a, a), COMPLEX[b]
    if a == b:
        return True
    if a in INTEGERS and b in INTEGERS:
        return all(x <= y for x, y in zip(INTEGERS[a], INTEGERS[b], strict=True))
    if a in INTEGERS and b in FLOATS:
        return max(INTEGERS[a]) <= FLOATS[b][0]
    if a in FLOATS and b in FLOATS:
        return all(x <= y for x, y in zip(FLOATS[a], FLOATS[b], strict=True))
    return False
