"""Questions about types that several families of patterns ask."""

from __future__ import annotations

from xdsl.ir import Attribute, SSAValue

from torchair.ir import interned


def has_same_type(a: SSAValue, b: SSAValue) -> bool:
    """Whether two tensors provably have one shape and one element type."""
    return interned.is_equal(a.type, b.type) and is_fully_known(a.type)


def is_fully_known(type_: Attribute) -> bool:
    """Whether every dimension is static or has a symbol, so that equal types mean equal shapes."""
    shape = interned.shape_of(type_)
    if shape is None:
        return False
    return interned.DYNAMIC not in shape or dimension_symbols(type_) is not None


def dimension_symbols(type_: Attribute) -> list[str] | None:
    """The expression of every dimension, None when the type carries none."""
    symbols = interned.symbols_of(type_)
    return None if symbols is None else list(symbols)


def rank_of(value: SSAValue) -> int | None:
    """Number of dimensions, None when unknown."""
    shape = interned.shape_of(value.type)
    return None if shape is None else len(shape)
