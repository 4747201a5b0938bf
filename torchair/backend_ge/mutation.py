"""How writes to memory become part of a GE graph: outputs that alias inputs, and order edges.

A GE graph has no program order. A final ``ge.Assign`` to a graph input becomes an output that
reuses the input's memory; every other write (an ``Assign`` in the middle, an in-place operator such
as ``Scatter``) stays, and control edges order what reads or writes one memory as the block does.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from xdsl.ir import Block, Operation, SSAValue

from torchair.dialects.ge.dialect import GeOp
from torchair.ir.call_verify import operand_counts
from torchair.ir.private import iter_ops, operands_of


@dataclass(slots=True)
class MutationPlan:
    """What ``emit`` does about writes.

    Args:
        folded: ``Assign`` operations that become outputs (the keys), in block order.
        before: operations that must run before an operation (the keys), beyond its own operands.
    """

    folded: dict[Operation, None] = field(default_factory=dict[Operation, None])
    before: dict[Operation, dict[Operation, None]] = field(
        default_factory=dict[Operation, dict[Operation, None]]
    )


def plan_mutations(block: Block, writers: list[GeOp]) -> MutationPlan:
    """Plan the writes of a graph.

    Args:
        block: the graph.
        writers: its operations that write to an input, in block order.
    """
    plan = MutationPlan()
    if not writers:
        return plan
    position = {op: index for index, op in enumerate(iter_ops(block))}
    arguments = set(block.args)
    memory = _memory_of(writers)
    groups: dict[SSAValue, list[GeOp]] = {}
    for writer in writers:
        for ref in written(writer):
            groups.setdefault(_root(ref, memory), []).append(writer)
    mutated = set(groups)
    folded: list[Operation] = [
        group.pop()
        for root, group in groups.items()
        if root in arguments and _is_foldable(group, root, position, mutated, memory)
    ]
    plan.folded.update(dict.fromkeys(sorted(folded, key=position.__getitem__)))
    aliases: dict[SSAValue, list[SSAValue]] = {root: [root] for root in groups}
    for value in memory:
        aliases[_root(value, memory)].append(value)
    for root, group in groups.items():
        _order(aliases[root], group, position, plan)
    _keep_alive(writers, plan, block)
    return plan


def written(op: GeOp) -> list[SSAValue]:
    """The operands that an operation writes to."""
    counts = operand_counts(op)
    operands = operands_of(op)
    found: list[SSAValue] = []
    for _, index in op.spec.refs:
        start = sum(counts[:index])
        found.extend(operands[start : start + counts[index]])
    return found


def _memory_of(writers: list[GeOp]) -> dict[SSAValue, SSAValue]:
    """The value whose memory a result is, for the results of in-place operations."""
    memory: dict[SSAValue, SSAValue] = {}
    for op in writers:
        counts = operand_counts(op)
        operands = operands_of(op)
        for output, index in op.spec.refs:
            if counts[index] == 1 and output < len(op.results):
                memory[op.results[output]] = _root(operands[sum(counts[:index])], memory)
    return memory


def _root(value: SSAValue, memory: dict[SSAValue, SSAValue]) -> SSAValue:
    while value in memory:
        value = memory[value]
    return value


def _is_foldable(
    group: list[GeOp],
    root: SSAValue,
    position: dict[Operation, int],
    mutated: set[SSAValue],
    memory: dict[SSAValue, SSAValue],
) -> bool:
    """Whether the last write to an argument is an Assign that may become an output.

    Nothing may read the memory afterwards, no other write may hit it but the in-place operation
    that computes the assigned value, and nothing may write to the value: the graph's end reads the
    value and writes it in place, at no particular time.
    """
    last = group[-1]
    operands = operands_of(last)
    if last.name != "ge.Assign" or len(operands) != 2 or operands[0] is not root:
        return False
    value = operands[1]
    source = _root(value, memory)
    if value is root or (source is not root and source in mutated):
        return False
    if set(last.properties) - {"operandSegmentSizes"}:
        return False
    if any(result.first_use is not None for result in last.results):
        return False
    if any(position[use.operation] > position[last] for use in root.uses):
        return False
    return all(writer is value.owner for writer in group[:-1])


def _order(
    values: list[SSAValue],
    group: list[GeOp],
    position: dict[Operation, int],
    plan: MutationPlan,
) -> None:
    """Order the operations that touch one memory as the block does, where a write is involved."""
    if not group:
        return
    users = {use.operation for value in values for use in value.uses}
    users.difference_update(plan.folded)
    writers = set(group)
    last_write: Operation | None = None
    reads: list[Operation] = []
    for op in sorted(users, key=position.__getitem__):
        if op in writers:
            for earlier in [*reads, *([last_write] if last_write is not None else [])]:
                _add_edge(earlier, op, plan)
            last_write = op
            reads = []
        else:
            if last_write is not None:
                _add_edge(last_write, op, plan)
            reads.append(op)


def _add_edge(earlier: Operation, later: Operation, plan: MutationPlan) -> None:
    if any(use.operation is later for result in earlier.results for use in result.uses):
        return
    plan.before.setdefault(later, {})[earlier] = None


def _keep_alive(writers: list[GeOp], plan: MutationPlan, block: Block) -> None:
    """A write whose results nobody uses must still be reached from the graph's outputs."""
    end = block.last_op
    assert end is not None, "the caller found the NetOutput"
    followed = {op for edges in plan.before.values() for op in edges}
    for writer in writers:
        unused = all(result.first_use is None for result in writer.results)
        if unused and writer not in followed and writer not in plan.folded:
            _add_edge(writer, end, plan)
