"""A schedule as a picture: a lane per stream, a box per operation, a line per event."""

from __future__ import annotations

from xml.sax.saxutils import escape

from torchair.passes.scheduling.planned import PlannedSchedule

WIDTH, LANE, HEAD, LEFT = 1400.0, 46.0, 30.0, 130.0
_COLOURS = {"cube": "#4c78a8", "vector": "#f58518", "link": "#54a24b", "free": "#bab0ac"}


def schedule_svg(schedule: PlannedSchedule) -> str:
    """SVG text of a schedule; hovering over a box names operator, source line and reason."""
    scale = (WIDTH - LEFT) / max(schedule.makespan, 1e-9)
    height = HEAD + LANE * len(schedule.labels) + 10
    critical = set(schedule.critical_path())
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH + 10:.0f}" height="{height:.0f}" '
        'font-family="sans-serif" font-size="11">',
        f'<text x="4" y="16">{escape(schedule.summary())}</text>',
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
    return "\n".join([*parts, "</svg>", ""])


def _box(schedule: PlannedSchedule, number: int, scale: float, is_critical: bool) -> str:
    task, start = schedule.tasks[number], schedule.plan.starts[number]
    if not task.cost.time:
        return ""
    x, y = LEFT + start * scale, HEAD + LANE * schedule.streams[number]
    width = max(task.cost.time * scale, 0.5)
    reason = f"; {task.why}" if task.why else ""
    title = f"{task.origin} {task.source}: {start:.1f} to {start + task.cost.time:.1f} us{reason}"
    border = "#c00" if is_critical else "#333"
    text = ""
    if width > 7 * len(task.name):
        text = f'<text x="{x + 3:.2f}" y="{y + 22:.0f}" fill="#fff">{escape(task.name)}</text>'
    return (
        f'<rect x="{x:.2f}" y="{y:.0f}" width="{width:.2f}" height="{LANE - 10:.0f}" '
        f'fill="{_COLOURS[task.cost.unit]}" stroke="{border}" stroke-width="0.5">'
        f"<title>{escape(title)}</title></rect>{text}"
    )


def _arrow(schedule: PlannedSchedule, source: int, task: int, scale: float) -> str:
    end = schedule.plan.starts[source] + schedule.tasks[source].cost.time
    x1, x2 = LEFT + end * scale, LEFT + schedule.plan.starts[task] * scale
    y1 = HEAD + LANE * schedule.streams[source] + LANE / 2
    y2 = HEAD + LANE * schedule.streams[task] + LANE / 2
    return (
        f'<line x1="{x1:.2f}" y1="{y1:.0f}" x2="{x2:.2f}" y2="{y2:.0f}" stroke="#555" '
        'stroke-width="0.6" stroke-dasharray="3 2"/>'
    )
