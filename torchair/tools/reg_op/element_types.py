"""``TensorType`` expressions of operator prototypes: which element types a port takes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from torchair.dialects.ge import dtypes


def _symbols(text: str) -> frozenset[str]:
    return frozenset(dtypes.BY_SYMBOL[f"DT_{word}"].name for word in text.split())


_FLOATS = "FLOAT16 FLOAT DOUBLE"
_SIGNED = "INT8 INT16 INT32 INT64"
_UNSIGNED = "UINT8 UINT16 UINT32 UINT64"
_COMPLEX = "COMPLEX32 COMPLEX64 COMPLEX128"
_REAL = f"{_FLOATS} BF16 {_SIGNED} {_UNSIGNED}"
_BASIC = f"{_REAL} {_COMPLEX} QINT8 QINT16 QINT32 QUINT8 QUINT16"

CLASSES: Final[Mapping[str, frozenset[str]]] = {
    "ALL": frozenset(),
    "BasicType": _symbols(_BASIC),
    "ComplexDataType": _symbols(_COMPLEX),
    "FLOAT": _symbols("FLOAT16 FLOAT BF16"),
    "FloatingDataType": _symbols(_FLOATS),
    "IndexNumberType": _symbols("INT32 INT64"),
    "IntegerDataType": _symbols(f"{_SIGNED} {_UNSIGNED}"),
    "NumberType": _symbols(f"{_REAL} {_COMPLEX} QINT8 QINT32 QUINT8"),
    "OrdinaryType": _symbols(f"{_REAL} {_COMPLEX} BOOL"),
    "QuantifiedType": _symbols("QINT8 QINT16 QINT32 QUINT8 QUINT16"),
    "RealNumberType": _symbols(_REAL),
    "SignedDataType": _symbols(_SIGNED),
    "UnaryDataType": _symbols(f"{_FLOATS} BF16 {_COMPLEX}"),
    "UnsignedDataType": _symbols(_UNSIGNED),
}
"""Static members of ``TensorType`` in ``graph/types.h``; an empty set stands for any type."""


@dataclass(frozen=True, slots=True)
class Types:
    """Element types of a port or of a named data type.

    Args:
        names: canonical names; empty means any.
        symbol: the data type is the one of this name (``"T"``).
        promotes: the data type is what these named ones promote to.
        is_list: the tensors of a dynamic port may differ in type (``ListTensorType``).
    """

    names: frozenset[str] = frozenset()
    symbol: str = ""
    promotes: tuple[str, ...] = ()
    is_list: bool = False
