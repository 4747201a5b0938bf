"""The scheduling problem, what a schedule takes, and what none can beat."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(slots=True)
class Problem:
    """What to schedule. Tasks are numbered in an order that respects ``before``.

    Args:
        costs: microseconds of each task.
        before: for each task, those that must be over when it starts.
        fixed: the stream of each task that has one already, else -1.
        allowed: streams for the others.
        count: number of streams.
        event: microseconds from the end of a task to the start of one on another stream.
        fork: microseconds after which streams other than the first may start: they wait for the
            event of the function's start.
    """

    costs: Sequence[float]
    before: Sequence[Sequence[int]]
    fixed: Sequence[int]
    allowed: Sequence[int]
    count: int
    event: float
    fork: float = 0.0

    def opening_times(self) -> list[float]:
        """When each stream may start."""
        return [self.fork if stream else 0.0 for stream in range(self.count)]

    def after(self) -> list[list[int]]:
        """The tasks that wait for each task."""
        found: list[list[int]] = [[] for _ in self.costs]
        for task, earlier in enumerate(self.before):
            for source in earlier:
                found[source].append(task)
        return found


@dataclass(slots=True)
class Plan:
    """A schedule.

    Args:
        streams: stream of each task.
        starts: start of each task in microseconds.
        order: the tasks in issue order.
        makespan: when the last task is over.
    """

    streams: list[int]
    starts: list[float]
    order: list[int]
    makespan: float


def joined(before: Sequence[Sequence[int]]) -> list[Sequence[int]]:
    """The orders with which the last task, the end of a function, comes after everything."""
    used = bytearray(len(before))
    for earlier in before:
        for source in earlier:
            used[source] = 1
    ends = [task for task in range(len(before) - 1) if not used[task]]
    return [*before[:-1], [*before[-1], *ends]] if before else []


def critical_path(problem: Problem) -> float:
    """The longest way through the graph."""
    finish: list[float] = []
    for cost, earlier in zip(problem.costs, problem.before, strict=True):
        finish.append(cost + max([finish[task] for task in earlier], default=0.0))
    return max(finish, default=0.0)


def lower_bound(problem: Problem) -> float:
    """No schedule is shorter: the critical path, or the work spread over all streams evenly."""
    per_stream = [0.0] * problem.count
    for cost, stream in zip(problem.costs, problem.fixed, strict=True):
        per_stream[stream] += cost if stream >= 0 else 0.0
    spread = sum(problem.costs) / problem.count
    return max(critical_path(problem), spread, *per_stream)


def simulate(
    problem: Problem,
    streams: Sequence[int],
    order: Sequence[int],
    before: Sequence[Sequence[int]] | None = None,
) -> Plan:
    """Start of each task when streams run their tasks in a given order.

    Args:
        problem: costs and uses.
        streams: stream of each task.
        order: the tasks; what a task needs comes before it.
        before: uses instead of the problem's.
    """
    needs = problem.before if before is None else before
    free = problem.opening_times()
    starts = [0.0] * len(order)
    finish = [0.0] * len(order)
    for task in order:
        stream = streams[task]
        start = free[stream]
        for source in needs[task]:
            ready = finish[source] + (0.0 if streams[source] == stream else problem.event)
            start = max(start, ready)
        starts[task] = start
        finish[task] = free[stream] = start + problem.costs[task]
    return Plan(list(streams), starts, list(order), max(finish, default=0.0))


def serial_plan(problem: Problem) -> Plan:
    """Everything on the first allowed stream, tasks with a stream on theirs."""
    home = problem.allowed[0] if problem.allowed else 0
    streams = [stream if stream >= 0 else home for stream in problem.fixed]
    return simulate(problem, streams, range(len(streams)))
