"""Copies: those nobody can tell from their source, and operators that turn out to be copies."""

from __future__ import annotations

from xdsl.ir import SSAValue

from torchair.dialects.aten import lookup
from torchair.ir.calls import CallOp
from torchair.ir.private import operands_of
from torchair.ir.rewrite import Pattern, Rewriter, defining_op, pattern
from torchair.passes.canonicalize.aliasing import may_become
from torchair.passes.canonicalize.types import has_same_type

_CONTIGUOUS_RESULTS = (
    "aten.mm", "aten.bmm", "aten.addmm", "aten.baddbmm", "aten.embedding", "aten.index_select",
    "aten.arange", "aten.arange.start", "aten.arange.start_step", "aten.full", "aten.zeros",
    "aten.ones", "aten.scalar_tensor", "aten.constant", "aten.repeat",
)  # fmt: skip
"""Operators whose result is contiguous whatever their operands."""


def replace_by_copy(op: CallOp, source: SSAValue, rewriter: Rewriter) -> None:
    """Replace an operator that computes its operand's value by a copy, which may vanish in turn."""
    _replace(op, "aten.clone", [source, None], rewriter)


def _drop(op: CallOp, rewriter: Rewriter) -> None:
    """Replace a copy of the first operand by that operand, when nobody can tell them apart."""
    source, result = operands_of(op)[0], op.results[0]
    if has_same_type(source, result) and may_become(result, source):
        rewriter.replace(op, [source])


@pattern("aten.clone")
def drop_redundant_clone(op: CallOp, rewriter: Rewriter) -> None:
    memory_format = op.argument("memory_format")
    if memory_format in (None, "preserve_format") or _is_contiguous(op):
        _drop(op, rewriter)


def _is_contiguous(clone: CallOp) -> bool:
    if clone.argument("memory_format") != "contiguous_format":
        return False
    source = operands_of(clone)[0]
    inner = defining_op(source, "aten.clone")
    if inner is not None:
        return inner.argument("memory_format") == "contiguous_format"
    return defining_op(source, *_CONTIGUOUS_RESULTS) is not None


@pattern("aten.lift_fresh_copy")
def drop_redundant_lift(op: CallOp, rewriter: Rewriter) -> None:
    _drop(op, rewriter)


@pattern("aten.copy")
def drop_functional_copy(op: CallOp, rewriter: Rewriter) -> None:
    if len(operands_of(op)) != 2:
        return
    source, result = operands_of(op)[1], op.results[0]  # the result has the strides of operand 0
    if has_same_type(source, result) and may_become(result, source, same_strides=False):
        rewriter.replace(op, [source])


@pattern("aten.copy_")
def drop_copy_onto_itself(op: CallOp, rewriter: Rewriter) -> None:
    if len(operands_of(op)) == 2 and operands_of(op)[0] is operands_of(op)[1]:
        rewriter.replace(op, [operands_of(op)[0]])


@pattern("aten.slice_scatter")
def rename_whole_slice_scatter(op: CallOp, rewriter: Rewriter) -> None:
    base, source = operands_of(op)[0], operands_of(op)[1]
    if has_same_type(base, source) and op.argument("step") == 1:
        _replace(op, "aten.copy", [base, source, False], rewriter)


@pattern("aten.cat")
def rename_cat_of_one(op: CallOp, rewriter: Rewriter) -> None:
    if len(operands_of(op)) == 1 and has_same_type(operands_of(op)[0], op.results[0]):
        _replace(op, "aten.clone", [operands_of(op)[0], "contiguous_format"], rewriter)


@pattern("aten.repeat")
def rename_repeat_once(op: CallOp, rewriter: Rewriter) -> None:
    if all(count == 1 for count in op.argument("repeats")) and has_same_type(
        operands_of(op)[0], op.results[0]
    ):
        _replace(op, "aten.clone", [operands_of(op)[0], "contiguous_format"], rewriter)


@pattern("aten.constant_pad_nd")
def rename_empty_pad(op: CallOp, rewriter: Rewriter) -> None:
    if all(width == 0 for width in op.argument("pad")):
        replace_by_copy(op, operands_of(op)[0], rewriter)


@pattern("aten.native_dropout")
def drop_dropout_of_evaluation(op: CallOp, rewriter: Rewriter) -> None:
    output, mask = op.results
    if op.argument("train") is not False or mask.first_use is not None:
        return
    cls = lookup("aten.clone")
    assert cls is not None
    clone = rewriter.create(cls, [operands_of(op)[0], None], [output.type], op)
    rewriter.replace(op, [clone.results[0], None])


@pattern("aten.dropout")
def drop_dropout_alias(op: CallOp, rewriter: Rewriter) -> None:
    if op.argument("train") is False:
        rewriter.replace(op, [operands_of(op)[0]])


def _replace(op: CallOp, name: str, values: list[object], rewriter: Rewriter) -> None:
    cls = lookup(name)
    assert cls is not None, name
    rewriter.replace(op, [rewriter.create(cls, values, [op.results[0].type], op).results[0]])


PATTERNS: tuple[Pattern, ...] = (
    drop_redundant_clone,
    drop_redundant_lift,
    drop_functional_copy,
    drop_copy_onto_itself,
    rename_whole_slice_scatter,
    rename_cat_of_one,
    rename_repeat_once,
    rename_empty_pad,
    drop_dropout_of_evaluation,
    drop_dropout_alias,
)
