"""Values that share memory by plan: ``stream.buffers = ["b0", ...]`` names the memory of each
result."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

from xdsl.dialects.builtin import ArrayAttr, StringAttr
from xdsl.ir import Attribute, Operation

from torchair.dialects.stream.attributes import BUFFERS
from torchair.ir.private import operands_of
from torchair.passes.scheduling.tasks import alias_roots


class BufferUses:
    """For each operation that takes over a buffer, who read or wrote it last."""

    def __init__(self, ops: Sequence[Operation]) -> None:
        self._before: dict[int, list[tuple[int, str]]] = {}
        if any(op.attributes and BUFFERS in op.attributes for op in ops):
            self._collect(ops)

    def readers_before(self, number: int) -> Sequence[tuple[int, str]]:
        """Operations that must be over before this one writes its results, with the buffer."""
        return self._before.get(number, ())

    def _collect(self, ops: Sequence[Operation]) -> None:
        roots = alias_roots(ops)
        buffer_of: dict[object, str] = {}
        users: dict[str, list[int]] = {}
        for number, op in enumerate(ops):
            touched = {buffer_of.get(roots.get(v, v)) for v in operands_of(op)} - {None}
            for name in touched:
                users[cast(str, name)].append(number)
            for result, name in zip(op.results, _buffers(op), strict=False):
                earlier = [(user, name) for user in users.get(name, ()) if user != number]
                self._before.setdefault(number, []).extend(earlier)
                users[name] = [number]
                buffer_of[result] = name


def _buffers(op: Operation) -> list[str]:
    found = op.attributes.get(BUFFERS) if op.attributes else None
    if not isinstance(found, ArrayAttr):
        return []
    items = cast("ArrayAttr[Attribute]", found)
    return [item.data if isinstance(item, StringAttr) else "" for item in items]
