"""The host engine: compiles a GE graph into an executable that runs it on this machine's CPU."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from torchair.backend_ge.host.lowering import (
    HostGraph,
    Scalar,
    interpret,
    node_error,
    read_graph,
    specialise,
    trace_graph,
)
from torchair.backend_ge.host.program import Program, ProgramError
from torchair.backend_ge.host.timed_run import TIMED_RUNS, TimedCall, timed_run
from torchair.backend_ge.host.tracing import DataDependentError, real_execution
from torchair.backend_ge.load import load
from torchair.errors import EngineError
from torchair.ir.garbage import quiet_gc

DEFAULT_MAX_PROGRAMS = 64


@dataclass(frozen=True, slots=True)
class _Specialised:
    """A program and the positions of its tensor inputs; no program when shapes depend on data."""

    program: Program | None
    positions: list[int]


class HostExecutable:
    """A compiled GE graph.

    Static graphs are specialised once, dynamic ones once per input signature (shapes, strides and
    the values of scalar inputs), with a bounded least-recently-used store.

    Args:
        graph_def: GE graph, as ``ModelDef`` or its bytes.
        max_programs: how many specialisations are kept.
    """

    def __init__(self, graph_def: Any, max_programs: int = DEFAULT_MAX_PROGRAMS) -> None:
        with quiet_gc():
            self._graph: HostGraph = read_graph(load(graph_def))
        self._max_programs = max_programs
        self._programs: OrderedDict[tuple[Any, ...], _Specialised] = OrderedDict()
        self._lock = threading.Lock()

    @property
    def specialisations(self) -> int:
        """How many programs are held now."""
        return len(self._programs)

    def run(self, inputs: Sequence[torch.Tensor | Scalar]) -> list[torch.Tensor]:
        """Execute the graph.

        Args:
            inputs: one tensor (or Python number, for a host scalar) per Data, in index order.

        Returns:
            One tensor per output of NetOutput, with storage of its own. Assigned inputs are
            written.

        Raises:
            EngineError: naming the GE node, the ATen operator and the source line.
        """
        if len(inputs) != len(self._graph.arguments):
            raise EngineError(
                "wrong number of graph inputs",
                expected=len(self._graph.arguments),
                found=len(inputs),
            )
        found = self._find(inputs)
        if found.program is None:
            return interpret(self._graph, inputs)
        try:
            return found.program.run([inputs[i] for i in found.positions])  # pyright: ignore
        except ProgramError as error:
            raise node_error(self._graph.nodes[error.origin], error) from error

    def timed_calls(self) -> list[tuple[TimedCall, str, str | None]]:
        """Every call of a run with a clock, with its node and source line; empty before any run.

        The run takes made-up inputs of the shapes that were run last.
        """
        if not self._programs:
            return []
        inputs = [_example(item) for item in next(reversed(self._programs))]
        try:
            with real_execution():
                trace, positions = trace_graph(self._graph, inputs)
        except DataDependentError:
            return []
        tensors: list[Any] = [inputs[i] for i in positions]
        calls, _ = timed_run(trace, tensors, repeats=TIMED_RUNS)
        last = len(self._graph.nodes) - 1
        return [(call, *self._graph.nodes[min(call.origin, last)].describe()) for call in calls]

    def _find(self, inputs: Sequence[torch.Tensor | Scalar]) -> _Specialised:
        key = tuple(
            [
                (v.shape, v.stride(), v.dtype, v.device, v.is_conj() or v.is_neg())
                if isinstance(v, torch.Tensor)
                else (type(v), v)
                for v in inputs
            ]
        )
        with self._lock:
            found = self._programs.get(key)
            if found is not None:
                self._programs.move_to_end(key)
                return found
        built = self._specialise(inputs)
        with self._lock:
            self._programs[key] = built
            while len(self._programs) > self._max_programs:
                self._programs.popitem(last=False)
        return built

    def _specialise(self, inputs: Sequence[torch.Tensor | Scalar]) -> _Specialised:
        try:
            with real_execution():
                program, positions = specialise(self._graph, inputs)
        except DataDependentError:
            return _Specialised(None, [])
        return _Specialised(program, positions)


def _example(item: tuple[Any, ...]) -> torch.Tensor | Scalar:
    """An input like the one that a part of a signature stands for; zeros are valid indices."""
    if len(item) == 2:
        return item[1]
    shape, stride, dtype, device, _ = item
    made = torch.empty_strided(shape, stride, dtype=dtype, device=device)
    return made.fill_(1 if dtype.is_floating_point else 0)


class HostEngine:
    """Engine that runs GE graphs on the CPU of this machine."""

    name = "host"

    def compile(self, graph_def: Any, options: Mapping[str, Any] | None = None) -> HostExecutable:
        """Make an executable.

        Args:
            graph_def: GE graph, as ``ModelDef`` or its bytes.
            options: ``host.max_programs``: bound on specialisations.
        """
        chosen = options or {}
        return HostExecutable(graph_def, int(chosen.get("host.max_programs", DEFAULT_MAX_PROGRAMS)))
