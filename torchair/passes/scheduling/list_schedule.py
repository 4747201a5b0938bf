"""List scheduling of a task graph on a few in-order streams, critical path first.

A pass over the tasks keeps a heap of those whose inputs are there, takes the one with the longest
way to the end, and puts it where it starts first. Further passes run backwards and forwards in
turn, each with the finishing times of the one before as priorities, while that helps.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from heapq import heapify, heappop, heappush

GOOD_ENOUGH = 1.01
"""Makespan over its lower bound at which the search stops."""
MAX_PASSES = 24
EFFORT = 60_000
"""Tasks that the passes after the first two may go over, all passes together."""


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
    """

    costs: Sequence[float]
    before: Sequence[Sequence[int]]
    fixed: Sequence[int]
    allowed: Sequence[int]
    count: int
    event: float

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


def lower_bound(problem: Problem) -> float:
    """No schedule is shorter: the critical path, or the work spread over all streams evenly."""
    finish: list[float] = []
    for cost, earlier in zip(problem.costs, problem.before, strict=True):
        finish.append(cost + max([finish[task] for task in earlier], default=0.0))
    per_stream = [0.0] * problem.count
    for cost, stream in zip(problem.costs, problem.fixed, strict=True):
        per_stream[stream] += cost if stream >= 0 else 0.0
    total = sum(problem.costs)
    busiest = max([work for work in per_stream], default=0.0)
    return max([*finish, total / problem.count, busiest], default=0.0)


def simulate(problem: Problem, streams: Sequence[int], order: Sequence[int]) -> Plan:
    """Start of each task when streams run their tasks in a given order."""
    free = [0.0] * problem.count
    starts = [0.0] * len(order)
    finish = [0.0] * len(order)
    for task in order:
        stream = streams[task]
        start = free[stream]
        for source in problem.before[task]:
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


def list_schedule(problem: Problem) -> Plan:
    """The best plan found; never longer than ``serial_plan``."""
    after = problem.after()
    bound = lower_bound(problem)
    best = _pass(problem, problem.before, after, bottom_levels(problem, after))
    plain = serial_plan(problem)
    if plain.makespan <= best.makespan:
        best = plain
    return _improve(problem, after, best, bound)


def _improve(problem: Problem, after: list[list[int]], best: Plan, bound: float) -> Plan:
    """Backward and forward passes in turn."""
    count = len(problem.costs)
    passes = min(MAX_PASSES, EFFORT // max(1, count))
    current = best
    for _ in range(passes // 2):
        if best.makespan <= GOOD_ENOUGH * bound:
            break
        ends = [s + c for s, c in zip(current.starts, problem.costs, strict=True)]
        backward = _pass(problem, after, problem.before, ends)
        remaining = [s + c for s, c in zip(backward.starts, problem.costs, strict=True)]
        forward = _pass(problem, problem.before, after, remaining)
        if forward.makespan >= current.makespan and current is not best:
            break
        current = forward
        if forward.makespan < best.makespan:
            best = forward
    return best


def bottom_levels(problem: Problem, after: Sequence[Sequence[int]]) -> list[float]:
    """For each task, the time from its start to the end of the graph at the earliest."""
    levels = [0.0] * len(problem.costs)
    for task in range(len(levels) - 1, -1, -1):
        below = 0.0
        for user in after[task]:
            if levels[user] > below:
                below = levels[user]
        levels[task] = problem.costs[task] + below
    return levels


def _pass(
    problem: Problem,
    before: Sequence[Sequence[int]],
    after: Sequence[Sequence[int]],
    priorities: Sequence[float],
) -> Plan:
    """One list schedule, of the graph or (with `before` and `after` exchanged) of its mirror."""
    return _ListPass(problem, before, after, priorities).run()


class _ListPass:
    """Tasks arrive when their inputs are there; the most urgent of those goes where it starts
    first."""

    def __init__(
        self,
        problem: Problem,
        before: Sequence[Sequence[int]],
        after: Sequence[Sequence[int]],
        priorities: Sequence[float],
    ) -> None:
        self.problem = problem
        self.before = before
        self.after = after
        self.priorities = priorities
        size = len(problem.costs)
        self.missing = [len(earlier) for earlier in before]
        self.streams, self.starts, self.finish = [0] * size, [0.0] * size, [0.0] * size
        self.free = [0.0] * problem.count
        self.order: list[int] = []
        self.arriving = [(0.0, -priorities[t], t) for t in range(size) if not self.missing[t]]
        heapify(self.arriving)

    def run(self) -> Plan:
        arriving, free, costs = self.arriving, self.free, self.problem.costs
        fixed, event = self.problem.fixed, self.problem.event
        allowed = list(self.problem.allowed)
        ready: list[tuple[float, int]] = []
        while arriving or ready:
            now = min([free[s] for s in allowed])
            if not ready and arriving[0][0] > now:
                now = arriving[0][0]
            while arriving and arriving[0][0] <= now:
                _, priority, task = heappop(arriving)
                heappush(ready, (priority, task))
            _, task = heappop(ready)
            choices = allowed if fixed[task] < 0 else (fixed[task],)
            stream, start = _place(
                self.before[task], choices, free, self.streams, self.finish, event
            )
            self.starts[task] = start
            free[stream] = start + costs[task]
            self._finish(task, stream, free[stream])
        return Plan(self.streams, self.starts, self.order, max(self.finish, default=0.0))

    def _finish(self, task: int, stream: int, end: float) -> None:
        """Note where a task ended, and release its users; those that take no time run at once."""
        costs, fixed, before, missing = (
            self.problem.costs,
            self.problem.fixed,
            self.before,
            self.missing,
        )
        done = [task]
        while done:
            task = done.pop()
            self.streams[task], self.finish[task] = stream, end
            self.order.append(task)
            for user in self.after[task]:
                missing[user] -= 1
                if missing[user]:
                    continue
                is_home = not costs[user] and fixed[user] in (-1, stream)
                if is_home and all([self.streams[s] == stream for s in before[user]]):
                    self.starts[user] = end
                    done.append(user)
                    continue
                release = max([self.finish[source] for source in before[user]])
                heappush(self.arriving, (release, -self.priorities[user], user))


def _place(
    earlier: Sequence[int],
    choices: Sequence[int],
    free: list[float],
    streams: list[int],
    finish: list[float],
    event: float,
) -> tuple[int, float]:
    """The stream where a task starts first; of equals, the one of its latest producer."""
    latest = -1.0
    home = -1
    for source in earlier:
        if finish[source] > latest:
            latest, home = finish[source], streams[source]
    best, best_start = -1, float("inf")
    for stream in choices:
        start = free[stream]
        for source in earlier:
            ready = finish[source] if streams[source] == stream else finish[source] + event
            if ready > start:
                start = ready
        if start < best_start or (start == best_start and stream == home):
            best, best_start = stream, start
    return best, best_start
