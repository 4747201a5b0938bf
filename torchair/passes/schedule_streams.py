"""Places operations on streams and writes the fewest events that keep them in order."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from xdsl.dialects.builtin import ModuleOp
from xdsl.dialects.func import FuncOp
from xdsl.ir import Block

from torchair.dialects.stream import MAIN, label_of
from torchair.dialects.stream import attributes as names
from torchair.errors import ConfigError
from torchair.ir import interned
from torchair.passes.rewrite_pass import RewritePass
from torchair.passes.scheduling.costs import CostModel, target_named
from torchair.passes.scheduling.placement import (
    Gain,
    Placement,
    place_automatically,
    place_by_labels,
)
from torchair.passes.scheduling.tasks import TaskGraph, is_unplaced, read_tasks
from torchair.passes.scheduling.write import drop_events, event_edges, write_events


@dataclass(frozen=True)
class ScheduleStreamsPass(RewritePass):
    """Places operations on physical streams and orders these with the fewest records and waits.

        %1 = aten.mm(%a, %b)                 %e = stream.record
        %2 = aten.mm(%c, %d)                 stream.wait %e {stream.label = "auto1"}
        %3 = aten.add.Tensor(%1, %2)    ->   %2 = aten.mm(%c, %d) {stream.label = "auto1"}
                                             ...

    Options: `streams` is ``user`` (labels decide, order stays), ``auto`` (list scheduling on up to
    `pool` streams) or a number (on up to that many). Labels of the user stay where they are; in
    every mode they are mapped to at most `pool` physical streams, ``stream.index``. `sync` is
    ``events``, or ``data`` for an engine that orders uses after producers itself: then the events
    of the user remain and no others are added. Nothing is split that gains less than `min_gain`
    (a share of the time on one stream) or `min_gain_us` microseconds; with ``auto``, every further
    stream must gain that much.
    Numeric class: exact. Shown by: test/lit/passes/schedule-streams.mlir
    """

    name = "schedule-streams"
    numeric_class: ClassVar[str] = "exact"

    streams: str = "user"
    target: str = "ascend910b"
    pool: int = 4
    sync: str = "data"
    min_gain: float = 0.03
    min_gain_us: float = 10.0

    def rewrite(self, module: ModuleOp) -> bool:
        self._check_options()
        changed = False
        for function in module.ops:
            if isinstance(function, FuncOp) and not function.is_declaration:
                changed |= self._schedule(function.body.block)
        module.attributes[names.SYNC] = interned.string(self.sync)
        return changed

    def _check_options(self) -> None:
        if self.streams not in ("user", "auto") and not (
            self.streams.isdigit() and 1 <= int(self.streams) <= 64
        ):
            raise ConfigError(
                "wrong value of streams",
                expected="user, auto or a number from 1 to 64",
                found=self.streams,
                hint="set config.streams",
            )
        if self.sync not in ("events", "data"):
            raise ConfigError("wrong value of sync", expected="events or data", found=self.sync)
        if self.pool < 1:
            raise ConfigError("the pool has at least one stream", found=self.pool)

    def _schedule(self, block: Block) -> bool:
        """Schedule a block; returns whether anything was written."""
        if self.streams == "user" and is_unplaced(block):
            return False
        graph = read_tasks(block)
        labels = _labels(graph)
        if self.streams == "user" and len(labels) == 1:
            return False
        for source, later in graph.ordered:
            graph.require(source, later, "an event of the user orders them")
        if self.streams == "user":
            placement = place_by_labels(graph, labels, self.pool)
        else:
            limit = self.pool if self.streams == "auto" else int(self.streams)
            costs = CostModel(target_named(self.target))
            gain = Gain(self.min_gain, self.min_gain_us, each=self.streams == "auto")
            placement = place_automatically(graph, labels, costs, limit, gain)
        _mark(graph, placement)
        if self.sync == "events" or self.streams != "user":
            self._rewrite(block, graph, placement)
        return True

    def _rewrite(self, block: Block, graph: TaskGraph, placement: Placement) -> None:
        place = {task: number for number, task in enumerate(placement.order)}
        streams = [placement.streams[task] for task in placement.order]
        edges = [[source for source in graph.before[task]] for task in placement.order]
        before = [[place[source] for source in sources] for sources in edges]
        if self.sync == "events":
            found = event_edges(streams, before, max(streams) + 1, placement.opening)
        else:
            found = _user_edges(graph, place, len(streams))
        drop_events(block)
        ops = [graph.ops[task] for task in placement.order]
        write_events(block, ops, streams, found, placement.labels)


def _user_edges(graph: TaskGraph, place: dict[int, int], count: int) -> list[list[int]]:
    """Every pair that the user ordered, in the numbers of ``write_events``."""
    found: list[list[int]] = [[] for _ in range(count + 1)]
    for source, later in graph.ordered:
        found[place[later] + 1].append(place[source] + 1)
    return found


def _labels(graph: TaskGraph) -> list[str]:
    """The labels in the graph, the main stream first."""
    return list(dict.fromkeys([MAIN, *[label_of(op) for op in graph.ops]]))


def _mark(graph: TaskGraph, placement: Placement) -> None:
    """Write stream, label and reason on the operations that leave the main stream."""
    for task, op in enumerate(graph.ops):
        stream = placement.streams[task]
        if stream:
            attributes = op.attributes
            attributes.setdefault(names.LABEL, interned.string(placement.labels[stream]))
            attributes[names.INDEX] = interned.integer(stream)
            if placement.reasons:
                attributes[names.WHY] = interned.string(placement.reasons[task])
