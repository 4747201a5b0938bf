"""The one table of data types and tensor formats: names, protobuf and GE numbers, spellings.

GE knows two numberings of the same types. ``TensorDescriptor.dtype`` in the protobuf uses one,
attributes that hold a data type (``dt``, and ``i`` of ``Cast.dst_type``) use the other. GE never
reports a mix-up, so all code takes both from here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final


@dataclass(frozen=True, slots=True)
class DataType:
    """One element type.

    Attributes:
        name: the canonical spelling used in the whole project, e.g. ``float32``.
        symbol: the name of the enum constant, e.g. ``DT_FLOAT``.
        proto: value of ``ge.proto.DataType`` (tensor descriptors).
        ge: value of ``ge::DataType`` (attributes).
        bits: size of one element in bits, None when elements have no fixed size.
        mlir: builtin MLIR type, None when MLIR has none.
        numpy: numpy dtype name, None when numpy has none.
    """

    name: str
    symbol: str
    proto: int
    ge: int
    bits: int | None
    mlir: str | None
    numpy: str | None

    @property
    def itemsize(self) -> int | None:
        """Bytes of one element, None for packed sub-byte types and types of no fixed size."""
        return None if self.bits is None or self.bits % 8 else self.bits // 8

    def storage_bytes(self, elements: int) -> int | None:
        """Bytes that `elements` densely packed elements take, None for types of no fixed size."""
        return None if self.bits is None else (elements * self.bits + 7) // 8


#                    name           enum constant         proto ge  bits  MLIR            numpy
DATA_TYPES: Final[tuple[DataType, ...]] = (
    DataType("undefined", "DT_UNDEFINED", 0, 28, None, None, None),
    DataType("float32", "DT_FLOAT", 1, 0, 32, "f32", "float32"),
    DataType("float16", "DT_FLOAT16", 2, 1, 16, "f16", "float16"),
    DataType("int8", "DT_INT8", 3, 2, 8, "i8", "int8"),
    DataType("uint8", "DT_UINT8", 4, 4, 8, "ui8", "uint8"),
    DataType("int16", "DT_INT16", 5, 6, 16, "i16", "int16"),
    DataType("uint16", "DT_UINT16", 6, 7, 16, "ui16", "uint16"),
    DataType("int32", "DT_INT32", 7, 3, 32, "i32", "int32"),
    DataType("int64", "DT_INT64", 8, 9, 64, "i64", "int64"),
    DataType("uint32", "DT_UINT32", 9, 8, 32, "ui32", "uint32"),
    DataType("uint64", "DT_UINT64", 10, 10, 64, "ui64", "uint64"),
    DataType("bool", "DT_BOOL", 11, 12, 8, "i1", "bool"),
    DataType("float64", "DT_DOUBLE", 12, 11, 64, "f64", "float64"),
    DataType("string", "DT_STRING", 13, 13, None, None, None),
    DataType("dual_sub_int8", "DT_DUAL_SUB_INT8", 14, 14, 8, None, None),
    DataType("dual_sub_uint8", "DT_DUAL_SUB_UINT8", 15, 15, 8, None, None),
    DataType("complex64", "DT_COMPLEX64", 16, 16, 64, "complex<f32>", "complex64"),
    DataType("complex128", "DT_COMPLEX128", 17, 17, 128, "complex<f64>", "complex128"),
    DataType("qint8", "DT_QINT8", 18, 18, 8, None, None),
    DataType("qint16", "DT_QINT16", 19, 19, 16, None, None),
    DataType("qint32", "DT_QINT32", 20, 20, 32, None, None),
    DataType("quint8", "DT_QUINT8", 21, 21, 8, None, None),
    DataType("quint16", "DT_QUINT16", 22, 22, 16, None, None),
    DataType("resource", "DT_RESOURCE", 23, 23, None, None, None),
    DataType("string_ref", "DT_STRING_REF", 24, 24, None, None, None),
    DataType("dual", "DT_DUAL", 25, 25, None, None, None),
    DataType("variant", "DT_VARIANT", 26, 26, None, None, None),
    DataType("bfloat16", "DT_BF16", 27, 27, 16, "bf16", None),
    DataType("int4", "DT_INT4", 28, 29, 4, "i4", None),
    DataType("uint1", "DT_UINT1", 29, 30, 1, "ui1", None),
    DataType("int2", "DT_INT2", 30, 31, 2, "i2", None),
    DataType("uint2", "DT_UINT2", 31, 32, 2, "ui2", None),
    DataType("complex32", "DT_COMPLEX32", 32, 33, 32, "complex<f16>", None),
    DataType("hifloat8", "DT_HIFLOAT8", 33, 34, 8, None, None),
    DataType("float8_e5m2", "DT_FLOAT8_E5M2", 34, 35, 8, "f8E5M2", None),
    DataType("float8_e4m3fn", "DT_FLOAT8_E4M3FN", 35, 36, 8, "f8E4M3FN", None),
    DataType("float8_e8m0", "DT_FLOAT8_E8M0", 36, 37, 8, "f8E8M0FNU", None),
    DataType("float6_e3m2", "DT_FLOAT6_E3M2", 37, 38, 6, "f6E3M2FN", None),
    DataType("float6_e2m3", "DT_FLOAT6_E2M3", 38, 39, 6, "f6E2M3FN", None),
    DataType("float4_e2m1", "DT_FLOAT4_E2M1", 39, 40, 4, "f4E2M1FN", None),
    DataType("float4_e1m2", "DT_FLOAT4_E1M2", 40, 41, 4, None, None),
)

BY_NAME: Final[Mapping[str, DataType]] = MappingProxyType({t.name: t for t in DATA_TYPES})
BY_SYMBOL: Final[Mapping[str, DataType]] = MappingProxyType({t.symbol: t for t in DATA_TYPES})
BY_PROTO: Final[Mapping[int, DataType]] = MappingProxyType({t.proto: t for t in DATA_TYPES})
BY_GE: Final[Mapping[int, DataType]] = MappingProxyType({t.ge: t for t in DATA_TYPES})
BY_MLIR: Final[Mapping[str, DataType]] = MappingProxyType({t.mlir: t for t in DATA_TYPES if t.mlir})
BY_NUMPY: Final[Mapping[str, DataType]] = MappingProxyType(
    {t.numpy: t for t in DATA_TYPES if t.numpy}
)

FORMATS: Final[Mapping[str, int]] = MappingProxyType(
    {
        "UNDEFINED": -1,
        "NCHW": 0,
        "NHWC": 1,
        "ND": 2,
        "NC1HWC0": 3,
        "FRACTAL_Z": 4,
        "NC1HWC0_C04": 12,
        "HWCN": 16,
        "NDHWC": 27,
        "FRACTAL_NZ": 29,
        "NCDHW": 30,
        "NDC1HWC0": 32,
        "FRACTAL_Z_3D": 33,
        "NC": 35,
        "NCL": 47,
        "FRACTAL_NZ_C0_16": 50,
        "FRACTAL_NZ_C0_2": 52,
        "FRACTAL_NZ_C0_4": 53,
        "FRACTAL_NZ_C0_8": 54,
    }
)
"""Layout string (``TensorDescriptor.layout``) -> ``ge::Format`` number (``format_for_int``)."""

FORMAT_NAMES: Final[Mapping[int, str]] = MappingProxyType(
    {number: name for name, number in FORMATS.items()}
)
"""``ge::Format`` number -> layout string."""
