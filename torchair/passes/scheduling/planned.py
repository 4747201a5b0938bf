"""The schedule of a module as the cost model sees it: when each operation runs, and why then."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256

from xdsl.dialects.builtin import ModuleOp, StringAttr
from xdsl.dialects.func import FuncOp
from xdsl.ir import Attribute, Block, Operation

from torchair.dialects.stream import MAIN, label_of, stream_of
from torchair.dialects.stream.attributes import WHY
from torchair.dialects.stream.order import minimal_waits
from torchair.ir.location import name_of, source_of
from torchair.ir.private import iter_ops
from torchair.passes.scheduling.costs import Cost, CostModel, target_named, unit_times
from torchair.passes.scheduling.problem import Plan, Problem, joined, lower_bound, simulate
from torchair.passes.scheduling.tasks import collective_group, is_unplaced, read_tasks


@dataclass(frozen=True, slots=True)
class PlannedTask:
    """One operation of a schedule.

    Args:
        name: mnemonic.
        location: source location.
        label: label of its stream; empty for the main stream.
        cost: what it takes.
        why: why it is on its stream; empty when the user or nobody decided.
        collective: operator, group and types of a collective; empty for others.
    """

    name: str
    location: Attribute
    label: str
    cost: Cost
    why: str
    collective: str = ""

    @property
    def origin(self) -> str:
        """``<fx node>-<aten operator>`` of the import, else the mnemonic."""
        return name_of(self.location) or self.name

    @property
    def source(self) -> str:
        """The user's ``file:line``; empty when unknown."""
        return source_of(self.location) or ""


@dataclass
class PlannedSchedule:
    """The operations of a function on their streams, in issue order. Times are microseconds.

    Args:
        target: whose rates the costs are of.
        tasks: the operations; the last one is the end of the function.
        streams: stream number of each.
        before: for each, what must be over when it starts.
        labels: label of each stream; the main stream is 0.
        event: time from the end of an operation to the start of one on another stream.
    """

    target: str
    tasks: list[PlannedTask]
    streams: list[int]
    before: list[list[int]]
    labels: list[str]
    event: float

    @cached_property
    def plan(self) -> Plan:
        """When each task starts."""
        return simulate(self._problem, self.streams, range(len(self.tasks)))

    @property
    def makespan(self) -> float:
        """When the last task is over."""
        return self.plan.makespan

    @property
    def work(self) -> float:
        """Time on one stream."""
        return sum(task.cost.time for task in self.tasks)

    @property
    def bound(self) -> float:
        """No schedule of these tasks on so many streams is shorter."""
        return lower_bound(self._problem)

    @cached_property
    def busiest_unit(self) -> tuple[str, float]:
        """The unit of the device that these tasks need longest, and for how long."""
        busy = unit_times([task.cost for task in self.tasks], target_named(self.target))
        return max(busy.items(), key=lambda item: item[1])

    @property
    def expected(self) -> float:
        """What the schedule takes on a device whose streams share its units."""
        return max(self.makespan, self.busiest_unit[1])

    @property
    def speed_up(self) -> float:
        """Expected gain over one stream."""
        return self.work / self.expected if self.expected else 1.0

    @cached_property
    def events(self) -> list[tuple[int, int]]:
        """Pairs of tasks on different streams that the fewest events order."""
        waits = minimal_waits(self.streams, self.before, len(self.labels))
        return [(source, task) for task, sources in enumerate(waits) for source in sources]

    def summary(self) -> str:
        """One line: streams, events, times."""
        names = ", ".join(label or "main" for label in self.labels)
        return (
            f"{len(self.labels)} streams ({names}), {len(self.events)} events; expected "
            f"{self.expected:.0f} us, {self.work:.0f} on one stream, {self.speed_up:.2f} x"
        )

    @property
    def collectives(self) -> tuple[int, str]:
        """How many collectives there are, and a digest of their order.

        Ranks whose digests differ wait for each other for ever.
        """
        found = [task.collective for task in self.tasks if task.collective]
        return len(found), sha256("\n".join(found).encode()).hexdigest()[:12]

    def busy(self, stream: int) -> float:
        """Time that a stream works."""
        pairs = zip(self.tasks, self.streams, strict=True)
        return sum(task.cost.time for task, own in pairs if own == stream)

    def critical_path(self) -> list[int]:
        """The tasks that, one waiting for the other, take the whole makespan; the first first."""
        starts = self.plan.starts
        ends = [s + t.cost.time for s, t in zip(starts, self.tasks, strict=True)]
        previous = _previous_on_stream(self.streams)
        path = [max(range(len(ends)), key=ends.__getitem__)] if ends else []
        while path:
            task = path[-1]
            causes = [*self.before[task], *([previous[task]] if previous[task] >= 0 else [])]
            cause = max(causes, key=lambda c: self._arrival(c, task, ends), default=-1)
            if cause < 0 or starts[task] == 0.0:
                break
            path.append(cause)
        return path[::-1]

    def _arrival(self, source: int, task: int, ends: Sequence[float]) -> float:
        late = self.event if self.streams[source] != self.streams[task] else 0.0
        return ends[source] + late

    @property
    def _problem(self) -> Problem:
        count = len(self.labels)
        costs = [task.cost.time for task in self.tasks]
        free = [-1] * len(costs)
        before = joined(self.before)
        return Problem(costs, before, free, range(count), count, self.event, self.event)


