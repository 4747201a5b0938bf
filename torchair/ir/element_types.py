"""Element types by their canonical data type name (``float32``, ``bfloat16``, ``bool``...)."""

from __future__ import annotations

from xdsl.dialects.builtin import Float8E4M3FNType, Float8E5M2Type, IntegerType, StringAttr
from xdsl.ir import Attribute, ParametrizedAttribute, TypeAttribute
from xdsl.irdl import irdl_attr_definition, param_def

from torchair.errors import ConversionError
from torchair.ir import interned


@irdl_attr_definition
class DataTypeType(ParametrizedAttribute, TypeAttribute):
    """``!ge.dtype<"hifloat8">``: a data type of GE that MLIR has no type for."""

    name = "ge.dtype"
    dtype: StringAttr = param_def()


BY_NAME: dict[str, Attribute] = {
    "float32": interned.f32,
    "float16": interned.f16,
    "bfloat16": interned.bf16,
    "float64": interned.f64,
    "int8": interned.i8,
    "uint8": interned.ui8,
    "int16": interned.i16,
    "uint16": interned.ui16,
    "int32": interned.i32,
    "uint32": interned.ui32,
    "int64": interned.i64,
    "uint64": interned.ui64,
    "bool": interned.i1,
    "complex32": interned.complex32,
    "complex64": interned.complex64,
    "complex128": interned.complex128,
    "int4": interned.canonical(IntegerType(4)),
    "float8_e5m2": interned.canonical(Float8E5M2Type()),
    "float8_e4m3fn": interned.canonical(Float8E4M3FNType()),
}
_names: dict[Attribute, str] = {element: name for name, element in BY_NAME.items()}
_names_by_id: dict[int, str] = {id(element): name for name, element in BY_NAME.items()}
"""Of the elements in ``BY_NAME``, which live as long as the process."""


def from_name(name: str) -> Attribute:
    """Element type of a canonical name; types MLIR lacks become ``!ge.dtype<name>``."""
    found = BY_NAME.get(name)
    if found is None:
        found = BY_NAME[name] = interned.canonical(DataTypeType(StringAttr(name)))
        _names[found] = _names_by_id[id(found)] = name
    return found


def to_name(element: Attribute) -> str:
    """Canonical name of an element type.

    Raises:
        ConversionError: the type has no counterpart in PyTorch or GE.
    """
    found = _names_by_id.get(id(element)) or _names.get(element)
    if found is not None:
        return found
    if isinstance(element, DataTypeType):
        return element.dtype.data
    raise ConversionError(f"element type {element} is not a tensor data type of PyTorch or GE")


def is_floating(element: Attribute) -> bool:
    """Whether an element type is a real floating-point type."""
    return to_name(element).startswith(("float", "bfloat", "hifloat"))


def is_complex(element: Attribute) -> bool:
    """Whether an element type is complex."""
    return to_name(element).startswith("complex")
