"""Tensors made from numbers and shapes, copies and conversions."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from xdsl.ir import Attribute, SSAValue

from torchair.dialects.ge import builder as ge
from torchair.dialects.ge import dtypes
from torchair.ir import element_types, interned
from torchair.passes.convert_aten_to_ge.comparison import select
from torchair.passes.convert_aten_to_ge.operands import (
    REDUCED,
    converted,
    has_text,
    has_type,
    is_number,
    operand,
    rounded,
    shape_of,
    supported_type,
    with_element,
)
from torchair.passes.convert_aten_to_ge.registry import converts

INLINE_BYTES = 1024
"""Tensors up to this size are one constant; larger ones are computed when the graph runs."""


def is_inline(sizes: Sequence[Any], element: Attribute) -> bool:
    """Whether a tensor is small enough to stand in the graph as a constant."""
    if not all(is_number(s) and s != interned.DYNAMIC for s in sizes):
        return False
    itemsize = dtypes.BY_NAME[element_types.to_name(element)].itemsize
    return itemsize is not None and math.prod(sizes) * itemsize <= INLINE_BYTES


def filled(sizes: Sequence[Any], value: Any, out: Attribute) -> SSAValue:
    """A tensor of one value; sizes and value may be symbolic."""
    element = interned.element_type(out)
    if is_number(value) and is_inline(sizes, element) and has_text(value):
        count = 1 if math.prod(sizes) else 0
        return ge.current().constant([rounded(value, element)] * count, element, sizes)
    return ge.call("Fill", list(sizes), operand(value, element), out=out)


def filled_like(self: Any, value: Any, out: Attribute) -> SSAValue:
    """A tensor of one value with the shape of another tensor."""
    element = interned.element_type(out)
    sizes = shape_of(self)
    if is_number(value) and is_inline(sizes, element):
        return filled(sizes, value, out)
    if ge.element(self) == element and is_number(value):
        if value == 0:
            return ge.call("ZerosLike", self, out=out)
        if value == 1 and has_type("OnesLike", element):
            return ge.call("OnesLike", self, out=out)
        if element in (interned.f32, *REDUCED) or _is_exact_single(value):
            return ge.call("Fills", self, value=float(value), out=out)
    if interned.DYNAMIC in sizes:
        return ge.call("Fill", ge.shape(self), operand(value, element), out=out)
    return filled(sizes, value, out)


def _is_exact_single(value: complex) -> bool:
    if isinstance(value, complex):
        return False
    return interned.round_to_single(float(value)) == value and abs(value) <= 2**24


@converts(
    "full(SymInt[] size, Scalar fill_value, *, ScalarType? dtype=None, Layout? layout=None, "
    "Device? device=None, bool? pin_memory=None) -> Tensor"
)
def full(size: Any, fill_value: Any, out: Any, dtype: Any = None) -> Any:
    return filled(size, fill_value, out)


@converts(
    "new_full(Tensor self, SymInt[] size, Scalar fill_value, *, ScalarType? dtype=None, "
    "Layout? layout=None, Device? device=None, bool? pin_memory=None) -> Tensor"
)
def new_full(self: Any, size: Any, fill_value: Any, out: Any, dtype: Any = None) -> Any:
    return filled(size, fill_value, out)


@converts(
    "full_like(Tensor self, Scalar fill_value, *, ScalarType? dtype=None, Layout? layout=None, "
    "Device? device=None, bool? pin_memory=None, MemoryFormat? memory_format=None) -> Tensor"
)
def full_like(self: Any, fill_value: Any, out: Any, dtype: Any = None) -> Any:
    return filled_like(self, fill_value, out)


_OPTIONS = "ScalarType? dtype=None, Layout? layout=None, Device? device=None, bool? pin_memory=None"
_LIKE = f"{_OPTIONS}, MemoryFormat? memory_format=None"


def _register_value(value: int, name: str) -> None:
    @converts(f"{name}(SymInt[] size, *, {_OPTIONS}) -> Tensor")
    def _(size: Any, out: Any, dtype: Any = None) -> Any:
        return filled(size, value, out)

    @converts(f"new_{name}(Tensor self, SymInt[] size, *, {_OPTIONS}) -> Tensor")
    def _(self: Any, size: Any, out: Any, dtype: Any = None) -> Any:
        return filled(size, value, out)

    @converts(f"{name}_like(Tensor self, *, {_LIKE}) -> Tensor")
    def _(self: Any, out: Any, dtype: Any = None) -> Any:
        return filled_like(self, value, out)


_register_value(0, "zeros")
_register_value(1, "ones")


@converts(f"empty.memory_format(SymInt[] size, *, {_LIKE}) -> Tensor")
def empty(size: Any, out: Any, dtype: Any = None) -> Any:
    return _uninitialised(size, out)


@converts(f"empty_strided(SymInt[] size, SymInt[] stride, *, {_OPTIONS}) -> Tensor")
def empty_strided(size: Any, stride: Any, out: Any, dtype: Any = None) -> Any:
    return _uninitialised(size, out)


@converts(f"new_empty(Tensor self, SymInt[] size, *, {_OPTIONS}) -> Tensor")
def new_empty(self: Any, size: Any, out: Any, dtype: Any = None) -> Any:
    return _uninitialised(size, out)


@converts(
    f"new_empty_strided(Tensor self, SymInt[] size, SymInt[] stride, *, {_OPTIONS}) -> Tensor"
)
def new_empty_strided(self: Any, size: Any, stride: Any, out: Any, dtype: Any = None) -> Any:
    return _uninitialised(size, out)


@converts(f"empty_like(Tensor self, *, {_LIKE}) -> Tensor")
def empty_like(self: Any, out: Any, dtype: Any = None) -> Any:
    sizes = shape_of(self)
    if interned.DYNAMIC not in sizes:
        return _uninitialised(sizes, out)
    return ge.call("Empty", ge.shape(self), dtype=_ge_number(out), out=out)


def _uninitialised(sizes: Sequence[Any], out: Attribute) -> SSAValue:
    if is_inline(sizes, interned.element_type(out)):
        return filled(sizes, 0, out)
    return ge.call("Empty", list(sizes), dtype=_ge_number(out), out=out)


def _ge_number(type_: Attribute) -> int:
    return dtypes.BY_NAME[element_types.to_name(interned.element_type(type_))].ge


@converts(f"scalar_tensor(Scalar s, *, {_OPTIONS}) -> Tensor")
def scalar_tensor(s: Any, out: Any, dtype: Any = None) -> Any:
    return operand(s, interned.element_type(out))


@converts(
    f"arange(Scalar end, *, {_OPTIONS}) -> Tensor",
    f"arange.start(Scalar start, Scalar end, *, {_OPTIONS}) -> Tensor",
    f"arange.start_step(Scalar start, Scalar end, Scalar step=1, *, {_OPTIONS}) -> Tensor",
)
def arange(end: Any, out: Any, start: Any = 0, step: Any = 1, dtype: Any = None) -> Any:
    return _range(start, end, step, out)


def _range(start: Any, end: Any, step: Any, out: Attribute) -> SSAValue:
    element = interned.element_type(out)
    is_float = element_types.is_floating(element)
    sizes = interned.shape_of(out)
    count = sizes[0] if sizes else interned.DYNAMIC
    integral = all(is_number(v) and float(v).is_integer() for v in (start, step))
    if count != interned.DYNAMIC and not is_float and is_number(start) and is_number(step):
        start, step = int(start), int(step)
        end, integral = start + count * step, True
    if integral and is_inline([count], element) and abs(start) + count * abs(step) <= 2**11:
        values = [rounded(start + i * step, element) for i in range(count)]
        return ge.current().constant(values, element, [count])
    kind = interned.f32 if element in REDUCED else supported_type("Range", element)
    numbers = [operand(v, kind) for v in (start, end, step)]
    return ge.cast_to(ge.call("Range", *numbers, out=with_element(out, kind)), element)


@converts(f"linspace(Scalar start, Scalar end, int steps, *, {_OPTIONS}) -> Tensor")
def linspace(start: Any, end: Any, steps: Any, out: Any, dtype: Any = None) -> Any:
    element = interned.element_type(out)
    kind = interned.f32 if element in (interned.f32, *REDUCED) else interned.f64
    ends = operand(start, kind), operand(end, kind)
    count = operand(steps, interned.i64)
    return ge.cast_to(ge.call("LinSpace", *ends, count, out=with_element(out, kind)), element)


@converts(
    f"eye(SymInt n, *, {_OPTIONS}) -> Tensor",
    f"eye.m(SymInt n, SymInt m, *, {_OPTIONS}) -> Tensor",
)
def eye(n: Any, out: Any, m: Any = None, dtype: Any = None) -> Any:
    columns = n if m is None else m
    if is_number(n) and is_number(columns) and n and columns:
        return ge.call("Eye", num_rows=n, num_columns=columns, dtype=_ge_number(out), out=out)
    row, column = _positions(n, columns)
    flags = ge.call("Equal", row, column, out=with_element(out, interned.i1))
    return ge.cast_to(flags, interned.element_type(out))


def _positions(rows: Any, columns: Any) -> tuple[SSAValue, SSAValue]:
    """Row and column numbers, of shapes [rows, 1] and [columns]."""
    height = rows if is_number(rows) else interned.DYNAMIC
    width = columns if is_number(columns) else interned.DYNAMIC
    row = _range(0, rows, 1, interned.tensor([height], interned.i64))
    column = _range(0, columns, 1, interned.tensor([width], interned.i64))
    shaped = ge.call("Unsqueeze", row, axes=[1], out=interned.tensor([height, 1], interned.i64))
    return shaped, column


def _register_triangle(name: str, op: str, test: str) -> None:
    @converts(f"{name}(Tensor self, SymInt diagonal=0) -> Tensor")
    def _(self: Any, out: Any, diagonal: Any = 0) -> Any:
        if is_number(diagonal):
            return ge.call(op, self, diagonal=diagonal, out=out)
        row, column = _positions(ge.size(self, -2), ge.size(self, -1))
        sizes = shape_of(self)[-2:]
        offset = ge.call("Sub", column, row, out=interned.tensor(sizes, interned.i64))
        kept = ge.call(test, offset, diagonal, out=interned.tensor(sizes, interned.i1))
        return select(kept, self, 0, out)


_register_triangle("tril", "Tril", "LessEqual")
_register_triangle("triu", "Triu", "GreaterEqual")


def _register_indices(name: str, is_lower: bool) -> None:
    @converts(
        f"{name}(int row, int col, int offset=0, *, ScalarType? dtype=4, Layout? layout=None, "
        "Device? device=None, bool? pin_memory=None) -> Tensor"
    )
    def _(row: Any, col: Any, out: Any, offset: Any = 0, dtype: Any = None) -> Any:
        pairs = [
            (i, j)
            for i in range(row)
            for j in range(col)
            if (j - i <= offset if is_lower else j - i >= offset)
        ]
        flat = [*(i for i, _ in pairs), *(j for _, j in pairs)]
        return ge.current().constant(flat, interned.element_type(out), [2, len(pairs)])


_register_indices("tril_indices", True)
_register_indices("triu_indices", False)


@converts("prims::convert_element_type(Tensor a, ScalarType dtype) -> Tensor")
def convert_element_type(a: Any, dtype: Any, out: Any) -> Any:
    return converted(a, interned.element_type(out))


@converts(
    "_to_copy(Tensor self, *, ScalarType? dtype=None, Layout? layout=None, Device? device=None, "
    "bool? pin_memory=None, bool non_blocking=False, MemoryFormat? memory_format=None) -> Tensor"
)
def to_copy(self: Any, out: Any, dtype: Any = None) -> Any:
    return converted(self, interned.element_type(out))


@converts("clone(Tensor self, *, MemoryFormat? memory_format=None) -> Tensor")
def clone(self: Any) -> Any:
    """A value never changes, so its copy is the value; but a graph input may be written later."""
    return ge.TensorMove(self, out=self.type) if self in ge.current().written else self


@converts(
    "detach(Tensor(a) self) -> Tensor(a)",
    "alias(Tensor(a) self) -> Tensor(a)",
    "lift_fresh_copy(Tensor self) -> Tensor",
    "lift_fresh(Tensor(a) self) -> Tensor(a)",
    "lift(Tensor self) -> Tensor",
)
def same_value(self: Any) -> Any:
    return self
