"""List scheduling with insertion: urgent tasks are placed first, others fill the gaps they leave.

Slower than a pass of ``list_schedule`` and better on small graphs, where one task that starts a
moment too early delays the critical path.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from heapq import heapify, heappop, heappush

from torchair.passes.scheduling.problem import Plan, Problem, simulate


def insertion_pass(
    problem: Problem,
    before: Sequence[Sequence[int]],
    after: Sequence[Sequence[int]],
    priorities: Sequence[float],
) -> Plan:
    """One schedule, of the graph or (with `before` and `after` exchanged) of its mirror."""
    streams, starts, taken = _Insertion(problem, before, after).run(priorities)
    ends = [start + cost for start, cost in zip(starts, problem.costs, strict=True)]
    place = [0] * len(taken)
    for number, task in enumerate(taken):
        place[task] = number
    order = sorted(taken, key=lambda task: (starts[task], ends[task], place[task]))
    return simulate(problem, streams, order, before)


class _Insertion:
    """Busy intervals per stream, sorted; tasks go into the first gap that holds them."""

    def __init__(
        self,
        problem: Problem,
        before: Sequence[Sequence[int]],
        after: Sequence[Sequence[int]],
    ) -> None:
        self.problem = problem
        self.before = before
        self.after = after
        self.opening = problem.opening_times()
        self.busy_from: list[list[float]] = [[] for _ in range(problem.count)]
        self.busy_until: list[list[float]] = [[] for _ in range(problem.count)]
        size = len(problem.costs)
        self.streams, self.starts, self.ends = [0] * size, [0.0] * size, [0.0] * size

    def run(self, priorities: Sequence[float]) -> tuple[list[int], list[float], list[int]]:
        """Streams, starts and the sequence in which the tasks were placed."""
        missing = [len(earlier) for earlier in self.before]
        ready = [(-priorities[task], task) for task, count in enumerate(missing) if not count]
        heapify(ready)
        taken: list[int] = []
        while ready:
            _, task = heappop(ready)
            self._place(task)
            taken.append(task)
            for user in self.after[task]:
                missing[user] -= 1
                if not missing[user]:
                    heappush(ready, (-priorities[user], user))
        return self.streams, self.starts, taken

    def _place(self, task: int) -> None:
        cost, fixed = self.problem.costs[task], self.problem.fixed[task]
        choices = self.problem.allowed if fixed < 0 else (fixed,)
        best, best_start, best_gap = -1, float("inf"), 0
        for stream in choices:
            start, gap = self._first_gap(stream, self._arrival(task, stream), cost)
            if start < best_start:
                best, best_start, best_gap = stream, start, gap
        self.streams[task], self.starts[task] = best, best_start
        self.ends[task] = best_start + cost
        if cost:
            self.busy_from[best].insert(best_gap, best_start)
            self.busy_until[best].insert(best_gap, best_start + cost)

    def _arrival(self, task: int, stream: int) -> float:
        """When everything a task needs has reached a stream."""
        event = self.problem.event
        return max(
            [
                self.ends[source] + (0.0 if self.streams[source] == stream else event)
                for source in self.before[task]
            ],
            default=self.opening[stream],
        )

    def _first_gap(self, stream: int, arrival: float, cost: float) -> tuple[float, int]:
        busy_from, busy_until = self.busy_from[stream], self.busy_until[stream]
        gap = bisect_right(busy_until, arrival)
        start = arrival
        while gap < len(busy_from) and start + cost > busy_from[gap]:
            start = max(start, busy_until[gap])
            gap += 1
        return start, gap
