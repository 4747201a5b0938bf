"""Partial writes of values of a program happen in place, where nobody can tell.

    %1 = index_copy(%0, 2, %i, %k)      ->      index_copy_(%0, 2, %i, %k)

A call may write its first operand when that is neither input, constant nor output, no later call
reads its storage, every reader is on the call's stream, no other operand shares it, and the result
has the same layout. Inputs of a graph are the pass ``reinplace``'s, which needs no layouts.
Numeric class: exact, the in-place overload of an operator runs the same kernel.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch

from torchair.backend_ge.host.program import AtenCall, Slot, Trace

_COPY = torch.ops.aten.copy_.default
_WRITERS = frozenset(
    (
        *("index_put", "index_copy", "index_add", "index_fill", "masked_fill", "masked_scatter"),
        *("scatter", "scatter_add", "scatter_reduce"),
    )
)
"""Operators that copy their first operand and write a part of it."""
_VIEW_WRITERS = {
    "slice_scatter": torch.ops.aten.slice.Tensor,
    "select_scatter": torch.ops.aten.select.int,
    "diagonal_scatter": torch.ops.aten.diagonal.default,
}
"""Operators that copy their first operand and overwrite a view of it."""


@dataclass(frozen=True, slots=True)
class Storages:
    """Which slots share memory.

    Args:
        fakes: tensor of each slot.
        fixed: slots whose memory is not the program's own: inputs and constants.
    """

    fakes: dict[Slot, torch.Tensor]
    fixed: frozenset[Slot]

    def of(self, slot: Slot) -> int:
        """Identity of a slot's storage."""
        return self.fakes[slot].untyped_storage()._cdata

    def same_layout(self, a: Slot, b: Slot) -> bool:
        """Whether one tensor can hold the elements of the other."""
        x, y = self.fakes[a], self.fakes[b]
        same = x.shape == y.shape and x.stride() == y.stride() and x.dtype == y.dtype
        return same and (0 not in x.stride() or x.numel() <= 1)


def reinplace(trace: Trace, storages: Storages) -> int:
    """Let calls of a trace write in place.

    Args:
        trace: changed.
        storages: which slots share memory.

    Returns:
        How many calls now write in place.
    """
    rewrite = _Reinplace(trace, storages)
    rewrite.own_values()
    rewrite.apply()
    return rewrite.count


class _Reinplace:
    """Calls by index, with the readers of every storage."""

    def __init__(self, trace: Trace, storages: Storages) -> None:
        self.trace, self.storages = trace, storages
        self.calls = list(trace.calls)
        self.count = 0
        self.renamed: dict[Slot, Slot] = {}
        self.merged: dict[int, int] = {}
        self.readers: dict[int, list[int]] = {}
        for index, call in enumerate(trace.calls):
            for slot in {*slots_in((call.args, call.kwargs))}:
                self.readers.setdefault(storages.of(slot), []).append(index)
        self.kept = {storages.of(slot) for slot in trace.outputs}
        self.fixed = {storages.of(slot) for slot in storages.fixed}

    def own_values(self) -> None:
        """Partial writes of tensors that are read for the last time."""
        for index, call in enumerate(self.calls):
            if not self._can_write(call):
                continue
            target = next(slots_in(call.args[0]))
            storage = self._storage(target)
            owned = storage not in self.fixed and storage not in self.kept
            readers = self._readers(target)
            if owned and max(readers) == index and self._is_on_one_stream(readers):
                self._write(index)

    def _is_on_one_stream(self, calls: list[int]) -> bool:
        """Whether the order of calls in the list is the order in which they run."""
        return len({self.trace.calls[index].stream for index in calls}) == 1

    def _storage(self, slot: Slot) -> int:
        storage = self.storages.of(slot)
        while storage in self.merged:
            storage = self.merged[storage]
        return storage

    def _readers(self, slot: Slot) -> list[int]:
        return self.readers.get(self._storage(slot), [])

    def _can_write(self, call: AtenCall) -> bool:
        if _in_place(call) is None or len(call.results) != 1:
            return False
        target, result = call.args[0], call.results[0]
        if not isinstance(target, Slot) or result is None:
            return False
        storage = self._storage(target)
        others = slots_in((call.args[1:], call.kwargs))
        return self.storages.same_layout(target, result) and all(
            self._storage(slot) != storage for slot in others
        )

    def _write(self, index: int) -> None:
        """Let a call write its first operand: result and operand are one tensor from here on."""
        call = self.calls[index]
        target = next(slots_in(call.args[0]))
        result = next(slots_in(call.results))
        old, new = self._storage(result), self._storage(target)
        self.readers.setdefault(new, []).extend(self.readers.pop(old, []))
        if old in self.kept:
            self.kept.add(new)
        self.merged[old] = new
        self.renamed[result] = target
        self.count += 1
        op: Any = _in_place(call)
        self.calls[index] = AtenCall(
            op, call.args, call.kwargs, [target], call.origin, stream=call.stream
        )

    def apply(self) -> None:
        """Put the calls back, with slots renamed; expand overwritten views."""
        calls: list[AtenCall] = []
        for call in self.calls:
            call.args = self._rename(call.args)
            call.kwargs = self._rename(call.kwargs)
            call.results = self._rename(call.results)
            calls.extend(self._expanded(call))
        self.trace.calls[:] = calls
        self.trace.outputs[:] = self._rename(self.trace.outputs)

    def _expanded(self, call: AtenCall) -> list[AtenCall]:
        view_op = _VIEW_WRITERS.get(_name(call))
        if view_op is None or call.results != [call.args[0]]:
            return [call]
        target, source, *place = call.args
        fakes = self.storages.fakes
        view = Slot(1 + max(slot.index for slot in fakes))
        fakes[view] = fakes[next(slots_in(target))]
        return [
            AtenCall(
                view_op, (target, *place), call.kwargs, [view], call.origin, stream=call.stream
            ),
            AtenCall(_COPY, (view, source), {}, [view], call.origin, stream=call.stream),
        ]

    def _rename(self, value: Any) -> Any:
        if isinstance(value, Slot):
            while value in self.renamed:
                value = self.renamed[value]
            return value
        if isinstance(value, list | tuple):
            return type(value)(self._rename(item) for item in value)
        if isinstance(value, dict):
            return {name: self._rename(item) for name, item in value.items()}
        return value


def _name(call: AtenCall) -> str:
    return call.op._schema.name.removeprefix("aten::")


def _in_place(call: AtenCall) -> Any:
    """What writes a part of its first operand: an overload, a view writer for itself, or None."""
    schema = call.op._schema
    name = _name(call)
    if "::" in name or schema.is_mutable:
        return None
    if name in _VIEW_WRITERS:
        return call.op
    if name not in _WRITERS:
        return None
    packet = getattr(torch.ops.aten, f"{name}_", None)
    found = getattr(packet, schema.overload_name or "default", None)
    if found is None or not found._schema.is_mutable:
        return None
    names = [argument.name for argument in schema.arguments]
    return found if [argument.name for argument in found._schema.arguments] == names else None


def slots_in(value: Any) -> Iterator[Slot]:
    """Every slot of nested arguments."""
    if isinstance(value, Slot):
        yield value
    elif isinstance(value, list | tuple):
        for item in value:
            yield from slots_in(item)
    elif isinstance(value, dict):
        for item in value.values():
            yield from slots_in(item)
