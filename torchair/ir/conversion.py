"""Conversion by rebuilding: a function is written anew, operation by operation, with a value map.

Rebuilding costs a third of replacing in place, never leaves dangling uses, and makes 1:n lowering
and location passing trivial.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from xdsl.dialects.builtin import ArrayAttr, DictionaryAttr, FunctionType, StringAttr
from xdsl.dialects.func import FuncOp
from xdsl.ir import Attribute, Block, Operation, Region, SSAValue

from torchair.ir.private import iter_ops, set_name

Handler = Callable[[Operation, dict[SSAValue, SSAValue]], None]


def build_function(
    name: str,
    argument_types: Sequence[Attribute],
    result_types: Sequence[Attribute],
    argument_attributes: Sequence[DictionaryAttr] | None = None,
) -> tuple[FuncOp, Block]:
    """An empty ``func.func`` with its entry block; the caller appends operations."""
    block = Block(arg_types=argument_types)
    function = FuncOp(
        name,
        FunctionType.from_lists(list(argument_types), list(result_types)),
        Region(block),
        visibility=StringAttr("public"),
        arg_attrs=None if argument_attributes is None else ArrayAttr(argument_attributes),
    )
    return function, block


def argument_attributes(function: FuncOp) -> list[dict[str, Attribute]]:
    """One dictionary per argument."""
    count = len(function.body.block.args)
    if function.arg_attrs is None:
        return [{} for _ in range(count)]
    return [dict(entry.data) for entry in function.arg_attrs]


def set_result_types(function: FuncOp, result_types: Sequence[Attribute]) -> None:
    """Update a function's type after its terminator is known."""
    inputs = [argument.type for argument in function.body.block.args]
    function.function_type = FunctionType.from_lists(inputs, list(result_types))


def rebuild(source: Block, target: Block, handle: Handler) -> dict[SSAValue, SSAValue]:
    """Map the source block's arguments to the target's, then call ``handle`` on each operation."""
    values: dict[SSAValue, SSAValue] = {}
    for old, new in zip(source.args, target.args, strict=True):
        values[old] = new
        if old.name_hint is not None:
            set_name(new, old.name_hint)
    for op in iter_ops(source):
        handle(op, values)
    return values
