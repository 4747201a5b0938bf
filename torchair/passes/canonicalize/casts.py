"""Casts: to the same element type, and chains whose first cast loses nothing."""

from __future__ import annotations

from xdsl.ir import Attribute

from torchair.ir import element_types
from torchair.ir.calls import CallOp
from torchair.ir.interned import element_type
from torchair.ir.rewrite import Pattern, Rewriter, defining_op, pattern
from torchair.passes.canonicalize.copies import replace_by_copy

_CASTS = ("prims.convert_element_type", "aten._to_copy")
_INTEGERS = {
    "bool": (0, 1), "uint8": (0, 8), "int8": (7, 7), "int16": (15, 15), "int32": (31, 31),
    "int64": (63, 63), "uint16": (0, 16), "uint32": (0, 32), "uint64": (0, 64),
}  # fmt: skip
"""Bits of the largest negative (0 when unsigned) and positive magnitude."""
_FLOATS = {"float16": (11, 5), "bfloat16": (8, 8), "float32": (24, 8), "float64": (53, 11)}
"""Bits of significand and exponent."""
_COMPLEX = {"complex32": "float16", "complex64": "float32", "complex128": "float64"}


def is_plain_cast(op: CallOp) -> bool:
    """Whether a cast changes the element type and nothing else."""
    if op.name == "prims.convert_element_type":
        return True
    others = {name: op.argument(name) for name in ("layout", "device", "pin_memory")}
    memory_format = op.argument("memory_format")
    return not any(others.values()) and memory_format in (None, "preserve_format")


def loses_nothing(source: Attribute, target: Attribute) -> bool:
    """Whether every value of one element type is a value of another."""
    a, b = element_types.to_name(source), element_types.to_name(target)
    if a == b:
        return True
    if b in _COMPLEX:
        a, b = _COMPLEX.get(a, a), _COMPLEX[b]
        if a == b:
            return True
    if a in _INTEGERS and b in _INTEGERS:
        return all(x <= y for x, y in zip(_INTEGERS[a], _INTEGERS[b], strict=True))
    if a in _INTEGERS and b in _FLOATS:
        return max(_INTEGERS[a]) <= _FLOATS[b][0]
    if a in _FLOATS and b in _FLOATS:
        return all(x <= y for x, y in zip(_FLOATS[a], _FLOATS[b], strict=True))
    return False


@pattern(*_CASTS)
def drop_cast_to_same_dtype(op: CallOp, rewriter: Rewriter) -> None:
    source = op.operands[0]
    if is_plain_cast(op) and element_type(source.type) == element_type(op.results[0].type):
        replace_by_copy(op, source, rewriter)


@pattern(*_CASTS)
def merge_casts(op: CallOp, rewriter: Rewriter) -> None:
    inner = defining_op(op.operands[0], *_CASTS)
    if inner is None or not is_plain_cast(op) or not is_plain_cast(inner):
        return
    source = inner.operands[0]
    first, middle = element_type(source.type), element_type(inner.results[0].type)
    last = element_type(op.results[0].type)
    if not loses_nothing(first, middle) or _is_saturating(first, last):
        return
    values = op.arguments()
    values[0] = source
    rewriter.replace(op, [rewriter.create(type(op), values, [op.results[0].type], op).results[0]])


def _is_saturating(source: Attribute, target: Attribute) -> bool:
    """Float to integer: what happens out of range depends on the type one starts from."""
    return (
        element_types.to_name(source) not in _INTEGERS
        and element_types.to_name(target) in _INTEGERS
        and element_types.to_name(target) != "bool"
    )


PATTERNS: tuple[Pattern, ...] = (drop_cast_to_same_dtype, merge_casts)
