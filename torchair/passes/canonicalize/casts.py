"""Casts: to the same element type, and chains whose first cast loses nothing."""

from __future__ import annotations

from xdsl.ir import Attribute

from torchair.ir import element_types
from torchair.ir.calls import CallOp
from torchair.ir.interned import element_type
from torchair.ir.private import operands_of
from torchair.ir.rewrite import Pattern, Rewriter, defining_op, pattern
from torchair.passes.canonicalize.aliasing import is_ever_written
from torchair.passes.canonicalize.copies import replace_by_copy
from torchair.passes.dtype_rules import INTEGERS, loses_nothing

CASTS = ("prims.convert_element_type", "aten._to_copy")


def is_plain_cast(op: CallOp) -> bool:
    """Whether a cast changes the element type and nothing else."""
    if op.name == "prims.convert_element_type":
        return True
    moves = op.argument("device") or op.argument("pin_memory")
    is_dense = op.argument("layout") in (None, "strided")
    return not moves and is_dense and op.argument("memory_format") in (None, "preserve_format")


@pattern(*CASTS)
def drop_cast_to_same_dtype(op: CallOp, rewriter: Rewriter) -> None:
    source = operands_of(op)[0]
    if element_type(source.type) == element_type(op.results[0].type) and is_plain_cast(op):
        replace_by_copy(op, source, rewriter)


@pattern(*CASTS)
def merge_casts(op: CallOp, rewriter: Rewriter) -> None:
    inner = defining_op(operands_of(op)[0], *CASTS)
    if inner is None or not is_plain_cast(op) or not is_plain_cast(inner):
        return
    source = operands_of(inner)[0]
    first, middle = element_type(source.type), element_type(inner.results[0].type)
    last = element_type(op.results[0].type)
    if not loses_nothing(first, middle) or _is_saturating(first, last) or is_ever_written(source):
        return
    values = op.arguments()
    values[0] = source
    rewriter.replace(op, [rewriter.create(type(op), values, [op.results[0].type], op).results[0]])


def _is_saturating(source: Attribute, target: Attribute) -> bool:
    """Float to integer: what happens out of range depends on the type one starts from."""
    return (
        element_types.to_name(source) not in INTEGERS
        and element_types.to_name(target) in INTEGERS
        and element_types.to_name(target) != "bool"
    )


PATTERNS: tuple[Pattern, ...] = (drop_cast_to_same_dtype, merge_casts)
