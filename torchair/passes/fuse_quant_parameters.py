"""Scales and zero points as the fused operators take them: one dimension, one element type."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

from xdsl.ir import Attribute, Operation, SSAValue

from torchair.ir import interned
from torchair.ir.calls import CallOp
from torchair.ir.rewrite import Rewriter
from torchair.passes.canonicalize.casts import CASTS
from torchair.passes.fusion_forms import (
    FLOATS,
    VIEWS,
    Size,
    create,
    element_of,
    sizes_of,
    type_with_sizes,
)

INTEGERS = (interned.i8, interned.i32, interned.i64)
_RESHAPES = (*VIEWS, "aten.unsqueeze", "aten.squeeze.dim")


def is_parameter(found: Any, sizes: Sequence[Size], elements: Sequence[Attribute]) -> bool:
    """Whether an argument is a number, or a tensor of one number, or one that broadcasts to
    ``sizes`` and has numbers for its last dimension only.

    Args:
        elements: accepted element types; for ``INTEGERS`` a number is whole.
    """
    if not isinstance(found, SSAValue):
        kinds = int if elements is INTEGERS else int | float
        return isinstance(found, kinds) and not isinstance(found, bool)
    parameter = cast(SSAValue, found)
    given = sizes_of(parameter)
    if given is None or not sizes or element_of(parameter) not in elements:
        return False
    is_row = all(size == 1 for size in given[:-1]) and len(given) <= len(sizes)
    return is_row and (not given or given[-1] in (1, sizes[-1]))


def is_column(found: Any, rows: Sequence[Size], elements: Sequence[Attribute]) -> bool:
    """Whether an argument is a tensor of one number per row: ``[*rows, 1]``."""
    if not isinstance(found, SSAValue):
        return False
    parameter = cast(SSAValue, found)
    return element_of(parameter) in elements and sizes_of(parameter) == [*rows, 1]


@dataclass(frozen=True, slots=True)
class Parameters:
    """Makes parameters before one operation."""

    rewriter: Rewriter
    before: Operation

    def new(self, name: str, values: Sequence[Any], type_: Attribute) -> SSAValue:
        """The result of a new operation."""
        return create(self.rewriter, name, list(values), [type_], self.before).results[0]

    def vector(self, found: SSAValue | float, size: Size, element: Attribute) -> SSAValue:
        """A number, or a tensor of one or of ``size`` numbers, in one dimension."""
        if not isinstance(found, SSAValue):
            return self.new("aten.full", [[1], found, element], interned.tensor([1], element))
        return self.cast(self.flat(found, size), element)

    def flat(self, found: SSAValue, size: Size) -> SSAValue:
        """In one dimension, and before it was rounded to half precision."""
        target: list[Size] = [1] if all(n == 1 for n in sizes_of(found) or []) else [size]
        source = source_of(found)
        if sizes_of(source) == target:
            return source
        return self.new("aten.view", [source, [-1]], type_with_sizes(source.type, target))

    def cast(self, found: SSAValue, element: Attribute) -> SSAValue:
        """In another element type."""
        if element_of(found) == element:
            return found
        sizes = sizes_of(found)
        assert sizes is not None, "guards want known sizes"
        type_ = type_with_sizes(interned.tensor([], element), sizes)
        return self.new("prims.convert_element_type", [found, element], type_)

    def product(self, left: SSAValue, right: SSAValue | float) -> SSAValue:
        """Of vectors of one element type, of which one may hold one number, or be one."""
        is_wide = isinstance(right, SSAValue) and sizes_of(left) == [1]
        type_ = right.type if is_wide and isinstance(right, SSAValue) else left.type
        return self.new("aten.mul.Tensor", [left, right], type_)


def source_of(found: SSAValue) -> SSAValue:
    """What was reshaped, or rounded to half precision, to give a value."""
    while isinstance(found.owner, CallOp):
        op = found.owner
        rounds = op.name in CASTS and element_of(op.operands[0]) == interned.f32
        if not (rounds and element_of(found) in FLOATS) and op.name not in _RESHAPES:
            break
        found = op.operands[0]
    return found
