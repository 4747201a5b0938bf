"""Declared calls of a converter: ``Support(F32(2, 2), F32(2, 2), alpha=2)``.

``python -m torchair.tools.converter_test`` runs them against eager. Nothing here imports torch
before a data type is asked for.
"""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from typing import Any


class _TypedTensor:
    """A tensor argument: shape and data type, with given values or a range of random ones.

    Args:
        dims: sizes, or one list of them.
        dtype: torch dtype, or its name.
        value: the values; `dims` are not used then.
        value_range: ``(low, high)`` of random values, high excluded for integers.
    """

    def __init__(
        self,
        *dims: int | Sequence[int],
        dtype: Any,
        value: Any = None,
        value_range: Sequence[float] | None = None,
    ) -> None:
        if value_range is not None and len(value_range) != 2:
            raise ValueError(f"value_range is (low, high), got {value_range!r}")
        self.dims: tuple[int, ...] = tuple(
            size for item in dims for size in (item if isinstance(item, Sequence) else (item,))
        )
        self.dtype_name = str(dtype).removeprefix("torch.")
        self.value = value
        self.value_range = value_range

    @property
    def dtype(self) -> Any:
        """torch dtype."""
        return getattr(importlib.import_module("torch"), self.dtype_name)

    def __repr__(self) -> str:
        if self.value is not None:
            return f"T({self.value}, dtype={self.dtype_name})"
        spread = "" if self.value_range is None else f", value_range={tuple(self.value_range)}"
        return f"{self.dtype_name}({', '.join(map(str, self.dims))}{spread})"

    __str__ = __repr__


class T(_TypedTensor):
    """A tensor of given values: ``T([0, 2], dtype=torch.int32)``."""

    def __init__(self, value: Any, *, dtype: Any) -> None:
        super().__init__(dtype=dtype, value=value)


def _typed(class_name: str, dtype: str) -> type[_TypedTensor]:
    def create(
        self: _TypedTensor, *dims: int | Sequence[int], value_range: Sequence[float] | None = None
    ) -> None:
        _TypedTensor.__init__(self, *dims, dtype=dtype, value_range=value_range)

    text = f"A {dtype} tensor of the given sizes."
    return type(class_name, (_TypedTensor,), {"__init__": create, "__doc__": text})


F64 = _typed("F64", "float64")
F32 = _typed("F32", "float32")
F16 = _typed("F16", "float16")
BF16 = _typed("BF16", "bfloat16")
I64 = _typed("I64", "int64")
I32 = _typed("I32", "int32")
I16 = _typed("I16", "int16")
I8 = _typed("I8", "int8")
U8 = _typed("U8", "uint8")
BOOL = _typed("BOOL", "bool")
C64 = _typed("C64", "complex64")
C128 = _typed("C128", "complex128")


class Support:
    """One supported call: the positional and keyword arguments of the operator."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.args = args
        self.kwargs = kwargs

    def __repr__(self) -> str:
        parts = [*map(repr, self.args), *(f"{key}={value!r}" for key, value in self.kwargs.items())]
        return f"Support({', '.join(parts)})"


__all__ = [
    "BF16",
    "BOOL",
    "C64",
    "C128",
    "F16",
    "F32",
    "F64",
    "I8",
    "I16",
    "I32",
    "I64",
    "U8",
    "Support",
    "T",
    "_TypedTensor",
]
