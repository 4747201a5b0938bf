"""Whether a fresh tensor may become a second name of the tensor it was copied from.

A copy is not redundant when the copy or its source is written in place, when the copy leaves the
function (the caller may write it), or when a view of it needs strides that the source lacks.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from xdsl.ir import Operation, SSAValue

from torchair.dialects.aten import table
from torchair.ir import interned
from torchair.ir.calls import CallOp
from torchair.ir.schema import Schema

_WALK_LIMIT = 256
_ALIAS_RESULT = re.compile(r"->.*\(\w")
_UNMARKED_ALIASES = ("aten._unsafe_view", "_c10d_functional.wait_tensor")
"""Operators whose result shares its operand's storage although the schema does not say so."""
_STRIDE_BLIND_READERS = frozenset(
    ("aten.copy_", "aten.mm", "aten.bmm", "aten.addmm", "aten.baddbmm")
)
"""Readers whose result has the same strides whatever the strides of their operands."""


def may_become(result: SSAValue, source: SSAValue, *, same_strides: bool = True) -> bool:
    """Whether ``result``, a fresh tensor with the value of ``source``, may be replaced by it.

    Args:
        result: the copy.
        source: what it was copied from.
        same_strides: whether a copy of a dense source has the strides of the source.
    """
    if leaves_or_is_written(result) or is_ever_written(source):
        return False
    if interned.shape_of(source.type) == () or (same_strides and _is_dense(source)):
        return True
    return all(use.operation.name in _STRIDE_BLIND_READERS for use in result.uses)


def is_ever_written(value: SSAValue) -> bool:
    """Whether anything writes the storage of a value: it may differ from one reader to the next."""
    return _reaches(_root(value), and_return=False)


def is_view_op(op: Operation) -> bool:
    """Whether a result of the operation may share storage with an operand."""
    if not isinstance(op, CallOp):
        return True
    return op.name in _UNMARKED_ALIASES or _aliases(op.schema)


def _aliases(schema: Schema) -> bool:
    return "view" in table.tags(schema.name) or _ALIAS_RESULT.search(schema.text) is not None


def _root(value: SSAValue) -> SSAValue:
    """The tensor whose storage a value shares, through any number of views."""
    while isinstance(owner := value.owner, CallOp) and is_view_op(owner) and owner.operands:
        value = owner.operands[0]
    return value


def _is_dense(value: SSAValue) -> bool:
    """Whether a value is a tensor of its own, not a view and not an argument."""
    owner = value.owner
    return isinstance(owner, CallOp) and not is_view_op(owner)


def leaves_or_is_written(value: SSAValue) -> bool:
    """Whether a tensor or a view of it is returned, or written in place."""
    return _reaches(value, and_return=True)


def _reaches(value: SSAValue, and_return: bool) -> bool:
    """Whether a writer (or the function's return) uses the value or a view of it."""
    for count, (op, index) in enumerate(_users_of_storage(value)):
        if not isinstance(op, CallOp):
            if and_return:
                return True
        elif count >= _WALK_LIMIT or writes_operand(op, index):
            return True
    return False


def _users_of_storage(value: SSAValue) -> Iterator[tuple[Operation, int]]:
    """Users of a value and of all views of it, with the operand's index."""
    pending = [value]
    while pending:
        for use in pending.pop().uses:
            yield use.operation, use.index
            if isinstance(use.operation, CallOp) and is_view_op(use.operation):
                pending.extend(use.operation.results)


def writes_operand(op: CallOp, index: int) -> bool:
    """Whether an operation writes one of its operands."""
    if op.schema.pure or not any(p.writes for p in op.schema.parameters):
        return False
    end = 0
    for parameter, count in zip(op.schema.parameters, op.operand_counts(), strict=True):
        end += count
        if index < end:
            return parameter.writes
    return False
