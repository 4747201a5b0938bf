"""``torchair.timeline``: planned and measured schedules side by side in a trace viewer."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from torchair.backend_ge.host.timed_run import TimedCall
from torchair.errors import ConfigError
from torchair.frontend.compiled_reports import reports_of
from torchair.frontend.report import CompileReport
from torchair.frontend.timeline_svg import schedule_svg
from torchair.passes.scheduling.planned import PlannedSchedule

TraceEvent = dict[str, Any]
Measured = Sequence[tuple[TimedCall, str, str | None]]
INSIDE = 0.001
"""Microseconds before the end of a box at which its arrows begin: at the end they would belong to
the next box."""


def timeline(compiled: Any, path: str | Path) -> Path:
    """Write the schedules of a compiled function or module.

    A ``.json`` file is a Chrome trace (for Perfetto or chrome://tracing): per graph one process
    with the planned schedule, from the cost model, and one with a run on the host device, a track
    per stream and an arrow per event. A ``.svg`` file is a picture of the planned schedule of the
    last graph.

    Args:
        compiled: what ``torch.compile`` returned, or its backend; called at least once.
        path: ``.json`` or ``.svg``.

    Returns:
        The path.

    Raises:
        ConfigError: another suffix, nothing compiled yet, or no schedule is known.
    """
    place = Path(path)
    if place.suffix not in (".json", ".svg"):
        raise ConfigError(
            "a timeline is written as .json or .svg", found=place.name, hint="timeline.json"
        )
    reports = [report for report in reports_of(compiled) if report.schedule is not None]
    if not reports:
        raise ConfigError(
            "no schedule is known", hint="keep the pass schedule-streams in config.passes"
        )
    if place.suffix == ".svg":
        schedule = reports[-1].schedule
        assert schedule is not None, "selected above"
        text = schedule_svg(schedule)
    else:
        text = json.dumps({"traceEvents": list(_events(reports)), "displayTimeUnit": "ns"})
    place.write_text(text, encoding="utf-8")
    return place


def _events(reports: Sequence[CompileReport]) -> Iterator[TraceEvent]:
    for number, report in enumerate(reports):
        schedule = report.schedule
        assert schedule is not None, "the caller selects these"
        process = 2 * number + 1
        yield from _process(process, f"{report.name}: planned ({schedule.target})", schedule.labels)
        yield from planned_events(schedule, process)
        measured = measured_calls(report)
        if measured:
            labels = _measured_labels(measured)
            yield from _process(process + 1, f"{report.name}: measured (host)", labels)
            yield from measured_events(measured, process + 1)


def measured_calls(report: CompileReport) -> Measured:
    """The calls of a run with a clock; empty when the engine cannot, or before the first run."""
    executable = report.captured if report.executable is None else report.executable()
    timed = getattr(executable, "timed_calls", None)
    return [] if timed is None else timed()


def _measured_labels(measured: Measured) -> list[str]:
    count = 1 + max((call.stream for call, _, _ in measured), default=0)
    return [f"stream {n}" if n else "" for n in range(count)]


def _process(process: int, name: str, labels: Sequence[str]) -> Iterator[TraceEvent]:
    yield {"ph": "M", "pid": process, "name": "process_name", "args": {"name": name}}
    for stream, label in enumerate(labels):
        arguments = {"name": label or "main"}
        yield {
            "ph": "M",
            "pid": process,
            "tid": stream,
            "name": "thread_name",
            "args": arguments,
        }


def planned_events(schedule: PlannedSchedule, process: int) -> Iterator[TraceEvent]:
    """Boxes of the operations that take time, and arrows of the events."""
    starts = schedule.plan.starts
    for task, stream, start in zip(schedule.tasks, schedule.streams, starts, strict=True):
        if task.cost.time:
            yield {
                "ph": "X",
                "pid": process,
                "tid": stream,
                "name": task.name,
                "cat": task.cost.unit,
                "ts": start,
                "dur": task.cost.time,
                "args": {"node": task.origin, "source": task.source, "why": task.why},
            }
    for number, (source, task) in enumerate(schedule.events):
        end = starts[source] + schedule.tasks[source].cost.time
        end = max(starts[source], end - INSIDE)
        places = (schedule.streams[source], end), (schedule.streams[task], starts[task])
        yield from _arrow(process, number, *places)


def measured_events(measured: Measured, process: int) -> Iterator[TraceEvent]:
    """Boxes of the calls and arrows from the record to the waits of each event."""
    recorded: dict[int, TimedCall] = {}
    number = 0
    for call, node, source in measured:
        yield {
            "ph": "X",
            "pid": process,
            "tid": call.stream,
            "name": call.op,
            "cat": "call",
            "ts": call.start,
            "dur": call.end - call.start,
            "args": {"node": node, "source": source or ""},
        }
        for event in call.waits:
            origin = recorded[event]
            end = max(origin.start, origin.end - INSIDE)
            places = (origin.stream, end), (call.stream, call.start)
            yield from _arrow(process, number, *places)
            number += 1
        recorded.update(dict.fromkeys(call.records, call))


def _arrow(
    process: int, number: int, source: tuple[int, float], target: tuple[int, float]
) -> Iterator[TraceEvent]:
    shared = {"pid": process, "name": "event", "cat": "event", "id": process * 1_000_000 + number}
    yield {**shared, "ph": "s", "tid": source[0], "ts": source[1]}
    yield {**shared, "ph": "f", "bp": "e", "tid": target[0], "ts": target[1]}
