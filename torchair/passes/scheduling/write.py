"""Writing a schedule into a block: the order of operations, records and waits."""

from __future__ import annotations

from collections.abc import Sequence

from xdsl.ir import Attribute, Block, Operation, SSAValue

from torchair.dialects.stream import MAIN, RecordOp, WaitOp
from torchair.dialects.stream.attributes import INDEX
from torchair.dialects.stream.order import minimal_waits
from torchair.ir import interned
from torchair.ir.private import relink_ops

ENTRY = 0
"""Number of the point where the function starts, on the main stream, before all operations."""


def event_edges(
    streams: Sequence[int], before: Sequence[Sequence[int]], count: int, opening: int = 0
) -> list[list[int]]:
    """For each operation of a placed block in issue order, the operations whose events it awaits.

    The start of the function is number 0 and the operations follow it from 1: a stream forks there
    unless its first operation waits for something anyway; `opening` operations of the main stream
    come before the fork. The last operation joins all streams.
    """
    first: dict[int, int] = {}
    last: dict[int, int] = {}
    for number, stream in enumerate(streams, start=1):
        first.setdefault(stream, number)
        last[stream] = number
    shifted: list[list[int]] = [[]]
    shifted += [[source + 1 for source in earlier] for earlier in before]
    for stream, number in first.items():
        if stream:
            shifted[number].append(ENTRY + opening)
    if streams:
        end = len(streams)
        shifted[end] += [number for number in last.values() if number != end]
    return minimal_waits([0, *streams], shifted, count)


def write_events(
    block: Block,
    ops: Sequence[Operation],
    streams: Sequence[int],
    edges: Sequence[Sequence[int]],
    labels: dict[int, str],
) -> None:
    """Rebuild a block from its operations with a record per awaited operation and merged waits.

    Args:
        block: the block; records and waits it has now are dropped.
        ops: its other operations in issue order.
        streams: stream of each.
        edges: from ``event_edges``.
        labels: label of each stream.
    """
    awaited = {source for sources in edges for source in sources}
    tokens: dict[int, SSAValue] = {}
    sequence: list[Operation] = []

    def record(number: int, stream: int, location: Attribute | None) -> None:
        if number in awaited:
            op = RecordOp.make(MAIN) if location is None else RecordOp.make(MAIN, location)
            _put(op, stream, labels)
            tokens[number] = op.token
            sequence.append(op)

    record(ENTRY, 0, None)
    for number, (op, stream) in enumerate(zip(ops, streams, strict=True), start=1):
        if edges[number]:
            wait = WaitOp.make(MAIN, [tokens[source] for source in edges[number]], op.location)
            _put(wait, stream, labels)
            sequence.append(wait)
        sequence.append(op)
        record(number, stream, op.location)
    relink_ops(block, sequence)


def _put(op: Operation, stream: int, labels: dict[int, str]) -> None:
    if stream:
        op.attributes["stream.label"] = interned.string(labels[stream])
        op.attributes[INDEX] = interned.integer(stream)


def drop_events(block: Block) -> list[Operation]:
    """Detach and erase the records and waits of a block; returns the operations that remain."""
    kept: list[Operation] = []
    events: list[Operation] = []
    for op in block.ops:
        (events if isinstance(op, RecordOp | WaitOp) else kept).append(op)
    for op in reversed(events):
        block.erase_op(op)
    return kept
