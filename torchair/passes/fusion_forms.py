"""The words that fusion patterns are written in: one spelling per idea, whatever the overload."""

from __future__ import annotations

from typing import Any, cast

from xdsl.ir import Attribute, BlockArgument, Operation, SSAValue

from torchair.dialects.aten import lookup
from torchair.ir import interned
from torchair.ir.calls import CallOp
from torchair.ir.graph_pattern import ANY, Call, Node, OneOf, call, one_of
from torchair.ir.rewrite import Rewriter

CASTS = ("prims.convert_element_type", "aten._to_copy")
VIEWS = ("aten.view", "aten._unsafe_view", "aten.reshape")
FLOATS = (interned.f32, interned.f16, interned.bf16)
"""Element types that GE's fused operators take."""
HALVES = (interned.f16, interned.bf16)


def add(left: Any, right: Any) -> Call:
    return call(("aten.add.Tensor", "aten.add.Scalar"), left, right)


def mul(left: Any, right: Any) -> Call:
    return call(("aten.mul.Tensor", "aten.mul.Scalar"), left, right)


def div(left: Any, right: Any) -> Call:
    return call(("aten.div.Tensor", "aten.div.Scalar"), left, right)


def cast_of(operand: Any) -> Call:
    """A cast to any element type; device and layout as they were."""
    return Call(CASTS, (operand,), {"dtype": ANY, "pin_memory": ANY, "memory_format": ANY})


def maybe_cast(operand: Node) -> OneOf:
    """A value, cast or not."""
    return one_of(cast_of(operand), operand)


def square(operand: Any) -> OneOf:
    return one_of(call("aten.pow.Tensor_Scalar", operand, 2), mul(operand, operand))


def element_of(value: SSAValue) -> Attribute:
    """Element type of a tensor."""
    return interned.element_type(value.type)


def shape_of(value: SSAValue) -> tuple[int, ...] | None:
    """Sizes, ``DYNAMIC`` where symbolic; None when even the rank is unknown."""
    shape = interned.shape_of(value.type)
    return None if shape is None else tuple(shape)


def resized(type_: Attribute, sizes: dict[int, int], element: Attribute) -> Attribute:
    """A tensor type with other sizes, by (possibly negative) dimension, and another element."""
    shape, symbols = interned.shape_of(type_), interned.symbols_of(type_)
    assert shape is not None
    new_shape, new_symbols = list(shape), None if symbols is None else list(symbols)
    for dim, size in sizes.items():
        new_shape[dim] = size
        if new_symbols is not None:
            new_symbols[dim] = str(size)
    if interned.DYNAMIC not in new_shape:
        new_symbols = None
    return interned.tensor(new_shape, element, new_symbols)


def is_last_dim(dims: Any, value: SSAValue) -> bool:
    """Whether a static argument names the last dimension of a tensor and no other."""
    shape = shape_of(value)
    if shape is None:
        return False
    found: list[Any] = cast("list[Any]", dims) if isinstance(dims, list) else [dims]
    return len(found) == 1 and isinstance(found[0], int) and found[0] % len(shape) == len(shape) - 1


def is_available(value: SSAValue, at: Operation) -> bool:
    """Whether a value is certainly defined before an operation: an argument, or just above."""
    if isinstance(value, BlockArgument):
        return True
    owner = value.owner
    assert isinstance(owner, Operation)
    earlier = at
    for _ in range(_LOOK_BACK):
        previous = earlier.prev_op
        if previous is None:
            return False
        if previous is owner:
            return True
        earlier = previous
    return False


_LOOK_BACK = 64
"""How far ``is_available`` looks; a bound that keeps passes linear."""


def create(
    rewriter: Rewriter, name: str, values: list[Any], types: list[Attribute], before: Operation
) -> CallOp:
    """Build an operation by mnemonic, with one value per leading parameter of its schema."""
    cls = lookup(name)
    assert cls is not None, name
    defaults = [parameter.default for parameter in cls.schema.parameters[len(values) :]]
    return rewriter.create(cls, [*values, *defaults], types, before)
