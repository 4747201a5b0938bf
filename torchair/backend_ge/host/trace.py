"""A program before it is native: tensors as slots, and one entry per ATen call."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch
    from torch._ops import OpOverload


@dataclass(frozen=True, slots=True)
class Slot:
    """A tensor value of a trace."""

    index: int


@dataclass(slots=True)
class AtenCall:
    """One traced call.

    Arguments are nested lists of Slot, numbers, bool, str, None, dtype, layout, device and memory
    format. ``results`` has one entry per tensor result in order, lists flattened; None for a result
    that is undefined or not used. ``origin`` comes back in a ProgramError.

    ``stream`` says where the call runs: stream 0 is the thread that runs the program, every other
    one has a thread of its own. ``waits`` and ``records`` are numbers of events, waited for before
    the call and recorded after it; an event is recorded once, by an earlier call than its waits.
    """

    op: OpOverload
    args: tuple[object, ...]
    kwargs: dict[str, object]
    results: list[Slot | None]
    origin: int
    stream: int = 0
    waits: tuple[int, ...] = ()
    records: tuple[int, ...] = ()


@dataclass(slots=True)
class Trace:
    """A program in the making. Outputs may repeat, and may be inputs or constants."""

    inputs: list[Slot]
    constants: dict[Slot, torch.Tensor]
    calls: list[AtenCall]
    outputs: list[Slot]
