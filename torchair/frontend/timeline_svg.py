"""A schedule as a picture: a lane per stream, a box per operation, an arrow per event, a ruler of
microseconds."""

from __future__ import annotations

from math import floor, log10
from xml.sax.saxutils import escape

from torchair.passes.scheduling.planned import PlannedSchedule

WIDTH, LANE, HEAD, LEFT, FOOT = 1400.0, 46.0, 50.0, 130.0, 30.0
TICKS = 10
"""Marks of the ruler, at least half as many."""
_COLOURS = {"cube": "#4c78a8", "vector": "#f58518", "link": "#54a24b", "free": "#bab0ac"}


def schedule_svg(schedule: PlannedSchedule) -> str:
    """SVG text of a schedule; hovering over a box names operator, source line and reason."""
    scale = (WIDTH - LEFT) / max(schedule.makespan, 1e-9)
    height = HEAD + LANE * len(schedule.labels) + FOOT
    critical = set(schedule.critical_path())
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH + 10:.0f}" height="{height:.0f}" '
        'font-family="sans-serif" font-size="11">',
        '<defs><marker id="head" viewBox="0 0 6 6" refX="6" refY="3" markerWidth="7" '
        'markerHeight="7" orient="auto"><path d="M0,0 L6,3 L0,6 z" fill="#555"/></marker></defs>',
        f'<text x="4" y="16">{escape(schedule.summary())}</text>',
        _legend(),
    ]
    for stream, label in enumerate(schedule.labels):
        y = HEAD + LANE * stream
        parts.append(f'<text x="4" y="{y + 24:.0f}">{escape(label or "main")}</text>')
        parts.append(
            f'<line x1="{LEFT}" y1="{y + LANE - 4:.0f}" x2="{WIDTH}" y2="{y + LANE - 4:.0f}" '
            'stroke="#ddd"/>'
        )
    parts += [_box(schedule, n, scale, n in critical) for n in range(len(schedule.tasks))]
    parts += [_arrow(schedule, *pair, scale) for pair in schedule.events]
    parts += _ruler(schedule.makespan, scale, HEAD + LANE * len(schedule.labels))
    return "\n".join([*parts, "</svg>", ""])


def _legend() -> str:
    names = (("cube", "matrix unit"), ("vector", "vector unit"), ("link", "link between ranks"))
    spans = [f'<tspan fill="{_COLOURS[unit]}">\u25a0 {name}</tspan>' for unit, name in names]
    return f'<text x="{LEFT}" y="36">{" ".join(spans)}  red border: critical path</text>'


def _ruler(end: float, scale: float, y: float) -> list[str]:
    """Marks at round times."""
    step = 10.0 ** floor(log10(max(end, 1e-3) / TICKS))
    step = next(step * factor for factor in (1, 2, 5, 10, 20) if end <= TICKS * step * factor)
    parts: list[str] = []
    for number in range(int(end / step) + 1):
        x = LEFT + number * step * scale
        parts.append(f'<line x1="{x:.1f}" y1="{y}" x2="{x:.1f}" y2="{y + 5}" stroke="#333"/>')
        parts.append(
            f'<text x="{x:.1f}" y="{y + 18}" text-anchor="middle">{number * step:g} us</text>'
        )
    return parts


def _box(schedule: PlannedSchedule, number: int, scale: float, is_critical: bool) -> str:
    task, start = schedule.tasks[number], schedule.plan.starts[number]
    if not task.cost.time:
        return ""
    x, y = LEFT + start * scale, HEAD + LANE * schedule.streams[number]
    width = max(task.cost.time * scale, 0.5)
    reason = f"; {task.why}" if task.why else ""
    title = f"{task.origin} {task.source}: {start:.1f} to {start + task.cost.time:.1f} us{reason}"
    border = '#c00" stroke-width="1.5' if is_critical else '#333" stroke-width="0.5'
    text = ""
    if width > 7 * len(task.name):
        text = f'<text x="{x + 3:.2f}" y="{y + 22:.0f}" fill="#fff">{escape(task.name)}</text>'
    return (
        f'<rect x="{x:.2f}" y="{y:.0f}" width="{width:.2f}" height="{LANE - 10:.0f}" '
        f'fill="{_COLOURS[task.cost.unit]}" stroke="{border}">'
        f"<title>{escape(title)}</title></rect>{text}"
    )


def _arrow(schedule: PlannedSchedule, source: int, task: int, scale: float) -> str:
    end = schedule.plan.starts[source] + schedule.tasks[source].cost.time
    x1, x2 = LEFT + end * scale, LEFT + schedule.plan.starts[task] * scale
    lanes = schedule.streams[source], schedule.streams[task]
    box = LANE - 10
    edges = (box, 0.0) if lanes[0] < lanes[1] else (0.0, box)
    y1, y2 = (HEAD + LANE * lane + edge for lane, edge in zip(lanes, edges, strict=True))
    return (
        f'<line x1="{x1:.2f}" y1="{y1:.0f}" x2="{x2:.2f}" y2="{y2:.0f}" stroke="#555" '
        'stroke-width="0.6" stroke-dasharray="3 2" marker-end="url(#head)"/>'
    )
