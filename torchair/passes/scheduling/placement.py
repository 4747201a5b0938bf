"""Which physical stream each operation runs on: by the user's labels, or by list scheduling."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, field

from torchair.dialects.stream import MAIN, label_of
from torchair.passes.scheduling.costs import CostModel, unit_times
from torchair.passes.scheduling.list_schedule import is_small, list_schedule
from torchair.passes.scheduling.problem import Plan, Problem, critical_path, joined, serial_plan
from torchair.passes.scheduling.tasks import TaskGraph, is_collective

COMMUNICATION = "communication"
"""Label of the stream that collectives get."""


@dataclass(slots=True)
class Placement:
    """Streams and issue order of a task graph.

    Args:
        streams: physical stream of each task; 0 is the main stream.
        order: tasks in issue order.
        labels: label of each stream but the main one.
        reasons: why each task is where it is; empty when the user decided.
        opening: how many tasks of the main stream come first, before other streams fork.
    """

    streams: list[int]
    order: list[int]
    labels: dict[int, str]
    reasons: list[str] = field(default_factory=list[str])
    opening: int = 0


def place_by_labels(graph: TaskGraph, labels: Sequence[str], pool: int) -> Placement:
    """Labels decide and the order stays. Labels beyond the pool share its streams."""
    number = fold_labels(graph, labels, pool)
    streams = [number[label_of(op)] for op in graph.ops]
    named = {stream: label for label, stream in reversed(number.items()) if stream}
    return Placement(streams, list(range(len(streams))), named)


def fold_labels(graph: TaskGraph, labels: Sequence[str], pool: int) -> dict[str, int]:
    """Physical stream of each label: a stream whose labels are done is used again, else the one
    with the fewest operations."""
    if len(labels) <= pool:
        return {label: number for number, label in enumerate(labels)}
    if pool == 1:
        return dict.fromkeys(labels, 0)
    last = {label_of(op): number for number, op in enumerate(graph.ops)}
    busy_until = [-1] * pool
    load = [0] * pool
    counts: dict[str, int] = {}
    for op in graph.ops:
        counts[label_of(op)] = counts.get(label_of(op), 0) + 1
    found = {MAIN: 0}
    for number, op in enumerate(graph.ops):
        label = label_of(op)
        if label in found:
            continue
        done = [s for s in range(1, pool) if busy_until[s] < number]
        stream = done[0] if done else min(range(1, pool), key=load.__getitem__)
        found[label] = stream
        busy_until[stream] = max(busy_until[stream], last[label])
        load[stream] += counts[label]
    return found


def place_automatically(
    graph: TaskGraph,
    labels: Sequence[str],
    costs: CostModel,
    limit: int,
    gain: Gain,
) -> Placement:
    """List scheduling of what the user did not place, on the number of streams that pays.

    Args:
        graph: the tasks.
        labels: labels in the graph, the main stream first.
        costs: the cost model.
        limit: physical streams at most.
        gain: what a stream more must gain. Where each counts, time that the busiest unit of the
            device needs anyway cannot be gained.
    """
    found = [costs.cost(op) for op in graph.ops]
    times = [cost.time for cost in found]
    floor = max(unit_times(found, costs.target).values()) if gain.each else 0.0
    build = _ProblemBuilder(graph, labels, times, costs.target.event)
    least = best_count = build.least
    problem = build.problem(least)
    best = first = serial_plan(problem) if least == 1 else list_schedule(problem)
    counts = range(least + 1, limit + 1)
    if gain.each and not is_small(problem):
        counts = _promising(problem, counts, gain, floor)
    for count in counts:
        plan = list_schedule(build.problem(count))
        reference = best if gain.each else first
        before, now = max(reference.makespan, floor), max(plan.makespan, floor)
        if plan.makespan < best.makespan and gain.is_enough(before, now):
            best, best_count = plan, count
        elif gain.each:
            break
    return build.placement(best, best_count)


@dataclass(frozen=True, slots=True)
class Gain:
    """What a placement must gain to be taken.

    Args:
        share: of the time it is compared with.
        microseconds: in time.
        each: whether it is compared with one stream less rather than with the fewest streams.
    """

    share: float
    microseconds: float
    each: bool

    def is_enough(self, before: float, now: float) -> bool:
        gained = before - now
        return gained >= self.microseconds and gained >= self.share * before


def _promising(problem: Problem, counts: range, gain: Gain, floor: float) -> range:
    """The number of streams up to which lower bounds gain enough, as the only one to try."""
    path, work = critical_path(problem), sum(problem.costs)
    best = counts.start
    while best + 1 in counts:
        now, more = (max(path, work / count, floor) for count in (best, best + 1))
        if not gain.is_enough(now, more):
            break
        best += 1
    return range(best, best + 1) if best in counts else counts


class _ProblemBuilder:
    """Scheduling problems of one graph for several numbers of streams.

    What takes no time and needs nothing that does (views of inputs, sizes) opens the function on
    the main stream, before the others fork, so that nobody has to wait for it.
    """

    def __init__(
        self, graph: TaskGraph, labels: Sequence[str], times: Sequence[float], event: float
    ) -> None:
        self.graph = graph
        self.times = times
        self.event = event
        self.labels = {label: number for number, label in enumerate(labels)}
        self.fixed = [-1] * len(times)
        self._fix_labels()
        self.least = len(labels) + self._fix_collectives()
        self.uses = self._all_uses()
        self.opening = self._opening_tasks()
        self.before = self._waits_that_take_time()

    def _all_uses(self) -> list[list[int]]:
        """What must be over before each task, and what only the block must have before it."""
        if not self.graph.sizes:
            return self.graph.before
        found = [list(earlier) for earlier in self.graph.before]
        for source, task in self.graph.sizes:
            found[task].append(source)
        return found

    def _opening_tasks(self) -> list[int]:
        end = len(self.times) - 1
        found: set[int] = set()
        for task, earlier in enumerate(self.uses):
            is_free = self.times[task] == 0.0 and task != end and self.fixed[task] <= 0
            if is_free and found.issuperset(earlier):
                found.add(task)
                self.fixed[task] = 0
        return sorted(found)

    def _waits_that_take_time(self) -> list[Sequence[int]]:
        """The orders without the opening tasks; the end comes after everything."""
        dropped = set(self.opening)
        found = [
            [s for s in earlier if s not in dropped] if dropped else earlier
            for earlier in self.uses
        ]
        *others, last = joined(found)
        return [*others, [task for task in last if task not in dropped]]

    def _fix_labels(self) -> None:
        """Labelled tasks stay on their stream, in the user's order."""
        if len(self.labels) == 1:
            return
        last: dict[int, int] = {}
        for task, op in enumerate(self.graph.ops):
            stream = self.labels[label_of(op)]
            if stream:
                self.fixed[task] = stream
                if stream in last:
                    self.graph.require(last[stream], task, "the user's order on the stream")
                last[stream] = task

    def _fix_collectives(self) -> int:
        """Collectives get a stream of their own when they are more than the whole graph."""
        found = [
            task
            for task, op in enumerate(self.graph.ops)
            if self.fixed[task] < 0 and is_collective(op)
        ]
        if not found:
            return 0
        self.labels[COMMUNICATION] = stream = len(self.labels)
        for task in found:
            self.fixed[task] = stream
        return 1

    def problem(self, count: int) -> Problem:
        taken = set(self.labels.values()) - {0}
        fixed = list(self.fixed)
        fixed[-1] = 0
        allowed = [stream for stream in range(count) if stream not in taken]
        return Problem(self.times, self.before, fixed, allowed, count, self.event, self.event)

    def placement(self, plan: Plan, count: int) -> Placement:
        names = {stream: label for label, stream in self.labels.items() if stream}
        for stream in range(1, count):
            names.setdefault(stream, f"auto{stream}")
        opening = set(self.opening)
        order = self.opening + [task for task in plan.order if task not in opening]
        return Placement(plan.streams, order, names, self._reasons(plan), len(self.opening))

    def _reasons(self, plan: Plan) -> list[str]:
        finish = [s + c for s, c in zip(plan.starts, self.times, strict=True)]
        busy = BusyTimes(plan, finish)
        return [self._reason(task, plan, finish, busy) for task in range(len(finish))]

    def _reason(self, task: int, plan: Plan, finish: list[float], busy: BusyTimes) -> str:
        if self.fixed[task] >= 0:
            is_user = label_of(self.graph.ops[task]) != MAIN
            return "placed by the user" if is_user else "collectives have a stream of their own"
        latest = max(self.before[task], key=finish.__getitem__, default=None)
        if latest is None:
            return "needs only inputs of the function"
        home = plan.streams[latest]
        if home == plan.streams[task]:
            return "follows its latest producer"
        if busy.is_busy(home, plan.starts[task]):
            return "the stream of its latest producer is busy then"
        return "leaves the stream of its latest producer to what is more urgent"


class BusyTimes:
    """When each stream of a plan runs something."""

    def __init__(self, plan: Plan, finish: Sequence[float]) -> None:
        self._starts: dict[int, list[float]] = {}
        self._ends: dict[int, list[float]] = {}
        for task in plan.order:
            if finish[task] > plan.starts[task]:
                stream = plan.streams[task]
                self._starts.setdefault(stream, []).append(plan.starts[task])
                self._ends.setdefault(stream, []).append(finish[task])

    def is_busy(self, stream: int, time: float) -> bool:
        """Whether a task of a stream has begun at a time and is not over."""
        number = bisect_right(self._starts.get(stream, ()), time) - 1
        return number >= 0 and self._ends[stream][number] > time
