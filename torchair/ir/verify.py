"""Fast verifier with dominance, run after every pass.

A signature (class, operand types, result types, properties) is checked once and remembered, and an
operation remembers with what it was found right; each operation then costs half a microsecond.
Dominance, which xDSL 0.74 does not check, is checked each time. Attributes are compared by
identity, so the memo keeps them alive.
"""

from __future__ import annotations

from typing import Any

from xdsl.dialects.builtin import ModuleOp
from xdsl.dialects.func import FuncOp
from xdsl.ir import Attribute, Block, Operation, Region, SSAValue
from xdsl.traits import IsolatedFromAbove, IsTerminator, NoTerminator
from xdsl.utils.exceptions import VerifyException

from torchair.errors import VerifyError
from torchair.ir.call_verify import control_type
from torchair.ir.calls import CallOp
from torchair.ir.location import describe
from torchair.ir.private import iter_ops, operands_of, types_of

_MEMO_LIMIT = 200_000
_memo: dict[tuple[Any, ...], tuple[Attribute, ...]] = {}
"""Signatures that were found right, and the attributes whose ids they are made of."""


def verify_module(module: ModuleOp) -> None:
    """Check every operation of a module.

    Raises:
        VerifyError: naming the operation and its source line.
    """
    _verify_region(module.body, set(), module)


def verify_op(op: CallOp) -> None:
    """Check one operation without regions, dominance apart.

    Raises:
        VerifyError: naming the operation and its source line.
    """
    _verify_signature(op)


def _verify_region(region: Region, visible: set[int], parent: Operation) -> None:
    blocks = list(region.blocks)
    if len(blocks) > 1:
        _verify_with_xdsl(parent)
        return
    for block in blocks:
        _verify_block(block, visible, parent)


def _verify_block(block: Block, visible: set[int], parent: Operation) -> None:
    """Verify a block; ``visible``: ids of the values that it may use (values hash slowly)."""
    defined: set[int] = set()
    if not parent.has_trait(IsolatedFromAbove):
        defined.update(visible)
    defined.update(map(id, block.args))
    for op in iter_ops(block):
        operands = operands_of(op)
        for operand in operands:
            if id(operand) not in defined:
                _fail(op, _dominance_message(op, operand))
        if not isinstance(op, CallOp) or op.regions:
            _verify_other(op, defined)
        else:
            seen = op.checked
            if (
                seen is None
                or seen[0] is not operands
                or seen[1] is not op.results
                or seen[2] != op.properties
            ):
                _verify_signature(op)
        for result in op.results:
            defined.add(id(result))
    last = block.last_op
    if last is None:
        if not parent.has_trait(NoTerminator):
            _fail(parent, "its block has no terminator")
    elif not last.has_trait(IsTerminator) and not parent.has_trait(NoTerminator):
        _fail(last, "the last operation of a block must be a terminator")


def _verify_signature(op: CallOp) -> None:
    operands, results, properties = operands_of(op), op.results, op.properties
    key: list[Any] = [op.__class__]
    for value in operands:
        key.append(id(value.type))
    key.append(None)
    for value in results:
        key.append(id(value.type))
    key += properties
    key += map(id, properties.values())
    signature = tuple(key)
    if signature not in _memo:
        try:
            op.verify_()
        except VerifyException as error:
            _fail(op, str(error))
        if len(_memo) >= _MEMO_LIMIT:
            _memo.clear()
        _memo[signature] = (*types_of(operands), *types_of(results), *properties.values())
    op.checked = operands, results, dict(properties)


def _verify_other(op: Operation, visible: set[int]) -> None:
    for region in op.regions:
        _verify_region(region, visible, op)
    if isinstance(op, FuncOp):
        _verify_function(op)
        return
    try:
        op.verify(verify_nested_ops=False)
    except VerifyException as error:
        _fail(op, str(error).splitlines()[0])


def _verify_function(function: FuncOp) -> None:
    """Signature against body; isolation is what the dominance check established."""
    if function.is_declaration:
        return
    block = function.body.block
    if [a.type for a in block.args] != list(function.function_type.inputs):
        _fail(function, "the entry block's arguments differ from the function's inputs")
    last = block.last_op
    if last is None:
        return
    returned = [v.type for v in operands_of(last) if v.type != control_type]
    if returned != list(function.function_type.outputs):
        _fail(last, "the returned types differ from the function's results")


def _verify_with_xdsl(op: Operation) -> None:
    """Multi-block regions do not occur in our graphs; xDSL's own verifier covers them."""
    try:
        op.verify()
    except VerifyException as error:
        _fail(op, str(error).splitlines()[0])


def _dominance_message(op: Operation, operand: SSAValue) -> str:
    owner = operand.owner
    name = f"%{operand.name_hint}" if operand.name_hint else "an operand"
    if isinstance(owner, Block):
        return f"{name} is an argument of a block that does not enclose the operation"
    return f"{name} (result of {owner.name}) is used before its definition"


def _fail(op: Operation, message: str) -> None:
    label, source = describe(op)
    raise VerifyError(
        f"'{op.name}' is malformed: {message}",
        op=label,
        loc=source,
        hint="print the module with --print-op-generic to see every property; if a pass made it, "
        "report the pass named above",
    )
