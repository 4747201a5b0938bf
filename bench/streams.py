"""Quality and speed of the stream scheduler; exits with an error when a goal is missed.

Makespans are simulated with the cost model, events included. The bound is the larger of the
critical path and the work divided by the streams, events not included; the proved one
(``stream_bound``) also knows what cannot run side by side. Where even the proved bound is more than
the goal, the makespan is held against that.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from dataclasses import dataclass

from stream_bound import proved_bound
from stream_graph_writer import block_of
from stream_graphs import GRAPHS, layered
from stream_speed import host_speed_up
from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp

from torchair.dialects.stream import RecordOp, WaitOp, stream_of
from torchair.ir.garbage import quiet_gc
from torchair.ir.verify import verify_module
from torchair.passes.schedule_streams import ScheduleStreamsPass
from torchair.passes.scheduling.costs import CostModel, target_named
from torchair.passes.scheduling.problem import (
    Problem,
    joined,
    lower_bound,
    serial_plan,
    simulate,
)
from torchair.passes.scheduling.tasks import read_tasks
from torchair.passes.verify_schedule import VerifySchedulePass

MEDIAN_GOAL, WORST_GOAL, EVENTS_GOAL, TIME_GOAL, HOST_GOAL = 1.05, 1.15, 1.1, 30.0, 1.5
PROVED_GOAL = 1.05
MACHINE_NEEDS = 1.7
"""What two plain threads must gain for a measurement of streams to mean anything."""


@dataclass(frozen=True)
class Row:
    """One graph on a number of streams; times in microseconds."""

    name: str
    tasks: int
    bound: float
    proved: float
    makespan: float
    serial: float
    used: int
    waits: int
    optimum: int

    @property
    def ratio(self) -> float:
        return self.makespan / self.bound

    @property
    def proved_ratio(self) -> float:
        return self.makespan / self.proved

    @property
    def is_possible(self) -> bool:
        """Whether some schedule may be within the goal; else it is proved that none is."""
        return self.proved <= WORST_GOAL * self.bound


def measure(name: str, count: int, target: str) -> Row:
    module = GRAPHS[name]()
    ctx = Context()
    ScheduleStreamsPass(streams=str(count), sync="events", target=target).apply(ctx, module)
    verify_module(module)
    VerifySchedulePass(target=target).apply(ctx, module)
    block = block_of(module)
    graph = read_tasks(block)
    model = CostModel(target_named(target))
    costs = [model.cost(op).time for op in graph.ops]
    streams = [int(stream_of(op)) for op in graph.ops]
    free = [-1] * len(costs)
    event = model.target.event
    before = joined(graph.before)
    problem = Problem(costs, before, free, range(count), count, event, event)
    makespan = simulate(problem, streams, range(len(costs))).makespan
    waits = sum(len(op.operands) for op in block.ops if isinstance(op, WaitOp))
    return Row(
        name,
        len(costs),
        lower_bound(problem),
        proved_bound(problem),
        makespan,
        serial_plan(problem).makespan,
        len(set(streams)),
        waits,
        optimum_of(module, streams),
    )


def optimum_of(module: ModuleOp, streams: list[int]) -> int:
    """Cross-stream edges in the transitive reduction of stream order, uses, fork and join, by sets
    of ancestors (bits of a number) and apart from the code under test."""
    graph = read_tasks(block_of(module))
    fork = next((i for i, op in enumerate(block_of(module).ops) if isinstance(op, RecordOp)), 0)
    placed = [0, *streams]
    last: dict[int, int] = {0: 0}
    ancestors: list[int] = [0]
    needed = 0
    for number, earlier in enumerate(graph.before, start=1):
        direct = {source + 1 for source in earlier}
        direct.add(last.get(placed[number], fork))
        if number == len(graph.before):
            direct.update(last.values())
        last[placed[number]] = number
        behind = 0
        for source in direct:
            behind |= ancestors[source]
        kept = [source for source in direct if not behind >> source & 1]
        needed += sum(placed[source] != placed[number] for source in kept)
        for source in direct:
            behind |= 1 << source
        ancestors.append(behind)
    return needed


def speed(count: int) -> float:
    """Microseconds per operation of the pass on a large graph."""
    module = layered(count // 53, 32, 7)
    with quiet_gc():
        size = sum(1 for _ in block_of(module).ops)
        start = time.process_time()
        ScheduleStreamsPass(streams="auto", sync="events").apply(Context(), module)
        seconds = time.process_time() - start
    each = 1e6 * seconds / size
    print(f"schedule-streams: {size} operations in {seconds:.2f} s, {each:.1f} us each")
    return each


def check(rows: list[Row]) -> list[str]:
    ratios = [row.ratio for row in rows]
    reachable = [row.ratio for row in rows if row.is_possible]
    proved = [row.proved_ratio for row in rows]
    waits, optimum = sum(r.waits for r in rows), sum(r.optimum for r in rows)
    median, worst = statistics.median(ratios), max(reachable)
    print(
        f"  makespan / bound: median {median:.3f}, worst {max(ratios):.3f}, "
        f"{worst:.3f} where {WORST_GOAL} is not proved impossible\n"
        f"  makespan / proved bound: median {statistics.median(proved):.3f}, "
        f"worst {max(proved):.3f}; events {waits}/{optimum}"
    )
    missed: list[str] = []
    if median > MEDIAN_GOAL or worst > WORST_GOAL:
        missed.append(f"makespan / bound: median {median:.3f}, worst {worst:.3f}")
    if max(proved) > PROVED_GOAL:
        missed.append(f"makespan / proved bound: worst {max(proved):.3f}")
    missed += [f"{r.name}: shorter than proved possible" for r in rows if r.proved_ratio < 1 - 1e-9]
    missed += [f"{r.name}: slower than one stream" for r in rows if r.makespan > r.serial + 1e-6]
    missed += [
        f"{r.name}: {r.waits} events, {r.optimum} are enough"
        for r in rows
        if r.waits > EVENTS_GOAL * max(1, r.optimum)
    ]
    return missed


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--target", default="ascend910b")
    parser.add_argument("--size", type=int, default=100_000, help="operations of the speed test")
    parser.add_argument("--repeats", type=int, default=200, help="runs of the host test")
    arguments = parser.parse_args()
    missed: list[str] = []
    for count in (2, 4):
        print(f"{count} streams, {arguments.target}")
        rows = [measure(name, count, arguments.target) for name in GRAPHS]
        for r in rows:
            print(
                f"  {r.name:<30} {r.tasks:6} tasks  bound {r.bound:9.0f} us  makespan "
                f"{r.makespan:9.0f}  ratio {r.ratio:.3f}, to the proved bound "
                f"{r.proved_ratio:.3f}  one stream {r.serial:9.0f}  "
                f"streams {r.used}  waits {r.waits}/{r.optimum}"
            )
        missed += check(rows)
    if speed(arguments.size) > TIME_GOAL:
        missed.append(f"schedule-streams takes more than {TIME_GOAL} us per operation")
    speed_up, possible = host_speed_up(arguments.repeats)
    if possible >= MACHINE_NEEDS and speed_up < HOST_GOAL:
        missed.append(f"two chains on two streams are {speed_up:.2f} x as fast as on one")
    for line in missed:
        print(f"missed: {line}")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
