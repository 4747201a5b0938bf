"""4-bit elements in the tensors that PyTorch code sees: 8 int4 in an int32, 2 in a uint8."""

from __future__ import annotations

from typing import Any

from xdsl.ir import Attribute, SSAValue

from torchair.dialects.ge import builder as ge
from torchair.dialects.ge import dtypes
from torchair.dialects.ge.npu_types import type_name
from torchair.ir import element_types, interned
from torchair.passes.convert_aten_to_ge.geometry import all_sizes, bits, quotient, shape, times
from torchair.passes.convert_aten_to_ge.recipes import like


def visible(y: SSAValue, out: Attribute) -> SSAValue:
    """A narrow result as the element type that PyTorch gives it.

    Args:
        y: value of GE's type and shape.
        out: the type PyTorch gives; its last dimension is smaller where elements are packed.
    """
    wanted = interned.element_type(out)
    if ge.element(y) == wanted:
        return y
    ratio = bits(wanted) // bits(ge.element(y))
    if ratio == 1:
        return ge.Bitcast(y, type=wanted, out=out)
    sizes = all_sizes(y)
    groups = [*sizes[:-1], quotient(sizes[-1], ratio), ratio]
    grouped = like(y.type, [*shape(out), ratio])
    return ge.Bitcast(ge.Reshape(y, ge.sizes(groups), out=grouped), type=wanted, out=out)


def unpacked(x: SSAValue, name: str) -> SSAValue:
    """The elements of a narrow type that a visible tensor holds; the last dimension grows."""
    wanted = element_types.from_name(name)
    if ge.element(x) == wanted:
        return x
    ratio = bits(ge.element(x)) // bits(wanted)
    if ratio == 1:
        return ge.Bitcast(x, type=wanted, out=interned.tensor(shape(x), wanted))
    known = shape(x)
    split = ge.Bitcast(x, type=wanted, out=interned.tensor([*known, ratio], wanted))
    last = interned.DYNAMIC if known[-1] == interned.DYNAMIC else known[-1] * ratio
    sizes = all_sizes(x)
    target = ge.sizes([*sizes[:-1], times(sizes[-1], ratio)])
    return ge.Reshape(split, target, out=interned.tensor([*known[:-1], last], wanted))


def wide_shape(type_: Attribute, factor: int) -> list[int]:
    """Shape of a tensor type with the last dimension multiplied."""
    *lead, last = shape(type_)
    return [*lead, interned.DYNAMIC if last == interned.DYNAMIC else last * factor]


def hidden(out: Attribute, name: str) -> Attribute:
    """The type that GE gives a result which PyTorch sees as ``out``.

    Args:
        out: visible type, elements packed.
        name: GE's element type.
    """
    element = element_types.from_name(name)
    ratio = bits(interned.element_type(out)) // bits(element)
    return interned.tensor(wide_shape(out, ratio) if ratio > 1 else shape(out), element)


def number_type(operator: str, number: Any, default: str = "int8") -> tuple[str, int]:
    """Name and ``ge::DataType`` number of an optional element type number of torch_npu."""
    name = default if number is None else type_name(number, operator)
    return name, dtypes.BY_NAME[name].ge
