"""Streams and events of a schedule, put on the calls of a trace.

A call of the graph may have become several calls of the program, or none. An event that was to be
recorded after a call that is gone stands for what the call would have waited for.
"""

from __future__ import annotations

from collections.abc import Iterable

from torchair.backend_ge.host.program import AtenCall
from torchair.backend_ge.runtime.aten_graph import AtenGraph

MAIN = 0


def place_on_streams(calls: Iterable[AtenCall], graph: AtenGraph) -> None:
    """Set stream, waits and records of every call; calls know their origin in the graph.

    Calls whose origin lies behind the graph's last call (copies of outputs) run on the main stream.
    """
    if graph.is_on_one_stream:
        return
    by_origin: dict[int, list[AtenCall]] = {}
    for call in calls:
        by_origin.setdefault(call.origin, []).append(call)
    placement = _Placement()
    streams = [*(call.stream for call in graph.calls), MAIN]
    for index, stream in enumerate(streams):
        for mark in graph.marks.get(index, ()):
            if mark.is_wait:
                placement.wait(mark.stream, mark.event)
            else:
                placement.record(mark.stream, mark.event)
        placement.put(stream, by_origin.get(index, []))


class _Placement:
    """What each stream has run and what it is still to wait for."""

    def __init__(self) -> None:
        self._latest: dict[int, AtenCall] = {}
        self._pending: dict[int, dict[int, None]] = {}
        self._stands_for: dict[int, list[int]] = {}

    def wait(self, stream: int, event: int) -> None:
        pending = self._pending.setdefault(stream, {})
        pending.update(dict.fromkeys(self._stands_for.get(event, ())))

    def record(self, stream: int, event: int) -> None:
        meant = list(self._pending.get(stream, ()))
        latest = self._latest.get(stream)
        if latest is not None:
            latest.records += (event,)
            meant.append(event)
        self._stands_for[event] = meant

    def put(self, stream: int, calls: list[AtenCall]) -> None:
        for call in calls:
            call.stream = stream
        if calls:
            calls[0].waits = tuple(self._pending.pop(stream, ()))
            self._latest[stream] = calls[-1]
