"""Short recipes of GE nodes that the neural network families share."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, cast

from xdsl.dialects.builtin import DenseIntOrFPElementsAttr
from xdsl.ir import Attribute, Operation, SSAValue

from torchair.dialects.ge import builder as ge
from torchair.errors import ConversionError
from torchair.ir import element_types, interned
from torchair.passes.convert_aten_to_ge.geometry import Size, shape

_CONSTANT_LIMIT = 4096
"""Largest number of elements that ``filled`` writes into the graph."""


def static_ints(values: Sequence[Any], what: str) -> list[int]:
    """The values, which must be Python integers.

    Raises:
        ConversionError: one of them is symbolic.
    """
    for value in values:
        if not isinstance(value, int):
            raise ConversionError(
                f"{what} is symbolic, but it is an attribute in GE",
                hint="pass a Python integer that does not depend on a tensor's size",
            )
    return list(values)


def has_type(operator: str, element: Attribute, port: int = 0) -> bool:
    """Whether an input of a GE operator (the first by default) takes an element type."""
    allowed = ge.op_class(operator).spec.inputs[port].dtypes
    return not allowed or element_types.to_name(element) in allowed


def element_name(value: SSAValue) -> str:
    """Canonical dtype name of a value."""
    return element_types.to_name(ge.element(value))


def require(operator: str, *values: SSAValue | None, port: int = 0) -> None:
    """Refuse values whose dtype an input of a GE operator (the first by default) does not take.

    Raises:
        ConversionError: naming the dtype and what the operator takes.
    """
    for value in values:
        if value is not None and not has_type(operator, ge.element(value), port):
            allowed = ge.op_class(operator).spec.inputs[port].dtypes
            raise ConversionError(
                f"GE's {operator} does not compute in {element_name(value)}",
                expected=", ".join(sorted(allowed)),
                found=element_name(value),
                hint="compute this call in float32 (tensor.float()), or keep it outside the graph",
            )


def like(type_: Attribute, sizes: Sequence[int]) -> Attribute:
    """A tensor type with the element type of another."""
    return interned.tensor(sizes, interned.element_type(type_))


def unsqueeze(value: SSAValue, axes: Sequence[int]) -> SSAValue:
    """``Unsqueeze``: dimensions of size 1 at these axes of the result."""
    sizes = with_ones(shape(value), axes)
    return ge.Unsqueeze(value, axes=list(axes), out=like(value.type, sizes))


def with_ones(sizes: Sequence[int], axes: Sequence[int]) -> list[int]:
    """Sizes with ones inserted at these axes of the result."""
    result = list(sizes)
    for axis in axes:
        result.insert(axis, 1)
    return result


def filled(number: float, size: Sequence[Size], element: Attribute) -> SSAValue:
    """A tensor of one repeated number: a constant when it is small and static, else ``Fill``."""
    sizes = [n if isinstance(n, int) else interned.DYNAMIC for n in size]
    if interned.DYNAMIC not in sizes and 0 < math.prod(sizes) <= _CONSTANT_LIMIT:
        return ge.current().constant([number], element, sizes)
    value = ge.current().constant(number, element)
    return ge.Fill(ge.sizes(size), value, out=interned.tensor(sizes, element))


def empty(element: Attribute) -> SSAValue:
    """A constant without elements: what PyTorch returns for statistics it did not compute."""
    return ge.current().constant([], element)


def scale(value: SSAValue, factor: Any) -> SSAValue:
    """The value times a number or a 0-d tensor; the value itself when the factor is 1.

    Raises:
        ConversionError: the factor is complex.
    """
    if isinstance(factor, SSAValue):
        return ge.Mul(
            value, ge.cast_to(cast("SSAValue", factor), ge.element(value)), out=value.type
        )
    if factor == 1:
        return value
    element = ge.element(value)
    if isinstance(factor, complex):
        if not element_types.is_complex(element):
            raise ConversionError("a complex factor", found=factor, hint="multiply by a tensor")
        return ge.Mul(value, factor, out=value.type)
    if element_types.is_floating(element) and has_type("Muls", element):
        return ge.Muls(value, value=float(factor), out=value.type)
    return ge.Mul(value, factor, out=value.type)


def untransposed(value: SSAValue) -> tuple[SSAValue, bool]:
    """The value before a ``Transpose`` of its last two dimensions, and whether there was one."""
    producer = value.owner
    if not isinstance(producer, Operation) or producer.name != "ge.Transpose":
        return value, False
    perm = _constant_ints(producer.operands[1])
    if perm is None or len(perm) < 2:
        return value, False
    last = len(perm) - 1
    if perm != [*range(last - 1), last, last - 1]:
        return value, False
    return producer.operands[0], True


def _constant_ints(value: SSAValue[Any]) -> list[int] | None:
    producer = value.owner
    if not isinstance(producer, Operation) or producer.name != "ge.Const":
        return None
    data = producer.properties.get("value")
    if not isinstance(data, DenseIntOrFPElementsAttr):
        return None
    return [int(v) for v in data.get_values()]
