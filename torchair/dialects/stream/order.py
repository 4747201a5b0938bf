"""What a schedule guarantees: vector clocks over streams, and the fewest events for a placement.

Everything here is about numbers, so that passes, the host device and tests share it. A clock is a
tuple with, per stream, how many of its operations are known to be over.
"""

from __future__ import annotations

from collections.abc import Sequence

Clock = tuple[int, ...]


class StreamClocks:
    """Happens-before of a schedule that is walked in issue order; constant work per step.

    Args:
        count: number of streams.
    """

    def __init__(self, count: int) -> None:
        self.issued = [0] * count
        """Operations issued so far, per stream."""
        self.known: list[Clock] = [(0,) * count for _ in range(count)]
        """Per stream, the clock of what the next operation on it may rely on. A stream's own place
        is not kept here: all its earlier operations are over."""

    def issue(self, stream: int) -> int:
        """Issue an operation; returns its position on its stream."""
        self.issued[stream] += 1
        return self.issued[stream] - 1

    def after(self, stream: int) -> Clock:
        """Clock of the moment when everything issued on a stream is over."""
        clock = self.known[stream]
        return (*clock[:stream], self.issued[stream], *clock[stream + 1 :])

    def wait(self, stream: int, event: Clock) -> None:
        """What is issued on a stream from now on starts after an event."""
        self.known[stream] = join(self.known[stream], event)

    def is_over(self, stream: int, position: int, observer: int) -> bool:
        """Whether an operation is over before anything issued from now on on the observer."""
        return stream == observer or self.known[observer][stream] > position


def join(left: Clock, right: Clock) -> Clock:
    """The clock of having seen both."""
    return tuple([a if a > b else b for a, b in zip(left, right, strict=True)])


def minimal_waits(
    streams: Sequence[int], before: Sequence[Sequence[int]], count: int
) -> list[list[int]]:
    """The fewest events that order a placed graph: the cross-stream part of its transitive
    reduction.

    Args:
        streams: stream of each task, tasks in issue order.
        before: for each task, the earlier tasks that must be over when it starts.
        count: number of streams.

    Returns:
        For each task, the tasks on other streams whose events it has to wait for. An edge that
        follows from stream order and the other edges is not among them.
    """
    if count == 1:
        return [[] for _ in streams]
    reduction = _Reduction(count)
    return [reduction.add(stream, earlier) for stream, earlier in zip(streams, before, strict=True)]


class _Reduction:
    """One walk over the tasks; ``finished`` shares clocks, so that a task costs its edges."""

    def __init__(self, count: int) -> None:
        self.known: list[list[int]] = [[0] * count for _ in range(count)]
        self.tasks: list[list[int]] = [[] for _ in range(count)]
        self.streams: list[int] = []
        self.positions: list[int] = []
        self.finished: list[list[int]] = []

    def add(self, stream: int, earlier: Sequence[int]) -> list[int]:
        known = self.known[stream]
        latest: dict[int, int] = {}
        for task in earlier:
            other = self.streams[task]
            position = self.positions[task]
            if other != stream and position >= known[other] and position > latest.get(other, -1):
                latest[other] = position
        needed = self._needed(latest) if latest else []
        if needed:
            known = list(known)
            for task in needed:
                self._see(known, task)
            self.known[stream] = known
        mine = self.tasks[stream]
        self.streams.append(stream)
        self.positions.append(len(mine))
        mine.append(len(self.finished))
        self.finished.append(known)
        return needed

    def _needed(self, latest: dict[int, int]) -> list[int]:
        """The candidates, one per stream, that no other candidate comes after."""
        found = sorted([self.tasks[other][position] for other, position in latest.items()])
        if len(found) == 1:
            return found
        return [
            task
            for task in found
            if not any(
                self.finished[rival][self.streams[task]] > self.positions[task]
                for rival in found
                if rival != task
            )
        ]

    def _see(self, known: list[int], task: int) -> None:
        for other, over in enumerate(self.finished[task]):
            if over > known[other]:
                known[other] = over
        own = self.streams[task]
        known[own] = max(known[own], self.positions[task] + 1)
