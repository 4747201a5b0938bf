"""What one compile did: times, node counts, files."""

from __future__ import annotations

import weakref
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torchair.passes.driver import StageTime
from torchair.passes.scheduling.planned import PlannedSchedule

if TYPE_CHECKING:
    from torchair.frontend.replacement.report import ReplacementStatistics


@dataclass
class CompileReport:
    """Report of one compiled graph.

    Args:
        name: graph name, e.g. ``graph_0_inference``.
        stages: CPU seconds of each stage in order: import, every pass, emission, engine.
        nodes: node counts by level: ``fx``, ``aten``, ``aten optimised``, ``ge``.
        files: artefacts written.
        graph_bytes: size of the serialized GE graph.
        schedule: the operations on their streams, as the cost model sees them.
        executable: refers weakly to what runs the graph.
        copies_left: inputs that are written by a copy rather than in place, and why.
        replacements: how often each registered replacement matched.
        capture_state: in the capture modes, refers weakly to the graph's captures.
    """

    name: str
    stages: list[StageTime] = field(default_factory=list[StageTime])
    nodes: dict[str, int] = field(default_factory=dict[str, int])
    files: list[Path] = field(default_factory=list[Path])
    graph_bytes: int = 0
    capture_state: weakref.ref[Any] | None = None
    schedule: PlannedSchedule | None = None
    copies_left: list[str] = field(default_factory=list[str])
    replacements: list[ReplacementStatistics] = field(default_factory=list[Any])
    executable: weakref.ref[Any] | None = None

    @property
    def captured(self) -> Any:
        """In the capture modes, the ``CapturedGraph`` while it is alive; else None."""
        return None if self.capture_state is None else self.capture_state()

    @property
    def seconds(self) -> float:
        """CPU seconds of all stages."""
        return sum(stage.seconds for stage in self.stages)

    def __str__(self) -> str:
        ge_graph = f", GE graph {self.graph_bytes} bytes" if self.graph_bytes else ""
        lines = [f"{self.name}: {1e3 * self.seconds:.1f} ms CPU{ge_graph}"]
        lines.append("  nodes  " + ", ".join(f"{k} {v}" for k, v in self.nodes.items()))
        width = max((len(stage.name) for stage in self.stages), default=0)
        for stage in self.stages:
            per_node = 1e6 * stage.seconds / max(1, self.nodes.get("fx", 1))
            label = f"  {stage.name:<{width}}"
            lines.append(f"{label}  {1e3 * stage.seconds:9.2f} ms  {per_node:7.1f} us/FX node")
        if self.schedule is not None and len(self.schedule.labels) > 1:
            lines.append(f"  {self.schedule.summary()}")
        lines.extend(f"  {item}" for item in (*self.copies_left, *self.replacements))
        lines.extend(f"  wrote {path}" for path in self.files)
        captured = self.captured
        if captured is not None:
            lines.extend(f"  {line}" for line in str(captured).splitlines())
        return "\n".join(lines)
