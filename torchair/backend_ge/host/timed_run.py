"""A run of a trace with a clock: when each call began and ended, on threads as the program's."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from torchair.backend_ge.host.trace import AtenCall, Slot, Trace
from torchair.backend_ge.host.tracing import real_execution

TIMED_RUNS = 3
"""Runs of which the last is shown: the first ones warm caches."""


@dataclass(frozen=True, slots=True)
class TimedCall:
    """One call of a run; times in microseconds from its start.

    Args:
        op: torch operator.
        origin: number of the graph node it belongs to.
        stream: where it ran; 0 is the calling thread.
        start, end: when.
        waits, records: events before and after it.
    """

    op: str
    origin: int
    stream: int
    start: float
    end: float
    waits: tuple[int, ...]
    records: tuple[int, ...]


def timed_run(
    trace: Trace,
    inputs: Sequence[torch.Tensor],
    delay: Callable[[int], float] | None = None,
    repeats: int = 1,
) -> tuple[list[TimedCall], list[torch.Tensor]]:
    """Run a trace call by call from Python, a thread per stream.

    Args:
        trace: the calls.
        inputs: one tensor per input.
        delay: seconds to sleep before a call, by its number; for tests of the order.
        repeats: how often it runs on the same threads; the last run counts.

    Returns:
        The calls in issue order, and the outputs.

    Raises:
        RuntimeError: whatever a call raised first.
    """
    return _TimedRun(trace, inputs, delay, repeats).run()


class _TimedRun:
    def __init__(
        self,
        trace: Trace,
        inputs: Sequence[torch.Tensor],
        delay: Callable[[int], float] | None,
        repeats: int,
    ) -> None:
        self.trace = trace
        self.values: dict[Slot, Any] = dict(trace.constants)
        self.values.update(zip(trace.inputs, inputs, strict=True))
        self.delay = delay
        self.repeats = repeats
        self.threads = torch.get_num_threads()
        recorded = {event for call in trace.calls for event in call.records}
        self.events = {event: threading.Event() for event in recorded}
        self.found: list[TimedCall | None] = [None] * len(trace.calls)
        self.errors: list[BaseException] = []
        self.began = 0

    def run(self) -> tuple[list[TimedCall], list[torch.Tensor]]:
        streams: dict[int, list[int]] = {0: []}
        for number, call in enumerate(self.trace.calls):
            streams.setdefault(call.stream, []).append(number)
        start = threading.Barrier(len(streams), self._begin)
        threads = [
            threading.Thread(target=self._run_stream, args=(numbers, start), daemon=True)
            for stream, numbers in streams.items()
            if stream
        ]
        for thread in threads:
            thread.start()
        self._run_stream(streams[0], start)
        for thread in threads:
            thread.join()
        if self.errors:
            raise self.errors[0]
        outputs = [self.values[slot] for slot in self.trace.outputs]
        return [call for call in self.found if call is not None], outputs

    def _begin(self) -> None:
        """What one thread does while all are between two runs."""
        for event in self.events.values():
            event.clear()
        self.began = time.perf_counter_ns()

    def _run_stream(self, numbers: list[int], start: threading.Barrier) -> None:
        torch.set_num_threads(self.threads)  # a new thread would take all cores
        try:
            with real_execution():
                for _ in range(self.repeats):
                    start.wait()
                    for number in numbers:
                        self._run_call(number)
        except threading.BrokenBarrierError:
            return  # another stream failed and says why
        except BaseException as error:
            self.errors.append(error)
            start.abort()
            for event in self.events.values():
                event.set()

    def _run_call(self, number: int) -> None:
        call = self.trace.calls[number]
        for event in call.waits:
            self.events[event].wait()
        if self.errors:
            return
        if self.delay is not None:
            time.sleep(self.delay(number))
        args, kwargs = self._fill(call.args), self._fill(call.kwargs)
        start = time.perf_counter_ns()
        result = call.op(*args, **kwargs)
        end = time.perf_counter_ns()
        self._bind(call, result)
        for event in call.records:
            self.events[event].set()
        begin, finish = (start - self.began) / 1e3, (end - self.began) / 1e3
        name = str(call.op)
        self.found[number] = TimedCall(
            name, call.origin, call.stream, begin, finish, call.waits, call.records
        )

    def _fill(self, value: Any) -> Any:
        if isinstance(value, Slot):
            return self.values[value]
        if isinstance(value, dict):
            return {key: self._fill(item) for key, item in value.items()}
        if isinstance(value, list | tuple):
            return type(value)(self._fill(item) for item in value)
        return value

    def _bind(self, call: AtenCall, result: Any) -> None:
        tensors = _flat(result)
        for slot, tensor in zip(call.results, tensors, strict=False):
            if slot is not None:
                self.values[slot] = tensor


def _flat(result: Any) -> list[Any]:
    if isinstance(result, list | tuple):
        return [tensor for item in result for tensor in _flat(item)]
    return [result]
