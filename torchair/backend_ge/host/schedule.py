"""Which calls of a program are ordered: by their stream, or by an event between two streams."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from torchair.backend_ge.host.trace import AtenCall

Placement = tuple[int, list[int], list[int]]
"""Stream, events waited for and events recorded."""
_PLACEMENT_0: Placement = (0, [], [])


@dataclass(slots=True)
class Schedule:
    """The placement of every call, and what it implies.

    Args:
        placements: per call, (stream, events waited for, events recorded), events from 0 on.
        n_streams: how many streams there are.
        n_events: how many events there are.
        clocks: per call, how many calls of each stream are done before it begins; the position of a
            call in its stream is its own entry. Empty for one stream.
    """

    placements: list[Placement]
    n_streams: int = 1
    n_events: int = 0
    clocks: list[tuple[int, ...]] = field(default_factory=list[tuple[int, ...]])

    def is_before(self, first: int, second: int) -> bool:
        """Whether call ``first`` is done before call ``second`` begins."""
        if not self.clocks:
            return first < second
        stream = self.placements[first][0]
        return self.clocks[second][stream] > self.clocks[first][stream]


def keep_calls(schedule: Schedule, kept: Sequence[int]) -> tuple[list[Placement], int]:
    """Placements of some of the calls that order these as before, and the number of events.

    What a call that goes waited for, the next call of its stream waits for; an event that it
    recorded becomes one of the call before it on its stream, together with what it waited for.
    """
    if schedule.n_streams == 1 or len(kept) == len(schedule.placements):
        return [schedule.placements[index] for index in kept], schedule.n_events
    merge = _Merge(schedule.n_events)
    remaining = set(kept)
    for index, placement in enumerate(schedule.placements):
        merge.add(placement, index in remaining)
    return merge.placements, merge.n_events


class _Merge:
    """One walk over all calls."""

    def __init__(self, n_events: int) -> None:
        self.placements: list[Placement] = []
        self.n_events = n_events
        self._latest: dict[int, list[int]] = {}
        self._pending: dict[int, list[int]] = {}
        self._stands_for: dict[int, list[int]] = {}

    def add(self, placement: Placement, is_kept: bool) -> None:
        stream, waits, records = placement
        pending = self._pending.setdefault(stream, [])
        pending += [e for wait in waits for e in self._stands_for.get(wait, [wait])]
        if is_kept:
            self._latest[stream] = list(records)
            self.placements.append((stream, list(dict.fromkeys(pending)), self._latest[stream]))
            pending.clear()
        elif records:
            meant = list(dict.fromkeys([*pending, *self._event_after(stream)]))
            self._stands_for.update(dict.fromkeys(records, meant))

    def _event_after(self, stream: int) -> list[int]:
        """An event of the latest call on a stream, made when it has none; none before any call."""
        latest = self._latest.get(stream)
        if latest is None:
            return []
        if not latest:
            latest.append(self.n_events)
            self.n_events += 1
        return latest[:1]


def schedule_of(calls: Sequence[AtenCall]) -> Schedule:
    """The schedule of a trace.

    Raises:
        ValueError: an event is recorded twice, or waited for by a call that does not come behind
            its record (without a record the wait has no meaning, in front of it the streams may
            wait for each other); names the calls.
    """
    if all(call.stream == 0 and not call.waits and not call.records for call in calls):
        return Schedule([_PLACEMENT_0] * len(calls))
    events = _number_events(calls)
    streams = {0: 0}
    for call in calls:
        streams.setdefault(call.stream, len(streams))
    placements = [
        (streams[call.stream], [events[e] for e in call.waits], [events[e] for e in call.records])
        for call in calls
    ]
    clocks = _clocks(placements, len(streams)) if len(streams) > 1 else []
    return Schedule(placements, len(streams), len(events), clocks)


def _number_events(calls: Sequence[AtenCall]) -> dict[int, int]:
    recorded: dict[int, int] = {}
    for index, call in enumerate(calls):
        for event in call.records:
            if event in recorded:
                raise ValueError(
                    f"event {event} is recorded by call {recorded[event]} and again by call {index}"
                )
            recorded[event] = index
    for index, call in enumerate(calls):
        for event in call.waits:
            if event not in recorded:
                raise ValueError(f"call {index} waits for event {event}, which no call records")
            if recorded[event] >= index:
                raise ValueError(
                    f"call {index} waits for event {event}, which call {recorded[event]} records: "
                    "a wait that does not come behind its record may be a deadlock"
                )
    return {event: number for number, event in enumerate(recorded)}


def _clocks(
    placements: Sequence[tuple[int, list[int], list[int]]], n_streams: int
) -> list[tuple[int, ...]]:
    now = [[0] * n_streams for _ in range(n_streams)]
    at_event: dict[int, list[int]] = {}
    clocks: list[tuple[int, ...]] = []
    for stream, waits, records in placements:
        clock = now[stream]
        for event in waits:
            clock[:] = map(max, clock, at_event[event])
        clocks.append(tuple(clock))
        clock[stream] += 1
        at_event.update((event, list(clock)) for event in records)
    return clocks
