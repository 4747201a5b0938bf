"""What follows an integer matrix product until its result is a float again: factors per row, per
column or of one number, a bias, casts and reshapes, in any order."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import cast

from xdsl.ir import Attribute, SSAValue

from torchair.ir import interned
from torchair.ir.calls import CallOp
from torchair.passes.canonicalize.casts import CASTS, is_plain_cast
from torchair.passes.fusion_forms import FLOATS, HALVES, VIEWS, Size, element_of, sizes_of

_PRODUCTS = ("aten.mul.Tensor", "aten.mul.Scalar")
_QUOTIENTS = ("aten.div.Tensor", "aten.div.Scalar")
_SUMS = ("aten.add.Tensor", "aten.add.Scalar")
_BIASES: dict[Attribute, tuple[Attribute, ...]] = {
    interned.f16: (interned.f16, interned.f32),
    interned.bf16: (interned.bf16, interned.f32),
}
"""Element types of a float bias, by that of the result."""


@dataclass(frozen=True, slots=True)
class Factor:
    """A tensor that the rows or the columns of a product are multiplied with, or divided by."""

    value: SSAValue
    is_divisor: bool


@dataclass(frozen=True, slots=True)
class Factors:
    """What the elements of a product are multiplied with.

    Args:
        rows: tensors of one number per row, in float.
        columns: tensors of one number per column, or of one number.
        number: a number that is known.
    """

    rows: tuple[Factor, ...] = ()
    columns: tuple[Factor, ...] = ()
    number: float = 1.0

    def __bool__(self) -> bool:
        return bool(self.rows or self.columns) or self.number != 1

    def times(self, other: Factors) -> Factors:
        number = self.number * other.number
        return Factors(self.rows + other.rows, self.columns + other.columns, number)


@dataclass(frozen=True, slots=True)
class Dequantisation:
    """What follows a product of int8 matrices, up to one operation of it.

    Args:
        calls: the product and what follows, each the only user of the one before it.
        factors: what the product's elements are multiplied with.
        bias: one number per column, added before the factors (int32) or behind them (float).
        view: the last reshape on the way, which keeps the columns.
    """

    calls: tuple[CallOp, ...]
    factors: Factors = field(default_factory=Factors)
    bias: SSAValue | None = None
    view: CallOp | None = None

    @staticmethod
    def behind(product: CallOp) -> Dequantisation | None:
        """The longest that ends in half precision, as a quantised product does; None if none."""
        longest = None
        following = _followed(Dequantisation((product,)))
        while following is not None:
            longest = following if following._is_complete() else longest
            following = _followed(following)
        return longest

    @property
    def last(self) -> CallOp:
        return self.calls[-1]

    @property
    def has_integer_bias(self) -> bool:
        return self.bias is not None and element_of(self.bias) == interned.i32

    def _is_complete(self) -> bool:
        """Whether the operator has this result: a float bias of float16 needs factors of rows."""
        element = element_of(self.last.results[0])
        if element not in HALVES or not self.factors:
            return False
        if self.bias is None or self.has_integer_bias:
            return True
        by_row = bool(self.factors.rows) or element == interned.bf16
        return by_row and element_of(self.bias) in _BIASES[element]


def _followed(found: Dequantisation) -> Dequantisation | None:
    """With the only user of the result; None when that is no part of a dequantisation."""
    value = found.last.results[0]
    use = value.first_use
    if use is None or sum(1 for _ in value.uses) != 1:
        return None
    user = use.operation
    if not isinstance(user, CallOp) or user.attributes != found.last.attributes:
        return None
    calls = (*found.calls, user)
    if user.name in CASTS:
        is_float = element_of(user.results[0]) in FLOATS and is_plain_cast(user)
        return replace(found, calls=calls) if is_float else None
    if user.name in VIEWS:
        return replace(found, calls=calls, view=user) if _keeps_columns(user) else None
    sizes = sizes_of(value)
    if sizes is None or sizes_of(user.results[0]) != sizes:
        return None
    if user.name in _SUMS:
        return _with_bias(found, user, sizes)
    return _with_factors(found, user, sizes)


def _keeps_columns(view: CallOp) -> bool:
    before, after = sizes_of(view.operands[0]), sizes_of(view.results[0])
    return bool(before) and bool(after) and before[-1] == after[-1]


def _operand(argument: object) -> SSAValue | float | None:
    """A tensor or a number; None of anything else."""
    if isinstance(argument, SSAValue):
        return cast(SSAValue, argument)
    if isinstance(argument, bool) or not isinstance(argument, int | float):
        return None
    return float(argument)


def _other(user: CallOp, value: SSAValue) -> SSAValue | float | None:
    """The other of an operation's first two arguments."""
    left, right = user.arguments()[:2]
    return _operand(right if left is value else left)


def _with_bias(found: Dequantisation, user: CallOp, sizes: list[Size]) -> Dequantisation | None:
    bias = _other(user, found.last.results[0])
    if found.bias is not None or not isinstance(bias, SSAValue) or user.argument("alpha") != 1:
        return None
    is_integer = element_of(bias) == interned.i32
    types = (interned.i32,) if is_integer else FLOATS
    is_in_place = is_integer != bool(found.factors) and element_of(user.results[0]) in types
    if not is_in_place or sizes_of(bias) != sizes[-1:]:
        return None
    return replace(found, calls=(*found.calls, user), bias=bias)


def _with_factors(found: Dequantisation, user: CallOp, sizes: list[Size]) -> Dequantisation | None:
    value, is_divisor = found.last.results[0], user.name in _QUOTIENTS
    if user.name not in _PRODUCTS and not (is_divisor and user.operands[0] is value):
        return None
    if element_of(user.results[0]) not in FLOATS:
        return None
    if found.bias is not None and not found.has_integer_bias:
        return None
    factors = _factors_of(_other(user, value), sizes, is_divisor)
    if factors is None:
        return None
    return replace(found, calls=(*found.calls, user), factors=found.factors.times(factors))


def _factors_of(
    value: SSAValue | float | None, product: list[Size], is_divisor: bool
) -> Factors | None:
    """The factors that a value stands for in a product of these sizes; None if it is none."""
    if value is None or value == 0:
        return None
    if not isinstance(value, SSAValue):
        return Factors(number=1 / value if is_divisor else value)
    if element_of(value) not in FLOATS:
        return None
    sizes = sizes_of(value)
    if sizes is None or len(sizes) > len(product):
        return None
    padded: list[Size] = [*[1] * (len(product) - len(sizes)), *sizes]
    factor = (Factor(value, is_divisor),)
    if all(size == 1 for size in padded[:-1]) and padded[-1] in (1, product[-1]):
        return Factors(columns=factor)
    if padded[-1] == 1 and padded[:-1] == product[:-1]:
        return Factors(rows=factor)
    return _outer_factors(value, product, is_divisor) if padded == product else None


def _outer_factors(value: SSAValue, product: list[Size], is_divisor: bool) -> Factors | None:
    """The factors in one number per element: rows times columns, cast or not."""
    op = value.owner
    if not isinstance(op, CallOp):
        return None
    if op.name in CASTS:
        return _factors_of(op.operands[0], product, is_divisor)
    if op.name not in _PRODUCTS:
        return None
    left, right = (_factors_of(_operand(part), product, is_divisor) for part in op.arguments()[:2])
    return None if left is None or right is None else left.times(right)
