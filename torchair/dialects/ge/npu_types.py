"""The numbers by which torch_npu's operators name element types.

PyTorch's own ``ScalarType`` numbers, and torch_npu's from 256 on for types that PyTorch lacks.
Quantised types of PyTorch stand for the integers they hold, ``quint4x2`` for int4.
"""

from __future__ import annotations

from collections.abc import Sequence
from types import MappingProxyType

from torchair.dialects.ge import dtypes
from torchair.errors import ConversionError

_GROUP_BITS = 16
_NAMES = MappingProxyType(
    {
        0: "uint8",
        1: "int8",
        2: "int16",
        3: "int32",
        4: "int64",
        5: "float16",
        6: "float32",
        7: "float64",
        8: "complex32",
        9: "complex64",
        10: "complex128",
        11: "bool",
        12: "int8",
        13: "uint8",
        14: "int32",
        15: "bfloat16",
        16: "int4",
        23: "float8_e5m2",
        24: "float8_e4m3fn",
        44: "float8_e8m0",
        45: "float4_e2m1",
        285: "int4",
        290: "hifloat8",
        291: "float8_e5m2",
        292: "float8_e4m3fn",
        293: "float8_e8m0",
        296: "float4_e2m1",
        297: "float4_e1m2",
    }
)


def type_name(number: int, operator: str) -> str:
    """Canonical name of the element type that a number of torch_npu stands for.

    Args:
        number: value of a ``dst_type``-like argument.
        operator: the operator it was given to, for the message.

    Raises:
        ConversionError: no type has this number.
    """
    found = _NAMES.get(number)
    if found is None:
        raise ConversionError(
            f"{operator}: no element type has the number {number}",
            expected=", ".join(f"{n} ({name})" for n, name in _NAMES.items()),
            found=number,
        )
    return found


def ge_number(number: int, operator: str) -> int:
    """``ge::DataType`` number of the same element type.

    Raises:
        ConversionError: no type has this number.
    """
    return dtypes.BY_NAME[type_name(number, operator)].ge


def packed_group_sizes(sizes: Sequence[int] | None, operator: str) -> int:
    """``group_size`` of GE's quantised products: sizes along m, n and k in 16 bits each.

    Args:
        sizes: a ``group_sizes`` argument; None and empty give 0.
        operator: the operator it was given to, for the message.

    Raises:
        ConversionError: there are not three sizes, or one does not fit.
    """
    if not sizes:
        return 0
    if len(sizes) != 3 or not all(0 <= size < 1 << _GROUP_BITS for size in sizes):
        raise ConversionError(
            f"{operator}: group_sizes does not fit",
            expected=f"three sizes along m, n and k, each below {1 << _GROUP_BITS}",
            found=str(list(sizes)),
        )
    m, n, k = sizes
    return (m << 2 * _GROUP_BITS) + (n << _GROUP_BITS) + k
