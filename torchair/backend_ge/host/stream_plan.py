"""Events between the calls of a trace that runs on several streams."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch

from torchair.backend_ge.host.aten_schema import bind_arguments, communicates, schema_of
from torchair.backend_ge.host.trace import AtenCall, Slot
from torchair.dialects.stream.order import minimal_waits

StorageOf = Callable[[Slot], object]


def order_calls(calls: list[AtenCall], storage_of: StorageOf) -> None:
    """Set ``waits`` and ``records`` of calls whose ``stream`` is set, as few as will do.

    A call comes after those that define its arguments, after earlier writers of memory it touches,
    after earlier readers of memory it writes, and, when it draws random numbers or acts outside,
    after the last call that did.

    Args:
        calls: in program order.
        storage_of: what a slot's memory is known by; slots that share memory share it.
    """
    numbers = {stream: n for n, stream in enumerate(dict.fromkeys([0, *[c.stream for c in calls]]))}
    if len(numbers) == 1:
        return
    before = _Hazards(storage_of).read(calls)
    edges = minimal_waits([numbers[c.stream] for c in calls], before, len(numbers))
    events: dict[int, int] = {}
    for call, sources in zip(calls, edges, strict=True):
        call.waits = tuple([events.setdefault(source, len(events)) for source in sources])
    for source, event in events.items():
        calls[source].records = (event,)


class _Hazards:
    """What each call must come after, from slots and from memory."""

    def __init__(self, storage_of: StorageOf) -> None:
        self.storage_of = storage_of
        self.defined: dict[Slot, int] = {}
        self.writer: dict[object, int] = {}
        self.readers: dict[object, list[int]] = {}
        self.effect = -1

    def read(self, calls: list[AtenCall]) -> list[list[int]]:
        return [sorted(self._add(number, call)) for number, call in enumerate(calls)]

    def _add(self, number: int, call: AtenCall) -> set[int]:
        slots = list(_slots_in((call.args, call.kwargs)))
        written = {self.storage_of(slot) for slot in _written_slots(call)}
        found = {self.defined[slot] for slot in slots if slot in self.defined}
        for storage in {self.storage_of(slot) for slot in slots}:
            if storage in self.writer:
                found.add(self.writer[storage])
            if storage in written:
                found.update(self.readers.pop(storage, ()))
                self.writer[storage] = number
            else:
                self.readers.setdefault(storage, []).append(number)
        if acts(call.op):
            found.add(self.effect)
            self.effect = number
        for slot in call.results:
            if slot is not None:
                self.defined[slot] = number
        return found - {-1, number}


def acts(op: Any) -> bool:
    """Whether the order of an operator's calls shows: it draws numbers, returns nothing, or
    communicates."""
    is_random = torch.Tag.nondeterministic_seeded in op.tags
    return is_random or not op._schema.returns or communicates(op)


def _written_slots(call: AtenCall) -> Iterator[Slot]:
    for argument in bind_arguments(schema_of(call.op), call.args, call.kwargs):
        if argument.spec.writes:
            yield from _slots_in(argument.value)


def _slots_in(value: object) -> Iterator[Slot]:
    if isinstance(value, Slot):
        yield value
    elif isinstance(value, dict):
        yield from _slots_in(list(value.values()))
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _slots_in(item)
