"""Data types and formats of GE as the public interface names them; the numbers are GE's own."""

from __future__ import annotations

import enum
from typing import Any

from xdsl.ir import Attribute

from torchair.dialects.ge import dtypes
from torchair.ge.errors import OperatorError
from torchair.ir import element_types


class DataType:
    """``ge::DataType`` numbers: ``DT_FLOAT16`` is 1 (protobuf descriptors number otherwise)."""

    DT_MAX = 42


for _type in dtypes.DATA_TYPES:
    setattr(DataType, _type.symbol, _type.ge)

Format = enum.Enum("Format", {name: number for name, number in dtypes.FORMATS.items()})
Format.__doc__ = "``ge::Format`` numbers of the tensor layouts."


class TensorType(enum.Enum):
    """Classes of element types that a builder's input may ask for (``auto_convert_to_tensor``)."""

    TT_UNKNOWN = 0
    TT_ALL = 1
    TT_BASIC = 2
    TT_ORDINARY = 3
    TT_NUMBER = 4
    TT_REAL_NUMBER = 5
    TT_FLOATING = 6
    TT_FLOAT = 7
    TT_INTEGER = 8
    TT_INDEX_NUMBER = 9
    TT_SIGNED = 10
    TT_UNSIGNED = 11
    TT_COMPLEX = 12
    TT_QUANTIFIED = 13
    TT_UNARY = 14


def torch_dtype_value_to_ge_type(dtype: Any) -> int:
    """``ge::DataType`` number of a torch dtype (a number is returned as it is).

    Raises:
        OperatorError: GE has no such type.
    """
    if isinstance(dtype, int):
        return dtype
    found = dtypes.BY_NAME.get(str(dtype).removeprefix("torch."))
    if found is None:
        raise OperatorError(f"GE has no data type for {dtype}", hint="cast the tensor first")
    return found.ge


def element_of(dtype: Any) -> Attribute:
    """Element type of a ``ge::DataType`` number or a torch dtype.

    Raises:
        OperatorError: GE has no such type.
    """
    if isinstance(dtype, Attribute):
        return dtype
    number = torch_dtype_value_to_ge_type(dtype)
    if number not in dtypes.BY_GE or dtypes.BY_GE[number].name == "undefined":
        raise OperatorError(
            f"{number} is not the number of a GE data type",
            hint="use the constants of torchair.ge.DataType",
        )
    return element_types.from_name(dtypes.BY_GE[number].name)


def number_of(element: Attribute) -> int:
    """``ge::DataType`` number of an element type."""
    return dtypes.BY_NAME[element_types.to_name(element)].ge
