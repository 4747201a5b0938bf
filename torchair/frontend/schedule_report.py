"""``torchair.report``: what compiling did and how the graphs are scheduled, as text."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from torchair.frontend.compiled_reports import reports_of
from torchair.frontend.report import CompileReport
from torchair.frontend.timeline import measured_calls
from torchair.passes.scheduling.planned import PlannedSchedule

MOST_LISTED = 12


@dataclass(frozen=True)
class Report:
    """The reports of everything compiled; ``str()`` is the text.

    Args:
        graphs: one report per graph, oldest first.
    """

    graphs: list[CompileReport]

    def __str__(self) -> str:
        return "\n\n".join("\n".join(_graph_lines(report)) for report in self.graphs)


def report(compiled: Any) -> Report:
    """Times, node counts, streams, events, critical path and placement of compiled graphs.

    Args:
        compiled: what ``torch.compile`` returned, or its backend; called at least once.

    Raises:
        ConfigError: it was not compiled with this package, or was not called yet.
    """
    return Report(reports_of(compiled))


def _graph_lines(found: CompileReport) -> Iterator[str]:
    yield str(found)
    schedule = found.schedule
    if schedule is None:
        return
    yield "  schedule"
    yield from (f"    {line}" for line in schedule_lines(schedule))
    calls = [call for call, _, _ in measured_calls(found)]
    if calls:
        work = sum(call.end - call.start for call in calls)
        took = max(call.end for call in calls)
        yield (
            f"    measured on the host, call by call: {took:.0f} us, {work:.0f} us of work, "
            f"{work / took:.2f} x"
        )


def schedule_lines(schedule: PlannedSchedule) -> Iterator[str]:
    """The planned schedule: load of each stream, times, critical path, reasons."""
    counts = [schedule.streams.count(stream) for stream in range(len(schedule.labels))]
    for stream, label in enumerate(schedule.labels):
        busy = schedule.busy(stream)
        yield f"stream {label or 'main'}: {counts[stream]} operations, busy {busy:.0f} us"
    collectives, digest = schedule.collectives
    if collectives:
        yield f"collectives: {collectives}, order {digest} (must be the same on all ranks)"
    if len(schedule.labels) == 1:
        yield (
            f"expected on {schedule.target}: {schedule.makespan:.0f} us on one stream; "
            "config.streams = 'auto' lets the compiler use more where that pays"
        )
        yield _busiest_line(schedule)
        return
    records = len({source for source, _ in schedule.events})
    yield f"events: {records} records, {len(schedule.events)} waits"
    yield (
        f"expected on {schedule.target}: {schedule.expected:.0f} us, on one stream "
        f"{schedule.work:.0f} us, {schedule.speed_up:.2f} x; no schedule is shorter than "
        f"{max(schedule.bound, schedule.busiest_unit[1]):.0f} us"
    )
    yield _busiest_line(schedule)
    path = [n for n in schedule.critical_path() if schedule.tasks[n].cost.time]
    yield f"critical path: {len(path)} operations; the longest:"
    longest = sorted(path, key=lambda n: -schedule.tasks[n].cost.time)[:MOST_LISTED]
    yield from (f"  {_line(schedule, n)}" for n in sorted(longest))
    moved = [n for n, stream in enumerate(schedule.streams) if stream]
    if moved:
        yield f"off the main stream: {len(moved)} operations"
        yield from (f"  {_line(schedule, n)}" for n in moved[:MOST_LISTED])
        if len(moved) > MOST_LISTED:
            yield f"  and {len(moved) - MOST_LISTED} more (torchair.timeline shows all)"


def _busiest_line(schedule: PlannedSchedule) -> str:
    unit, time = schedule.busiest_unit
    names = {"cube": "matrix unit", "vector": "vector unit"}
    return f"busiest unit: {names.get(unit, unit)}, {time:.0f} us, which all streams share"


def _line(schedule: PlannedSchedule, number: int) -> str:
    task = schedule.tasks[number]
    start = schedule.plan.starts[number]
    why = task.why or ("placed by the user" if task.label else "on the main stream")
    place = f"{task.label or 'main'} at {start:.0f} us for {task.cost.time:.1f} us"
    return f"{task.origin} ({task.source or 'unknown source'}): {place}, {why}"
