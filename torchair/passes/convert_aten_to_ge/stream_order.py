"""Records, waits and prints as control edges of the GE graph under construction.

A wait becomes a control edge from the last node of the recording stream to the first node that the
waiting stream gets next; constants are no such nodes, for they run at no time.
"""

from __future__ import annotations

from xdsl.ir import Block, Operation, SSAValue

from torchair.dialects.ge.dialect import GeOp
from torchair.dialects.stream import MAIN, RecordOp, WaitOp, label_of
from torchair.ir.call_verify import control_count, control_type
from torchair.ir.calls import CallOp
from torchair.ir.private import add_result, operands_of

_TIMELESS = frozenset(("ge.Const", "ge.Constant", "ge.FileConstant", "ge.Data"))
_CHAINED = frozenset(("ge.PrintV2", "ge.AttentionToFFN", "ge.FFNToAttention"))
"""Operators that are seen from outside, and so happen in program order and before the end."""


def control_of(op: Operation) -> SSAValue:
    """The control result of an operation, added when it has none yet."""
    if op.results and op.results[-1].type == control_type:
        return op.results[-1]
    return add_result(op, control_type)


class StreamOrder:
    """Follows a conversion, operation by operation.

    Args:
        block: the GE graph.
    """

    def __init__(self, block: Block) -> None:
        self.block = block
        self.last: dict[str, Operation] = {}
        self.events: dict[SSAValue, Operation | None] = {}
        self.pending: dict[str, list[Operation]] = {}
        self.effect: Operation | None = None

    def note(self, op: RecordOp | WaitOp) -> None:
        """A record or a wait of the aten function."""
        label = label_of(op)
        if isinstance(op, RecordOp):
            self.events[op.token] = self.last.get(label)
            return
        sources = [self.events[token] for token in op.operands]
        self.pending.setdefault(label, []).extend(s for s in sources if s is not None)

    def converted(self, op: Operation, last: Operation | None) -> None:
        """An operation of the aten function has been converted.

        Args:
            op: the aten operation.
            last: the last operation of the GE graph before that.
        """
        label = label_of(op)
        new = self.block.first_op if last is None else last.next_op
        while new is not None:
            if new.name not in _TIMELESS:
                self._order(new, self.pending.pop(label, []))
                self.last[label] = new
            new = new.next_op

    def finish(self, end: Operation) -> None:
        """The graph ends with this operation, on the main stream."""
        self._order(end, self.pending.pop(MAIN, []))
        if self.effect is not None:
            self._order(end, [self.effect])

    def _order(self, op: Operation, sources: list[Operation]) -> None:
        if op.name in _CHAINED:
            sources = [*sources, self.effect] if self.effect is not None else sources
            self.effect = op
        if sources and isinstance(op, GeOp):
            add_controls(op, [control_of(source) for source in sources])


def add_controls(op: CallOp, controls: list[SSAValue]) -> None:
    """Add control operands that an operation does not have yet."""
    operands = operands_of(op)
    present = set(operands[len(operands) - control_count(op) :])
    added = [c for c in dict.fromkeys(controls) if c not in present]
    if added:
        op.operands = [*operands, *added]