def _previous_on_stream(streams: Sequence[int]) -> list[int]:
    last: dict[int, int] = {}
    found: list[int] = []
    for task, stream in enumerate(streams):
        found.append(last.get(stream, -1))
        last[stream] = task
    return found


def read_schedule(module: ModuleOp, target: str) -> PlannedSchedule:
    """The schedule of a module's first function.

    Args:
        module: after ``schedule-streams``.
        target: whose rates the costs are of.
    """
    function = next(op for op in module.ops if isinstance(op, FuncOp))
    block = function.body.block
    model = CostModel(target_named(target))
    if is_unplaced(block):
        return _one_stream(block, target, model)
    graph = read_tasks(block)
    keys = [stream_of(op) for op in graph.ops]
    named = dict.fromkeys(key for key in keys if isinstance(key, str))
    ordered = [0, *sorted({key for key in keys if isinstance(key, int)} - {0}), *named]
    numbers = {key: number for number, key in enumerate(ordered)}
    labels = [MAIN] * len(numbers)
    tasks: list[PlannedTask] = []
    for op, key in zip(graph.ops, keys, strict=True):
        labels[numbers[key]] = label_of(op)
        why = op.attributes.get(WHY) if op.attributes else None
        text = why.data if isinstance(why, StringAttr) else ""
        tasks.append(_task(op, label_of(op), model, text))
    streams = [numbers[key] for key in keys]
    for source, later in graph.ordered:
        graph.require(source, later, "an event orders them")
    return PlannedSchedule(target, tasks, streams, graph.before, labels, model.target.event)


def _task(op: Operation, label: str, model: CostModel, why: str) -> PlannedTask:
    cost = model.cost(op)
    collective = ""
    if cost.unit == "link":
        types = ", ".join(str(value.type) for value in (*op.operands, *op.results))
        collective = f"{op.name} {collective_group(op)} {types}"
    return PlannedTask(op.name, op.location, label, cost, why, collective)


def _one_stream(block: Block, target: str, model: CostModel) -> PlannedSchedule:
    """The schedule of a block without streams: one operation after the other."""
    tasks = [_task(op, MAIN, model, "") for op in iter_ops(block)]
    count = len(tasks)
    before = [[number - 1] if number else [] for number in range(count)]
    return PlannedSchedule(target, tasks, [0] * count, before, [MAIN], model.target.event)
