"""When a tensor that was copied, written and copied back may be written where it is.

    %c = copy(%x)                 # aten.clone, ge.TensorMove
    %r = write(%c, ...)           # any operation that writes an operand
    assign(%x, %r)                # aten.copy_, ge.Assign        ->      %r = write(%x, ...)

The proof: between the first write and the assignment nobody reads ``%x``; afterwards nobody writes
either; the copy has no other purpose. ``find_copies`` gives every candidate with the reason when
the proof fails, so that a report can say which copies are left and why.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from xdsl.dialects.builtin import ModuleOp
from xdsl.ir import Block, BlockArgument, Operation, SSAValue

from torchair.ir import private
from torchair.ir.calls import CallOp
from torchair.ir.location import describe
from torchair.ir.rewrite import Rewriter
from torchair.passes.canonicalize.aliasing import writes_operand


@dataclass(frozen=True)
class CopyWords:
    """How one dialect says it.

    Args:
        copies: operations whose result is a fresh tensor with the value of their operand.
        assign: operation that writes its second operand into its first.
        is_alias: whether a result shares the memory of an operand, by their indices.
        sizes: operations that read sizes, not elements.
        returns_alias: whether a tensor that the graph returns may be the memory of an argument.
    """

    copies: tuple[str, ...]
    assign: str
    is_alias: Callable[[CallOp, int, int], bool]
    sizes: tuple[str, ...]
    returns_alias: bool


@dataclass(slots=True)
class Candidate:
    """A tensor that is copied, written and assigned back.

    Args:
        target: the argument.
        copy: the copy of it.
        assign: the assignment back.
        reason: why the copy is needed; None when it is not.
    """

    target: SSAValue
    copy: CallOp
    assign: CallOp
    reason: str | None = None


@dataclass(slots=True)
class Memory:
    """Everything that touches one buffer."""

    readers: list[Operation] = field(default_factory=list[Operation])
    writers: list[Operation] = field(default_factory=list[Operation])


def find_copies(module: ModuleOp, words: CopyWords) -> Iterator[Candidate]:
    """Every tensor of a module that is copied, written and assigned back."""
    for function in module.ops:
        for region in function.regions:
            for block in region.blocks:
                yield from _find_in_block(block, words)


def _find_in_block(block: Block, words: CopyWords) -> Iterator[Candidate]:
    assigns = [op for op in private.iter_ops(block) if op.name == words.assign]
    if not assigns:
        return
    position = {op: index for index, op in enumerate(private.iter_ops(block))}
    for assign in assigns:
        target = assign.operands[0]
        if not isinstance(assign, CallOp) or not isinstance(target, BlockArgument):
            continue
        source = _origin(assign.operands[1], words)
        copy = source.owner
        if not isinstance(copy, CallOp) or copy.name not in words.copies:
            continue
        if copy.operands[0] is target and copy.results[0].type == target.type:
            reason = _why_needed(target, copy, assign, position, words)
            yield Candidate(target, copy, assign, reason)


def _origin(value: SSAValue, words: CopyWords) -> SSAValue:
    """The tensor whose memory a value is, through writes that return it."""
    while isinstance(op := value.owner, CallOp):
        aliased = _aliased_operand(op, value, words)
        if aliased is None:
            return value
        value = aliased
    return value


def _aliased_operand(op: CallOp, value: SSAValue, words: CopyWords) -> SSAValue | None:
    result = next(i for i, candidate in enumerate(op.results) if candidate is value)
    for index, operand in enumerate(op.operands):
        if words.is_alias(op, result, index):
            return operand
    return None


def touches(value: SSAValue, words: CopyWords) -> Memory:
    """Readers and writers of the memory of a value, through all its aliases."""
    memory, pending, seen = Memory(), [value], {value}
    while pending:
        for use in pending.pop().uses:
            op = use.operation
            writes = isinstance(op, CallOp) and writes_operand(op, use.index)
            (memory.writers if writes else memory.readers).append(op)
            fresh = [v for v in _aliases_of(op, use.index, words) if v not in seen]
            seen.update(fresh)
            pending.extend(fresh)
    return memory


def _aliases_of(op: Operation, operand: int, words: CopyWords) -> list[SSAValue]:
    """The results that share the memory of an operand."""
    if not isinstance(op, CallOp):
        return []
    return [v for index, v in enumerate(op.results) if words.is_alias(op, index, operand)]


def _why_needed(
    target: SSAValue,
    copy: CallOp,
    assign: CallOp,
    position: dict[Operation, int],
    words: CopyWords,
) -> str | None:
    mine = touches(copy.results[0], words)
    start = min((position[op] for op in mine.writers), default=position[copy])
    for op in mine.writers:
        if position[op] > position[assign]:
            return f"its copy is written again by {label(op)}, after it was assigned"
    returned = returner(mine)
    if returned is not None and not words.returns_alias:
        return "it is returned as a tensor of its own"
    return why_read_later(target, {copy, assign}, set(mine.writers), start, position, words)


def returner(memory: Memory) -> Operation | None:
    """The return of the function, when it gives this memory away."""
    return next((op for op in memory.readers if not isinstance(op, CallOp)), None)


def why_read_later(
    target: SSAValue,
    own: set[Operation],
    writers: set[Operation],
    start: int,
    position: dict[Operation, int],
    words: CopyWords,
) -> str | None:
    """Why a target must keep its old value from its first write on; None when it need not.

    Args:
        target: the argument.
        own: the operations that the rewrite removes.
        writers: the operations that will write the target.
        start: position of the first of them.
        position: positions of all operations of the block.
        words: the dialect's words.
    """
    theirs = touches(target, words)
    end = max(position[op] for op in own)
    for op in theirs.writers:
        if op not in own:
            return f"it is also written by {label(op)}"
    for op in theirs.readers:
        if op in own or op.name in words.sizes:
            continue
        if op in writers:
            return f"{label(op)} reads the old value while it writes"
        if start < position[op] < end:
            return f"{label(op)} reads the old value after the first write"
    return None


def label(op: Operation | Block) -> str:
    """An operation for messages: its operator and source line."""
    if isinstance(op, Block):
        return "another input"
    name, source = describe(op)
    return f"{name or op.name} at {source}" if source else (name or op.name)


def write_in_place(candidate: Candidate, rewriter: Rewriter) -> None:
    """Write the target itself: the copy and the assignment go."""
    for result in candidate.assign.results:
        rewriter.replace_value(result, candidate.assign.operands[1])
    rewriter.erase(candidate.assign)
    rewriter.replace(candidate.copy, [candidate.target])
