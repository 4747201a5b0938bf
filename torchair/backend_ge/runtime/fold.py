"""Computes once what is the same in every replay: positions, masks, tables, views of parameters.

    %0 = arange(16); %1 = cos(%0); %2 = t(%weight)      ->      constants %1, %2

Only views are taken of frozen parameters, whose elements may change. Nothing is folded that a call
writes, that is returned, that draws random numbers, or that a custom operator computes.
Numeric class: exact, the same kernels compute it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch

from torchair.backend_ge.host.aten_schema import bind_arguments, schema_of
from torchair.backend_ge.host.program import AtenCall, Slot, Trace
from torchair.backend_ge.host.tracing import has_effects, real_execution
from torchair.backend_ge.runtime.reinplace import Storages, slots_in

FOLD_LIMIT = 65536
"""Largest number of elements of a folded value that is not a view."""


def fold(trace: Trace, storages: Storages, frozen: frozenset[Slot]) -> int:
    """Replace calls of a trace by constants.

    Args:
        trace: changed.
        storages: which slots share memory.
        frozen: constants whose elements may change.

    Returns:
        How many calls are gone.
    """
    fixed = {storages.of(slot) for call in trace.calls for slot in written_slots(call)}
    fixed.update(storages.of(slot) for slot in trace.outputs)
    changing = set(frozen)
    kept: list[AtenCall] = []
    with real_execution(), torch.inference_mode(False):
        for call in trace.calls:
            read = list(slots_in((call.args, call.kwargs)))
            is_changing = any(slot in changing for slot in read)
            if not _is_foldable(call, read, trace, is_changing) or any(
                storages.of(slot) in fixed or _is_large(call, storages.fakes[slot])
                for slot in slots_in(call.results)
            ):
                kept.append(call)
                continue
            trace.constants.update(_computed(call, trace.constants))
            changing.update(slots_in(call.results) if is_changing else ())
    gone = len(trace.calls) - len(kept)
    trace.calls[:] = kept
    used = {*trace.outputs, *slots_in([(call.args, call.kwargs) for call in kept])}
    for slot in [slot for slot in trace.constants if slot not in used]:
        del trace.constants[slot]
    return gone


def _is_foldable(call: AtenCall, read: list[Slot], trace: Trace, is_changing: bool) -> bool:
    if call.op.namespace not in ("aten", "prims") or has_effects(call.op):
        return False
    known = all(slot in trace.constants for slot in read) and None not in call.results
    return known and (_is_view(call) or not is_changing)


def _is_view(call: AtenCall) -> bool:
    return all(returned.aliases for returned in schema_of(call.op).returns)


def _is_large(call: AtenCall, result: torch.Tensor) -> bool:
    return result.numel() > FOLD_LIMIT and not _is_view(call)


def _computed(call: AtenCall, known: dict[Slot, torch.Tensor]) -> Iterator[tuple[Slot, Any]]:
    args = [_fill(item, known) for item in call.args]
    kwargs = {name: _fill(item, known) for name, item in call.kwargs.items()}
    found = call.op(*args, **kwargs)
    tensors = list(found) if isinstance(found, list | tuple) else [found]
    return zip(slots_in(call.results), tensors, strict=True)


def _fill(item: Any, known: dict[Slot, torch.Tensor]) -> Any:
    if isinstance(item, Slot):
        return known[item]
    return [_fill(part, known) for part in item] if isinstance(item, list | tuple) else item


def written_slots(call: AtenCall) -> Iterator[Slot]:
    """The slots that a call writes."""
    for argument in bind_arguments(schema_of(call.op), call.args, call.kwargs):
        if argument.spec.writes:
            yield from slots_in(argument.value)
