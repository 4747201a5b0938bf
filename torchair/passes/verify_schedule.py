"""Proof that a schedule has no race and no deadlock, and fits the device."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from xdsl.dialects.builtin import ModuleOp, StringAttr
from xdsl.dialects.func import FuncOp
from xdsl.ir import Block, Operation

from torchair.dialects.stream import RecordOp, WaitOp, stream_of
from torchair.dialects.stream import attributes as names
from torchair.dialects.stream.limits import Limits, limits_of
from torchair.dialects.stream.order import Clock, StreamClocks
from torchair.errors import VerifyError
from torchair.ir.location import describe
from torchair.ir.private import iter_ops
from torchair.passes.rewrite_pass import RewritePass
from torchair.passes.scheduling.buffers import BufferUses
from torchair.passes.scheduling.residents import Residents
from torchair.passes.scheduling.tasks import TaskGraph, is_unplaced, read_tasks

MOST_LISTED = 20


@dataclass(frozen=True)
class VerifySchedulePass(RewritePass):
    """Refuses a schedule with a race, a deadlock, an unjoined stream, or too much for the device.

    Every operation must be ordered, by its stream and by events, after what it depends on: the
    producers of its operands, the readers and writers of memory that it writes, earlier
    collectives of its group and earlier effects. Streams fork from the main stream and join it
    before the function returns. In ge modules, and where the module says ``stream.sync = "data"``,
    the engine orders uses after their producers and joins the streams.
    Options: `target` names the device whose limits hold; `streams`, `events` and `tasks`
    (operations on one stream) override them.
    Numeric class: exact. Shown by: test/lit/passes/verify-schedule.mlir
    """

    name = "verify-schedule"
    numeric_class: ClassVar[str] = "exact"

    target: str = "ascend910b"
    streams: int = 0
    events: int = 0
    tasks: int = 0

    def rewrite(self, module: ModuleOp) -> bool:
        limits = limits_of(self.target)
        limits = Limits(
            self.streams or limits.streams,
            self.events or limits.events,
            self.tasks or limits.tasks,
            limits.aicores,
            limits.vectorcores,
        )
        for function in module.ops:
            if isinstance(function, FuncOp) and not function.is_declaration:
                block = function.body.block
                if not is_unplaced(block):
                    _Verification(block, syncs_by_data(module, block), limits).run()
        return False


def syncs_by_data(module: ModuleOp, block: Block) -> bool:
    """Whether the engine orders uses after their producers across streams by itself."""
    mode = module.attributes.get(names.SYNC)
    if isinstance(mode, StringAttr):
        return mode.data == "data"
    last = block.last_op
    return last is not None and last.name == "ge.NetOutput"


class _Verification:
    """One walk over a block with vector clocks."""

    def __init__(self, block: Block, by_data: bool, limits: Limits) -> None:
        self.block = block
        self.by_data = by_data
        self.limits = limits
        self.graph: TaskGraph = read_tasks(block)
        self.problems: list[tuple[str, Operation]] = []
        self.streams = self._number_streams()
        self.clocks = StreamClocks(len(self.streams))
        self.events: dict[object, tuple[Clock, bool]] = {}
        self.places: list[tuple[int, int]] = []
        self.finished: list[Clock] = []
        self.buffers = BufferUses(self.graph.ops)
        self.residents = Residents(self.clocks, limits.vectorcores)
        self.joined = {0}
        self.tasks: dict[int, int] = {}

    def _number_streams(self) -> dict[int | str, int]:
        found: dict[int | str, int] = {0: 0}
        for op in iter_ops(self.block):
            found.setdefault(stream_of(op), len(found))
        return found

    def run(self) -> None:
        """Walk the block, then report everything found.

        Raises:
            VerifyError: one or several violations.
        """
        task = 0
        for op in iter_ops(self.block):
            stream = self.streams[stream_of(op)]
            self.tasks[stream] = self.tasks.get(stream, 0) + 1
            if isinstance(op, RecordOp):
                self.events[op.token] = (self.clocks.after(stream), stream in self.joined)
            elif isinstance(op, WaitOp):
                self._wait(op, stream)
            else:
                self._task(task, op, stream)
                task += 1
        self._check_counts()
        self._report()

    def _wait(self, op: Operation, stream: int) -> None:
        for token in op.operands:
            clock, is_joined = self.events[token]
            self.clocks.wait(stream, clock)
            if is_joined:
                self.joined.add(stream)

    def _task(self, number: int, op: Operation, stream: int) -> None:
        if not self.by_data and stream not in self.joined:
            self._fail(
                op,
                f"{_text(op)} is the first on {self._name(stream)}, which has not forked from the "
                "main stream: it waits for no event of it; missing edge: a record on the main "
                f"stream -> a wait on {self._name(stream)} before {_text(op)}",
            )
            self.joined.add(stream)
        for earlier in self.graph.before[number]:
            self._require(earlier, number, stream)
        for earlier, name in self.buffers.readers_before(number):
            self._require_reuse(earlier, number, stream, name)
        self._check_cores(op)
        self._check_residents(op, stream)
        if number == len(self.graph.ops) - 1 and not self.by_data:
            self._check_joined(op, stream)
        self.places.append((stream, self.clocks.issue(stream)))
        if self.by_data:
            self.finished.append(self.clocks.after(stream))

    def _require(self, earlier: int, later: int, stream: int) -> None:
        kind = self.graph.kinds.get((earlier, later))
        other, position = self.places[earlier]
        if self.by_data and kind is None:
            if other != stream:
                self.clocks.wait(stream, self.finished[earlier])
            return
        if self.by_data and kind is not None and "collectives" not in kind:
            return  # emission turns these orders into control edges
        if not self.clocks.is_over(other, position, stream):
            why = kind or "it uses a result of the other"
            self._missing_edge(earlier, later, stream, why)

    def _require_reuse(self, earlier: int, later: int, stream: int, name: str) -> None:
        other, position = self.places[earlier]
        if not self.clocks.is_over(other, position, stream):
            why = f"it reuses buffer '{name}', whose last reader is the other"
            self._missing_edge(earlier, later, stream, why)

    def _missing_edge(self, earlier: int, later: int, stream: int, why: str) -> None:
        first, second = self.graph.ops[earlier], self.graph.ops[later]
        source = self._name(self.places[earlier][0])
        target = self._name(stream)
        self._fail(
            second,
            f"{_text(second)} on {target} is not ordered after {_text(first)} on {source}: {why}; "
            f"missing edge: a record after {_text(first)} -> a wait before {_text(second)}",
        )

    def _check_joined(self, end: Operation, stream: int) -> None:
        for other, issued in enumerate(self.clocks.issued):
            if other == stream or self.clocks.known[stream][other] >= issued:
                continue
            number = max(i for i, place in enumerate(self.places) if place == (other, issued - 1))
            last = self.graph.ops[number]
            self._fail(
                last,
                f"{self._name(other)} is not joined: {_text(last)}, the last on it, is not ordered "
                f"before {_text(end)}; missing edge: a record after {_text(last)} -> a wait before "
                f"{_text(end)}",
            )

    def _check_cores(self, op: Operation) -> None:
        for key, limit in (
            (names.AICORE, self.limits.aicores),
            (names.VECTORCORE, self.limits.vectorcores),
        ):
            asked = names.cores_of(op, key)
            if asked is not None and asked > limit:
                self._fail(op, f"{_text(op)} asks for {key} = {asked}, the device has {limit}")

    def _check_residents(self, op: Operation, stream: int) -> None:
        for rival, cores in self.residents.rivals(op, stream):
            self._fail(
                op,
                f"{_text(op)} and {_text(rival)} may wait for their ranks at the same time with "
                f"{cores} vector cores, the device has {self.limits.vectorcores}; missing edge: a "
                f"record after {_text(rival)} -> a wait before {_text(op)}",
            )

    def _check_counts(self) -> None:
        events = sum(isinstance(op, RecordOp) for op in iter_ops(self.block))
        largest = max(self.tasks.values(), default=0)
        for what, needed, limit in (
            ("streams", len(self.streams), self.limits.streams),
            ("events", events, self.limits.events),
            ("tasks on one stream", largest, self.limits.tasks),
        ):
            if needed > limit:
                last = self.graph.ops[-1]
                largest_users = ", ".join(
                    f"{self._name(s)}: {n}"
                    for s, n in sorted(self.tasks.items(), key=lambda item: -item[1])[:4]
                )
                self._fail(
                    last,
                    f"the graph needs {needed} {what}, the device allows {limit} "
                    f"(operations by stream: {largest_users})",
                )

    def _name(self, stream: int) -> str:
        key = next(k for k, number in self.streams.items() if number == stream)
        if key == 0:
            return "the main stream"
        return f"stream '{key}'" if isinstance(key, str) else f"stream {key}"

    def _fail(self, op: Operation, message: str) -> None:
        self.problems.append((message, op))

    def _report(self) -> None:
        if not self.problems:
            return
        label, source = describe(self.problems[0][1])
        listed = [message for message, _ in self.problems[:MOST_LISTED]]
        more = len(self.problems) - len(listed)
        listed += [f"and {more} more"] if more > 0 else []
        count = len(self.problems)
        raise VerifyError(
            f"the schedule is not safe: {count} violation{'s' * (count > 1)}",
            found="\n            ".join(listed),
            op=label,
            loc=source,
            hint="add the edges (torchair.ops.record and wait) or let schedule-streams add them; "
            "where the device is too small, use fewer streams, events or cores; config.device has "
            "other limits",
        )


def _text(op: Operation) -> str:
    label, source = describe(op)
    return f"{label} at {source}" if source else label
