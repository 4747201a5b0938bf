"""Axes and sizes of values during conversion: what a converter asks about shapes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeGuard, cast

from xdsl.dialects.builtin import ArrayAttr, StringAttr, TensorType
from xdsl.ir import Attribute, SSAValue

from torchair.dialects.ge import builder as ge
from torchair.dialects.ge import dtypes
from torchair.errors import ConversionError
from torchair.ir import element_types, interned
from torchair.ir.interned import DYNAMIC
from torchair.ir.private import VALUE_CLASSES

Size = SSAValue | int
INT64_MAX = 2**63 - 1
"""PyTorch's "until the end" of a slice."""


def shape(value: SSAValue | Attribute) -> tuple[int, ...]:
    """Sizes of a value or type, ``DYNAMIC`` where symbolic.

    Raises:
        ConversionError: the rank is unknown.
    """
    found = interned.shape_of(_type_of(value))
    if found is None:
        raise ConversionError("the rank of this tensor is unknown", found=value)
    return found


def _type_of(value: SSAValue | Attribute) -> Attribute:
    if value.__class__ in VALUE_CLASSES:
        return cast(SSAValue, value).type
    return cast(Attribute, value)


def rank(value: SSAValue | Attribute) -> int:
    """Number of dimensions."""
    return len(shape(value))


def axis(dim: int, rank: int) -> int:
    """A dimension counted from the front; a scalar is treated as having one dimension."""
    return dim + max(rank, 1) if dim < 0 else dim


def axes(dims: Sequence[int], rank: int) -> list[int]:
    """Dimensions counted from the front."""
    return [axis(d, rank) for d in dims]


def size_at(value: SSAValue | Attribute, dim: int) -> int:
    """One size, ``DYNAMIC`` when symbolic."""
    return shape(value)[dim]


def is_value(value: Any) -> TypeGuard[SSAValue]:
    """Whether an argument is an IR value rather than a Python number."""
    return isinstance(value, SSAValue)


def is_static(value: SSAValue | Attribute) -> bool:
    """Whether every size is known."""
    return DYNAMIC not in shape(value)


Symbols = tuple[str | int | None, ...]
_symbols: dict[int, tuple[Attribute, Symbols]] = {}


def symbols(value: SSAValue | Attribute) -> Symbols:
    """Per dimension its size, or the expression of a symbolic one, or None when it has none."""
    type_ = _type_of(value)
    found = _symbols.get(id(type_))
    if found is None or found[0] is not type_:
        if len(_symbols) > 50_000:
            _symbols.clear()
        found = _symbols[id(type_)] = (type_, _read_symbols(type_))
    return found[1]


def _read_symbols(type_: Attribute) -> Symbols:
    sizes = shape(type_)
    encoding = type_.encoding if isinstance(type_, TensorType) else None
    if not isinstance(encoding, ArrayAttr):
        return tuple(None if s == DYNAMIC else s for s in sizes)
    texts = cast("ArrayAttr[StringAttr]", encoding)
    return tuple(t.data if s == DYNAMIC else s for s, t in zip(sizes, texts, strict=True))


def same_shape(one: SSAValue | Attribute, other: SSAValue | Attribute) -> bool:
    """Whether two values are known to have equal shapes."""
    first, second = symbols(one), symbols(other)
    return None not in first and first == second


def accepts(name: str, position: int, value: SSAValue) -> bool:
    """Whether an input of a GE operator takes the dtype of a value."""
    allowed = ge.op_class(name).spec.inputs[position].dtypes
    return not allowed or element_types.to_name(ge.element(value)) in allowed


def bits(element: Attribute) -> int:
    """Bits of one element.

    Raises:
        ConversionError: elements of this type have no fixed size.
    """
    found = dtypes.BY_NAME[element_types.to_name(element)].bits
    if found is None:
        raise ConversionError("elements of this type have no fixed size", found=element)
    return found


def product(sizes: Sequence[int]) -> int:
    """Number of elements of a static shape."""
    count = 1
    for size in sizes:
        count *= size
    return count


def count(value: SSAValue | Attribute) -> int:
    """Number of elements, ``DYNAMIC`` when a size is symbolic."""
    return product(shape(value)) if is_static(value) else DYNAMIC


def all_sizes(value: SSAValue) -> list[Size]:
    """Every size of a value: ints where static, 0-d int64 tensors where symbolic."""
    return [ge.size(value, d) for d in range(rank(value))]


def resolve(out: Attribute, given: Sequence[Any]) -> list[Size]:
    """The sizes of a result: its static ones, and the values given for the symbolic ones."""
    pairs = zip(shape(out), given, strict=True)
    return [wanted if static == DYNAMIC else static for static, wanted in pairs]


def times(one: Size, other: Size) -> Size:
    """Product of two sizes."""
    if isinstance(one, int) and isinstance(other, int):
        return one * other
    if isinstance(other, int):
        one, other = other, one
    if isinstance(one, int) and one == 1:
        return other
    return ge.Mul(other, one, out=_SCALAR)


def plus(one: Size, other: Size) -> Size:
    """Sum of two sizes."""
    if isinstance(one, int) and isinstance(other, int):
        return one + other
    if isinstance(other, int):
        one, other = other, one
    if isinstance(one, int) and one == 0:
        return other
    return ge.Add(other, one, out=_SCALAR)


def minus(one: Size, other: Size) -> Size:
    """Difference of two sizes."""
    if isinstance(one, int) and isinstance(other, int):
        return one - other
    if isinstance(other, int) and other == 0:
        return one
    return ge.Sub(one, other, out=_SCALAR)


def quotient(one: Size, other: Size) -> Size:
    """Quotient of two sizes, rounded down."""
    if isinstance(one, int) and isinstance(other, int):
        return one // other
    if isinstance(other, int) and other == 1:
        return one
    return ge.FloorDiv(one, other, out=_SCALAR)


def strides(value: SSAValue) -> list[Size]:
    """Strides of a dense tensor."""
    found: list[Size] = []
    for d in reversed(range(rank(value))):
        found.append(times(found[-1], ge.size(value, d + 1)) if found else 1)
    return found[::-1]


_SCALAR = interned.tensor([], interned.i64)
