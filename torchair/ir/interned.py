"""Interned types and attributes: equal ones are one object, so identity is equality.

xDSL builds every attribute anew (7-30 us each) and compares by value. The verifier's memo, the
cached printer and CSE rely on interning; an attribute that did not come from here is still correct,
only slower.
"""

# xDSL's generic classes narrow to Unknown parameters under isinstance.
# pyright: reportUnknownArgumentType=false, reportUnknownMemberType=false
# pyright: reportUnknownVariableType=false

from __future__ import annotations

import math
import struct
from collections.abc import Sequence
from typing import Any, TypeVar, cast

from xdsl.dialects.builtin import (
    DYNAMIC_INDEX,
    ArrayAttr,
    BFloat16Type,
    ComplexType,
    DenseArrayBase,
    Float16Type,
    Float32Type,
    Float64Type,
    FloatAttr,
    IntAttr,
    IntegerAttr,
    IntegerType,
    NoneType,
    Signedness,
    StringAttr,
    TensorType,
    UnitAttr,
    UnrankedTensorType,
)
from xdsl.ir import Attribute

AttributeT = TypeVar("AttributeT", bound=Attribute)

f16 = Float16Type()
f32 = Float32Type()
f64 = Float64Type()
bf16 = BFloat16Type()
i1 = IntegerType(1)
i8 = IntegerType(8)
i16 = IntegerType(16)
i32 = IntegerType(32)
i64 = IntegerType(64)
ui8 = IntegerType(8, Signedness.UNSIGNED)
ui16 = IntegerType(16, Signedness.UNSIGNED)
ui32 = IntegerType(32, Signedness.UNSIGNED)
ui64 = IntegerType(64, Signedness.UNSIGNED)
complex32 = ComplexType(f16)
complex64 = ComplexType(f32)
complex128 = ComplexType(f64)
none_type = NoneType()
unit = UnitAttr()
DYNAMIC = DYNAMIC_INDEX
"""The dimension that stands for an unknown or symbolic size (printed ``?``)."""

_canonical: dict[Any, Attribute] = {
    attribute: attribute
    for attribute in (
        f16, f32, f64, bf16, i1, i8, i16, i32, i64, ui8, ui16, ui32, ui64,
        complex32, complex64, complex128, none_type, unit,
    )
}  # fmt: skip
_tensors: dict[int, tuple[Attribute, dict[Any, TensorType[Any]]]] = {}
"""By the id of the element type, which is kept."""
_unranked: dict[Attribute, UnrankedTensorType[Any]] = {}
_ints: dict[int, IntegerAttr[Any]] = {}
_int_lists: dict[tuple[int, ...], DenseArrayBase[Any]] = {}
_segments: dict[tuple[int, ...], DenseArrayBase[Any]] = {}
_strings: dict[str, StringAttr] = {}
_floats: dict[tuple[str, bool], FloatAttr[Any]] = {}

true = IntegerAttr(-1, i1)
false = IntegerAttr(0, i1)
_canonical[true] = true
_canonical[false] = false


def canonical(attribute: AttributeT) -> AttributeT:
    """The one object that stands for all attributes equal to this one."""
    return cast(AttributeT, _canonical.setdefault(attribute, attribute))


def tensor(
    shape: Sequence[int], element: Attribute, symbols: Sequence[str] | None = None
) -> TensorType[Any]:
    """A ranked tensor type.

    Args:
        shape: sizes, ``DYNAMIC`` where unknown or symbolic.
        element: element type.
        symbols: one expression per dimension (``"s0"``, ``"4096"``), kept as the encoding so that a
            reader sees which dimensions are equal; None when every size is static or unknown.
    """
    family = _tensors.get(id(element))
    if family is None:
        family = _tensors[id(element)] = (element, {})
    key = (tuple(shape), None if symbols is None else tuple(symbols))
    found = family[1].get(key)
    if found is None:
        dims = [IntAttr(size) for size in shape]
        if symbols is None:
            built = TensorType(element, dims)
        else:
            built = TensorType(element, dims, ArrayAttr([string(s) for s in symbols]))
        found = family[1][key] = canonical(built)
    return found


