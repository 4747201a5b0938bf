"""Writes to arguments happen in place: what functionalisation took apart is put together again."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any, ClassVar

from xdsl.dialects.builtin import ModuleOp
from xdsl.ir import Block, BlockArgument, Operation, SSAValue

from torchair.dialects.aten import lookup
from torchair.ir import private
from torchair.ir.calls import CallOp
from torchair.ir.rewrite import Rewriter
from torchair.passes.canonicalize.aliasing import is_view_op, writes_operand
from torchair.passes.copy_elimination import (
    CopyWords,
    find_copies,
    returner,
    touches,
    why_read_later,
    write_in_place,
)
from torchair.passes.fusion_forms import create
from torchair.passes.rewrite_pass import RewritePass

_VIEW_OF_SCATTER = {
    "aten.slice_scatter": "aten.slice.Tensor",
    "aten.select_scatter": "aten.select.int",
    "aten.diagonal_scatter": "aten.diagonal",
}
"""Functional write to a view -> the operation that makes the view."""


def _is_alias(op: CallOp, result: int, operand: int) -> bool:
    """Views share the memory of their first operand; writers may return what they write."""
    return is_view_op(op) and (operand == 0 or writes_operand(op, operand))


WORDS = CopyWords(
    ("aten.clone",),
    "aten.copy_",
    _is_alias,
    ("aten.sym_size.int", "aten.sym_numel"),
    returns_alias=False,
)


@dataclass(frozen=True)
class ReinplacePass(RewritePass):
    """Turns functional updates that are copied back to their argument into writes in place.

        %1 = aten.index_put(%cache, ...)
        %2 = aten.mul(%1, 2)                      %1 = aten.index_put_(%cache, ...)
        %3 = aten.copy_(%cache, %2)       ->      %2 = aten.mul_(%1, 2)

    Only where nobody reads an old value afterwards.
    Numeric class: exact. Shown by: test/lit/passes/reinplace.mlir
    """

    name = "reinplace"
    numeric_class: ClassVar[str] = "exact"

    def rewrite(self, module: ModuleOp) -> bool:
        rewriter = Rewriter()
        for function in module.ops:
            for region in function.regions:
                for block in region.blocks:
                    _update_in_place(block, rewriter)
        for candidate in list(find_copies(module, WORDS)):
            if candidate.reason is None:
                write_in_place(candidate, rewriter)
        return rewriter.changed


def _update_in_place(block: Block, rewriter: Rewriter) -> None:
    assigns = [op for op in private.iter_ops(block) if op.name == WORDS.assign]
    if not assigns:
        return
    position = {op: index for index, op in enumerate(private.iter_ops(block))}
    for assign in assigns:
        target = assign.operands[0]
        if not isinstance(assign, CallOp) or not isinstance(target, BlockArgument):
            continue
        chain = _chain(assign.operands[1], target)
        if not chain or _is_needed(target, chain, assign, position):
            continue
        rewriter.replace(assign, [target])
        for update in chain:
            rewriter.replace(update, [_write(update, target, rewriter)])


def _chain(value: SSAValue, target: SSAValue) -> list[CallOp]:
    """The updates that make a value of the target, in order; none when it is made otherwise."""
    chain: list[CallOp] = []
    while value is not target:
        update = value.owner
        if not isinstance(update, CallOp) or not _is_update(update):
            return []
        chain.insert(0, update)
        value = update.operands[0]
    return chain


def _is_update(op: CallOp) -> bool:
    """Whether an operation gives a tensor with some elements replaced, and can do so in place."""
    is_known = op.name in _VIEW_OF_SCATTER or _in_place_twin(op) is not None
    return is_known and len(op.results) == 1 and op.results[0].type == op.operands[0].type


def _in_place_twin(op: CallOp) -> type[CallOp] | None:
    """The operation of the same parameters that writes its first one."""
    namespace, name, *overload = op.name.split(".")
    twin = lookup(".".join([namespace, f"{name}_", *overload]))
    if twin is None or not op.schema.pure or is_view_op(op):
        return None
    mine = [(p.name, p.kind) for p in op.schema.parameters]
    theirs = [(p.name, p.kind) for p in twin.schema.parameters]
    return twin if mine == theirs and twin.schema.parameters[0].writes else None


def _is_needed(
    target: SSAValue, chain: list[CallOp], assign: CallOp, position: dict[Operation, int]
) -> bool:
    """Whether somebody needs a value that writing in place would destroy."""
    results = [touches(update.results[0], WORDS) for update in chain]
    reads = Counter(op for memory in [touches(target, WORDS), *results] for op in memory.readers)
    if any(reads[update] != 1 for update in chain):  # what it writes by, it reads elsewhere, too
        return True
    if any(memory.writers or returner(memory) for memory in results):
        return True
    for memory, following in zip(results, chain[1:], strict=False):
        if any(position[op] > position[following] for op in memory.readers):
            return True
    own: set[Operation] = {*chain, assign}
    return why_read_later(target, own, set(), position[chain[0]], position, WORDS) is not None


def _write(update: CallOp, target: SSAValue, rewriter: Rewriter) -> SSAValue:
    """Write in place, before the update; returns the target as it is afterwards."""
    values: list[Any] = update.arguments()
    twin = _in_place_twin(update)
    if twin is not None:
        return rewriter.create(twin, values, [target.type], update).results[0]
    _, source, *place = values
    view_type = update.operands[1].type
    view = create(rewriter, _VIEW_OF_SCATTER[update.name], [target, *place], [view_type], update)
    create(rewriter, "aten.copy_", [view.results[0], source], [view_type], update)
    return target
