"""A problem without the tasks that take no time (views, sizes), and its plan with them again.

The search goes over half as many tasks then, and finds better plans: a view cannot sit on a stream
that its producer and its user do not run on.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torchair.passes.scheduling.problem import Plan, Problem, simulate

MOST_SOURCES = 8
"""A free task that waits for more than these stays, for each of its users would wait for all."""


@dataclass(slots=True)
class Reduction:
    """A problem and what is left of it.

    Args:
        full: the problem.
        kept: the tasks of the full problem that are left.
        problem: the problem of these.
    """

    full: Problem
    kept: list[int]
    problem: Problem

    def expand(self, plan: Plan) -> Plan:
        """The plan of the full problem: what was left out runs at once after the last task it
        needs, on the stream of that one."""
        full = self.full
        left_out = bytearray(b"\1") * len(full.costs)
        for task in self.kept:
            left_out[task] = 0
        missing, after = _waiting(full.before, left_out)
        first = full.allowed[0] if full.allowed else 0
        streams = [first if stream < 0 else stream for stream in full.fixed]
        order: list[int] = []

        def issue(task: int, stream: int) -> None:
            done = [task]
            while done:
                task = done.pop()
                streams[task] = stream
                order.append(task)
                for user in after.get(task, ()):
                    missing[user] -= 1
                    if not missing[user]:
                        done.append(user)

        for task, is_left_out in enumerate(left_out):
            if is_left_out and not full.before[task]:
                issue(task, streams[task])
        for number in plan.order:
            issue(self.kept[number], plan.streams[number])
        return simulate(full, streams, order)


def _waiting(
    before: Sequence[Sequence[int]], left_out: bytearray
) -> tuple[dict[int, int], dict[int, list[int]]]:
    """For what is left out, how many tasks it needs; and the tasks that it needs, with it."""
    missing: dict[int, int] = {}
    after: dict[int, list[int]] = {}
    for task, earlier in enumerate(before):
        if left_out[task] and earlier:
            missing[task] = len(earlier)
            for source in earlier:
                after.setdefault(source, []).append(task)
    return missing, after


def reduce_problem(problem: Problem) -> Reduction:
    """Leave out the tasks that take no time and may run anywhere; their users wait for what they
    wait for."""
    kept: list[int] = []
    before: list[list[int]] = []
    sources: list[list[int]] = []
    """For each task, the tasks left (by their new numbers) that its users wait for."""
    used = _used(problem.before)
    for task, earlier in enumerate(problem.before):
        found = _sources_of(earlier, sources)
        is_anywhere = problem.fixed[task] < 0 or not (earlier or used[task])
        if not problem.costs[task] and is_anywhere and len(found) <= MOST_SOURCES:
            sources.append(found)
            continue
        sources.append([len(kept)])
        kept.append(task)
        before.append(found)
    costs = [problem.costs[task] for task in kept]
    fixed = [problem.fixed[task] for task in kept]
    small = Problem(
        costs, before, fixed, problem.allowed, problem.count, problem.event, problem.fork
    )
    return Reduction(problem, kept, small)


def _used(before: Sequence[Sequence[int]]) -> bytearray:
    found = bytearray(len(before))
    for earlier in before:
        for source in earlier:
            found[source] = 1
    return found


def _sources_of(earlier: Sequence[int], sources: Sequence[list[int]]) -> list[int]:
    if len(earlier) == 1:
        return sources[earlier[0]]
    return list(dict.fromkeys([source for task in earlier for source in sources[task]]))
