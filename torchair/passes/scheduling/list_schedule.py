"""List scheduling of a task graph on a few in-order streams, critical path first.

A pass over the tasks keeps a heap of those whose inputs are there, takes the one with the longest
way to the end, and puts it where it starts first. Small graphs get further passes, backwards and
forwards in turn, each with the finishing times of the one before as priorities.
"""

from __future__ import annotations

from collections.abc import Sequence
from heapq import heapify, heappop, heappush
from random import Random

from torchair.passes.scheduling.insertion import insertion_pass
from torchair.passes.scheduling.problem import Plan, Problem, lower_bound, serial_plan, simulate
from torchair.passes.scheduling.reduction import reduce_problem

GOOD_ENOUGH = 1.005
"""Makespan over its lower bound at which the search stops."""
LARGEST_SEARCH = 2_000
"""Tasks that take time, above which the first pass decides."""
LOOK_AHEAD = 4
"""Tasks that are asked when the most urgent one has to wait for an event."""
MOST_LAST_TASKS = 16
"""Tasks that are tried on the stream of the function's end."""
MAX_ROUNDS = 64
EFFORT = 6_000
"""Tasks that all rounds of the search together may go over (a round takes some 7 us per task)."""


def is_small(problem: Problem) -> bool:
    """Whether the first pass is followed by a search."""
    return len(problem.costs) - list(problem.costs).count(0.0) <= LARGEST_SEARCH


def list_schedule(problem: Problem) -> Plan:
    """The best plan found; never longer than ``serial_plan``."""
    reduction = reduce_problem(problem)
    best = reduction.expand(_search(reduction.problem, is_small(problem)))
    best = _with_last_tasks_at_the_end(problem, best)
    plain = serial_plan(problem)
    return plain if plain.makespan <= best.makespan else best


def _search(problem: Problem, is_small: bool) -> Plan:
    """Insertion first, then backward and forward passes in turn; once these stall, from the best
    plan, disturbed."""
    after = problem.after()
    levels: list[float] = bottom_levels(problem, after)
    current = best = _pass(problem, problem.before, after, levels)
    chance = Random(0)
    bound = lower_bound(problem)
    rounds = min(MAX_ROUNDS, EFFORT // max(1, len(problem.costs))) if is_small else 0
    disturb = 0.0
    for number in range(rounds):
        if best.makespan <= GOOD_ENOUGH * bound:
            break
        run = insertion_pass if number % 2 == 0 else _pass
        if number:
            spread = disturb * problem.event
            ends = [
                start + cost + spread * chance.random()
                for start, cost in zip(current.starts, problem.costs, strict=True)
            ]
            backward = run(problem, after, problem.before, ends)
            levels = [s + c for s, c in zip(backward.starts, problem.costs, strict=True)]
        forward = run(problem, problem.before, after, levels)
        disturb = 0.0 if forward.makespan < current.makespan else disturb + 2.0
        current = forward if forward.makespan < current.makespan else best
        if forward.makespan < best.makespan:
            best = forward
    return best


def _with_last_tasks_at_the_end(problem: Problem, plan: Plan) -> Plan:
    """The plan with tasks that only the end of the function waits for on the stream of the end,
    where that takes no longer: it saves an event."""
    if not problem.fixed or problem.fixed[-1] not in problem.allowed or not is_small(problem):
        return plan
    waiting = [0] * len(problem.costs)
    for earlier in problem.before:
        for task in earlier:
            waiting[task] += 1
    for task in problem.before[-1][:MOST_LAST_TASKS]:
        if waiting[task] > 1 or problem.fixed[task] >= 0:
            continue
        streams = list(plan.streams)
        streams[task] = problem.fixed[-1]
        moved = simulate(problem, streams, plan.order)
        if moved.makespan <= plan.makespan:
            plan = moved
    return plan


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
    """Tasks arrive when their inputs are there; the most urgent of those that need not wait for an
    event goes where it starts first."""

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
        self.allowed = list(problem.allowed)
        self.free = problem.opening_times()
        self.order: list[int] = []
        self.arriving = [(0.0, -priorities[t], t) for t in range(size) if not self.missing[t]]
        heapify(self.arriving)

    def run(self) -> Plan:
        arriving, free, costs = self.arriving, self.free, self.problem.costs
        ready: list[tuple[float, int]] = []
        while arriving or ready:
            now = min([free[s] for s in self.allowed])
            if not ready and arriving[0][0] > now:
                now = arriving[0][0]
            while arriving and arriving[0][0] <= now:
                _, priority, task = heappop(arriving)
                heappush(ready, (priority, task))
            task, stream, start = self._choose(ready, now)
            self.starts[task] = start
            free[stream] = start + costs[task]
            self._finish(task, stream, free[stream])
        return Plan(self.streams, self.starts, self.order, max(self.finish, default=0.0))

    def _choose(self, ready: list[tuple[float, int]], now: float) -> tuple[int, int, float]:
        """The most urgent task that starts at once; if only its event holds it back, one of the
        next may go first."""
        item = heappop(ready)
        stream, start = self._place(item[1])
        if start <= now or not ready:
            return item[1], stream, start
        passed = [item]
        found = item[1], stream, start
        for _ in range(min(LOOK_AHEAD, len(ready))):
            item = heappop(ready)
            stream, start = self._place(item[1])
            if start <= now:
                found = item[1], stream, start
                break
            passed.append(item)
        for item in passed:
            if item[1] != found[0]:
                heappush(ready, item)
        return found

    def _finish(self, task: int, stream: int, end: float) -> None:
        """Note where a task ended, and release its users."""
        missing, finish = self.missing, self.finish
        self.streams[task], finish[task] = stream, end
        self.order.append(task)
        for user in self.after[task]:
            missing[user] -= 1
            if not missing[user]:
                release = max([finish[source] for source in self.before[user]])
                heappush(self.arriving, (release, -self.priorities[user], user))

    def _place(self, task: int) -> tuple[int, float]:
        """The stream where a task starts first; of equals, the one of its latest producer."""
        earlier, fixed = self.before[task], self.problem.fixed[task]
        free, streams, finish, event = self.free, self.streams, self.finish, self.problem.event
        latest = -1.0
        home = -1
        for source in earlier:
            if finish[source] > latest:
                latest, home = finish[source], streams[source]
        best, best_start = -1, float("inf")
        for stream in self.allowed if fixed < 0 else (fixed,):
            start = free[stream]
            for source in earlier:
                ready = finish[source] if streams[source] == stream else finish[source] + event
                if ready > start:
                    start = ready
            if start < best_start or (start == best_start and stream == home):
                best, best_start = stream, start
        return best, best_start