def unranked(element: Attribute) -> UnrankedTensorType[Any]:
    """A tensor type of unknown rank."""
    found = _unranked.get(element)
    if found is None:
        found = _unranked[element] = canonical(UnrankedTensorType(element))
    return found


def integer(value: int) -> IntegerAttr[Any]:
    """``value : i64``."""
    found = _ints.get(value)
    if found is None:
        found = canonical(IntegerAttr(value, i64))
        _ints[value] = found
    return found


def boolean(value: bool) -> IntegerAttr[Any]:
    """``true`` or ``false``."""
    return true if value else false


def floating(value: float, single: bool = False) -> FloatAttr[Any]:
    """A float attribute, f64 unless ``single``; keyed by its text so that -0.0 and nan are kept."""
    if single:
        value = round_to_single(value)
    key = (float.hex(value), single)
    found = _floats.get(key)
    if found is None:
        found = _floats[key] = FloatAttr(value, f32 if single else f64)
    return found


def round_to_single(value: float) -> float:
    """The float32 nearest to ``value``; infinite where float32 overflows."""
    try:
        return struct.unpack("f", struct.pack("f", value))[0]
    except OverflowError:
        return math.copysign(math.inf, value)


def int_list(values: Sequence[int]) -> DenseArrayBase[Any]:
    """``array<i64: ...>``."""
    key = tuple(values)
    found = _int_lists.get(key)
    if found is None:
        found = canonical(DenseArrayBase.from_list(i64, key))
        _int_lists[key] = found
    return found


def segments(sizes: Sequence[int]) -> DenseArrayBase[Any]:
    """``array<i32: ...>`` of operand or result segment sizes."""
    key = tuple(sizes)
    found = _segments.get(key)
    if found is None:
        found = canonical(DenseArrayBase.from_list(i32, key))
        _segments[key] = found
    return found


def string(value: str) -> StringAttr:
    """A string attribute."""
    found = _strings.get(value)
    if found is None:
        found = _strings[value] = canonical(StringAttr(value))
    return found


def element_type(type_: Attribute) -> Attribute:
    """Element type of a (ranked or unranked) tensor type; a scalar type is its own element type."""
    cls = type_.__class__
    if cls is TensorType or cls is UnrankedTensorType:
        return cast("TensorType[Any]", type_).element_type
    return type_


def symbols_of(type_: Attribute) -> tuple[str, ...] | None:
    """Expressions of a tensor type's sizes (``("s0", "4096")``), None when it has no symbols."""
    return _sizes_of(type_)[1]


def shape_of(type_: Attribute) -> tuple[int, ...] | None:
    """Sizes of a ranked tensor type (``DYNAMIC`` where unknown), None when the rank is unknown."""
    return _sizes_of(type_)[0]


_Sizes = tuple[tuple[int, ...] | None, tuple[str, ...] | None, Attribute]
"""Sizes and their expressions, and the type, which is kept so that its id stays its own."""
_sizes: dict[int, _Sizes] = {}
_SIZES_LIMIT = 100_000


def _sizes_of(type_: Attribute) -> _Sizes:
    found = _sizes.get(id(type_))
    if found is None:
        if len(_sizes) >= _SIZES_LIMIT:
            _sizes.clear()
        found = _sizes[id(type_)] = (*_read_sizes(type_), type_)
    return found


def _read_sizes(type_: Attribute) -> tuple[tuple[int, ...] | None, tuple[str, ...] | None]:
    if not isinstance(type_, TensorType):
        return None, None
    encoding = type_.encoding
    symbols = None
    if isinstance(encoding, ArrayAttr):
        symbols = tuple(entry.data for entry in encoding if isinstance(entry, StringAttr))
    return tuple(type_.get_shape()), symbols


def is_equal(left: Attribute, right: Attribute) -> bool:
    """Whether two types are equal; what was interned answers without a look at its parts."""
    if left is right:
        return True
    if shape_of(left) != shape_of(right):
        return False
    return left == right
