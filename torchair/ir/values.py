"""Static argument values as attributes and back, one spelling per kind of value.

Decoded values are plain Python: int, float, bool, complex, str, None, lists of these, and for
dtypes
the element type attribute itself (``f32``), so that no level needs torch.
"""

# xDSL's generic classes narrow to Unknown parameters under isinstance.
# pyright: reportUnknownArgumentType=false, reportUnknownMemberType=false
# pyright: reportUnknownVariableType=false

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

from xdsl.dialects.builtin import (
    ArrayAttr,
    DenseArrayBase,
    FloatAttr,
    IntegerAttr,
    NoneType,
    StringAttr,
    UnitAttr,
)
from xdsl.ir import Attribute, SSAValue

from torchair.ir import interned
from torchair.ir.interned import DYNAMIC
from torchair.ir.private import VALUE_CLASSES


def encode_scalar(value: object, single: bool = False) -> Attribute:
    """Attribute of one static value; ``single`` rounds floats to float32 (GE's float
    attributes)."""
    kind = type(value)
    if kind is int:
        return interned.integer(cast(int, value))
    if kind is bool:
        return interned.true if value else interned.false
    if kind is float:
        return interned.floating(cast(float, value), single)
    if kind is str:
        return interned.string(cast(str, value))
    if value is None:
        return interned.none_type
    if isinstance(value, Attribute):
        return value
    if kind is complex:
        number = cast(complex, value)
        return ArrayAttr([interned.floating(number.real), interned.floating(number.imag)])
    raise TypeError(f"{value!r} of type {kind.__name__} has no attribute form")


_ONLY_INTS: frozenset[type] = frozenset((int,))
_INTS_AND_VALUES = _ONLY_INTS | VALUE_CLASSES


def encode_list(values: Sequence[object], single: bool = False) -> Attribute:
    """Attribute of a list; SSA values become ``DYNAMIC`` (ints) or ``unit`` (other kinds)."""
    kinds = set(map(type, values))
    if kinds <= _ONLY_INTS:
        return interned.int_list(cast("Sequence[int]", values))
    if kinds <= _INTS_AND_VALUES:
        plain = [v if type(v) is int else DYNAMIC for v in values]
        return interned.int_list(plain)
    return ArrayAttr(
        [
            interned.unit
            if isinstance(v, SSAValue)
            else encode_list(cast("list[object]", v), single)
            if isinstance(v, list | tuple)
            else encode_scalar(v, single)
            for v in values
        ]
    )


_decoded: dict[int, tuple[Attribute, Any]] = {}
_DECODED_LIMIT = 100_000


def decode(attribute: Attribute) -> Any:
    """Python value of a property; lists hold ``DYNAMIC`` or ``UnitAttr`` where operands stand."""
    found = _decoded.get(id(attribute))
    if found is None:
        if len(_decoded) >= _DECODED_LIMIT:
            _decoded.clear()
        found = _decoded[id(attribute)] = (attribute, _decode(attribute))
    value = found[1]
    return _copied(value) if type(value) is list else value


def _copied(items: list[Any]) -> list[Any]:
    """A list of its own for a caller that may change it."""
    return [_copied(item) if type(item) is list else item for item in items]


def _decode(attribute: Attribute) -> Any:
    if isinstance(attribute, IntegerAttr):
        if attribute.type == interned.i1:  # pyright: ignore[reportUnknownMemberType]
            return attribute.value.data != 0
        return attribute.value.data
    if isinstance(attribute, FloatAttr):
        return attribute.value.data
    if isinstance(attribute, StringAttr):
        return attribute.data
    if isinstance(attribute, NoneType):
        return None
    if isinstance(attribute, DenseArrayBase):
        return list(attribute.get_values())  # pyright: ignore[reportUnknownArgumentType]
    if isinstance(attribute, ArrayAttr):
        items = [
            v if isinstance(v, UnitAttr) else decode(v)
            for v in cast("ArrayAttr[Attribute]", attribute)
        ]
        return items
    return attribute
