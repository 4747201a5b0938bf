"""Runs the module of any stage of the pipeline on this machine, and compares results."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch.fx import GraphModule
from xdsl.dialects.builtin import ModuleOp
from xdsl.dialects.func import FuncOp
from xdsl.passes import ModulePass

from torchair.backend_ge.emit import emit, serialize
from torchair.backend_ge.host.engine import HostEngine
from torchair.backend_ge.runtime.aten_graph import read_graph
from torchair.backend_ge.runtime.interpret import interpret
from torchair.frontend.compile import data_indices
from torchair.frontend.fx_import import ImportedGraph, import_graph
from torchair.frontend.outputs import OutputPlan, plan_outputs
from torchair.passes.driver import run_passes
from torchair.tools.context import make_context

SEED = 0
"""Random numbers are drawn from this seed in every run."""


@dataclass(frozen=True, slots=True)
class Tolerance:
    """How far results may differ; None is ``torch.testing.assert_close``'s value for the dtype."""

    rtol: float | None = None
    atol: float | None = None

    def difference(self, found: Any, wanted: Any) -> str:
        """What is wrong with a result, in one line; empty when it is close enough."""
        if not isinstance(wanted, torch.Tensor) or not isinstance(found, torch.Tensor):
            return "" if found == wanted else f"{found} instead of {wanted}"
        if (found.dtype, found.shape) != (wanted.dtype, wanted.shape):
            return f"{_type_text(found)} instead of {_type_text(wanted)}"
        if torch.equal(found, wanted):
            return ""
        try:
            torch.testing.assert_close(
                found, wanted, rtol=self.rtol, atol=self.atol, equal_nan=True, check_stride=False
            )
        except AssertionError:
            return self._value_text(found, wanted)
        return ""

    def _value_text(self, found: torch.Tensor, wanted: torch.Tensor) -> str:
        """How many values of two tensors differ, and the largest difference."""
        rtol, atol = self.rtol, self.atol
        if rtol is None or atol is None:
            rtol, atol = torch.testing._comparison.default_tolerances(found, wanted)
        wide = torch.complex128 if found.is_complex() else torch.float64
        one, other = found.to(wide), wanted.to(wide)
        apart = ~torch.isclose(one, other, rtol=rtol, atol=atol, equal_nan=True)
        size = (one - other).abs().nan_to_num(nan=torch.inf).where(apart, torch.zeros(()).double())
        at = [int(i) for i in torch.unravel_index(size.argmax(), size.shape)]
        largest, base = size[tuple(at)].item(), other[tuple(at)].abs().item()
        part = f" ({100 * largest / base:.3g} %)" if base and largest < torch.inf else ""
        values = f"{found[tuple(at)].item()} instead of {wanted[tuple(at)].item()}"
        count = int(apart.sum())
        return (
            f"{count} of {apart.numel()} values differ, most by {largest:.3g}{part} at {at}: "
            f"{values}"
        )

    def first_difference(self, found: Sequence[Any], wanted: Sequence[Any]) -> str:
        """The first result that differs and how; empty when none does."""
        for index, (one, other) in enumerate(zip(found, wanted, strict=True)):
            text = self.difference(one, other)
            if text:
                return f"result {index}: {text}"
        return ""


class StagedGraph:
    """One AOT graph with the arguments of a call, whose stages can be run.

    Args:
        graph_module: the graph.
        arguments: its flat arguments; never written.
    """

    def __init__(self, graph_module: GraphModule, arguments: Sequence[Any]) -> None:
        self.graph_module = graph_module
        self.arguments = list(arguments)
        self.outputs: OutputPlan = plan_outputs(graph_module)
        self.reference = self._observed(lambda given: list(graph_module(*given)))

    @property
    def is_random(self) -> bool:
        """Whether the results are others for another seed."""
        other = self._observed(lambda given: list(self.graph_module(*given)), SEED + 1)
        return bool(Tolerance().first_difference(other, self.reference))

    def import_module(self) -> ImportedGraph:
        """A new aten module of the graph."""
        return import_graph(self.graph_module, self.outputs.computed)

    def module_after(self, passes: Sequence[ModulePass]) -> ImportedGraph:
        """A new module on which these passes have run."""
        imported = self.import_module()
        run_passes(make_context(), imported.module, passes, verify=False)
        return imported

    def results(self, imported: ImportedGraph) -> list[Any]:
        """Results of a stage's module, the graph's arguments afterwards included."""

        def call(given: list[Any]) -> list[Any]:
            raw = run_module(imported.module, [*given, *imported.constants])
            return self.outputs.assemble(given, [_as_tensor(value) for value in raw])

        return self._observed(call)

    def raw_results(self, imported: ImportedGraph) -> list[Any]:
        """Results of a module that returns something else than the graph does."""
        with torch.random.fork_rng(list[int]()):
            torch.manual_seed(SEED)
            return run_module(imported.module, [*_copies(self.arguments), *imported.constants])

    def _observed(self, call: Callable[[list[Any]], list[Any]], seed: int = SEED) -> list[Any]:
        given = _copies(self.arguments)
        with torch.random.fork_rng(list[int]()), torch.no_grad():
            torch.manual_seed(seed)
            results = call(given)
        return [*_copies(results), *given]


def _type_text(tensor: torch.Tensor) -> str:
    return f"{str(tensor.dtype).removeprefix('torch.')} {list(tensor.shape)}"


def _copies(values: Sequence[Any]) -> list[Any]:
    return [v.detach().clone() if isinstance(v, torch.Tensor) else v for v in values]


def _as_tensor(value: Any) -> torch.Tensor:
    return value if isinstance(value, torch.Tensor) else torch.tensor(value)


def function_of(module: ModuleOp) -> FuncOp:
    """The one function of a graph's module."""
    return next(op for op in module.ops if isinstance(op, FuncOp))


def is_ge(module: ModuleOp) -> bool:
    """Whether a module has been converted."""
    last = function_of(module).body.block.last_op
    return last is not None and last.name == "ge.NetOutput"


def run_module(module: ModuleOp, arguments: Sequence[Any]) -> list[Any]:
    """Run an aten module by torch's operators, a ge module as the host device runs it.

    Args:
        module: of any stage.
        arguments: one per argument of the imported function; may be written.
    """
    if not is_ge(module):
        graph = read_graph(module)
        with torch.no_grad():
            return interpret(graph, [arguments[item.position] for item in graph.arguments])
    positions = data_indices(function_of(module))
    executable = HostEngine().compile(serialize(emit(module, "bisect")))
    return executable.run([arguments[i] for i in positions])
