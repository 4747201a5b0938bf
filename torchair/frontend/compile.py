"""One FX graph through all stages: import, passes, conversion, emission, engine."""

from __future__ import annotations

import itertools
import time
import weakref
from collections.abc import Sequence
from typing import Any

import torch
from torch.fx import GraphModule
from xdsl.dialects.builtin import IntegerAttr, ModuleOp, StringAttr
from xdsl.dialects.func import FuncOp

from torchair.backend_ge.emit import emit, serialize
from torchair.backend_ge.engines import Executable, get_engine
from torchair.config import Snapshot
from torchair.config.ge_keys import local_and_global
from torchair.errors import EngineError
from torchair.frontend.artifacts import StageDump
from torchair.frontend.fx_import import import_graph
from torchair.frontend.gears import current_gears, gear_shapes
from torchair.frontend.outputs import OutputPlan, plan_outputs
from torchair.frontend.pass_control import max_autotune_passes
from torchair.frontend.replacement.selection import statistics_of
from torchair.frontend.report import CompileReport
from torchair.frontend.stream_options import stream_target
from torchair.ir.conversion import argument_attributes
from torchair.ir.garbage import quiet_gc
from torchair.passes.driver import StageTime, run_passes
from torchair.passes.ge_reinplace import copies_left
from torchair.passes.scheduling.planned import read_schedule
from torchair.tools.context import make_context

graph_ids = itertools.count()
"""Numbers in the names of graphs, over all modes."""


class CompiledGraph:
    """A compiled FX graph, called with the graph's flat arguments.

    Attributes:
        report: what the compile did.
    """

    def __init__(
        self,
        executable: Executable | None,
        positions: Sequence[int],
        constants: Sequence[torch.Tensor],
        outputs: OutputPlan,
        report: CompileReport,
    ) -> None:
        self._boxed_call = True  # of the instance: dynamo's wrapper of a backward copies its dict
        self._executable = executable
        self._positions = list(positions)
        self._constants = list(constants)
        self._outputs = outputs
        self.report = report

    def __call__(self, *args: Any) -> list[Any]:
        arguments = args[0] if len(args) == 1 and isinstance(args[0], list) else list(args)
        results: list[torch.Tensor] = []
        if self._executable is not None:
            available = [*arguments, *self._constants]
            results = self._executable.run([available[i] for i in self._positions])
        values = self._outputs.assemble(arguments, results)
        if isinstance(args[0] if args else None, list):
            arguments.clear()  # boxed convention: the callee frees its arguments early
        return values


def compile_fx_graph(
    graph_module: GraphModule,
    config: Snapshot,
    *,
    role: str = "inference",
    kinds: dict[str, str] | None = None,
) -> CompiledGraph:
    """Compile one AOT-functional FX graph.

    Args:
        graph_module: nodes carry ``meta["val"]``.
        config: frozen options.
        role: ``inference``, ``forward`` or ``backward``; part of the graph's name.
        kinds: argument kinds by placeholder name.

    Raises:
        UnsupportedOpError, ConversionError: all calls that cannot be converted, at once.
        EngineError: the engine refused the graph.
    """
    report = CompileReport(f"graph_{next(graph_ids)}_{role}")
    dump = StageDump(config.debug.ir_dump.path, report.name)
    clock = StageClock(report.stages)
    outputs = plan_outputs(graph_module)
    report.nodes["fx"] = sum(n.op == "call_function" for n in graph_module.graph.nodes)
    with quiet_gc():
        imported = import_graph(graph_module, outputs.computed, kinds=kinds)
        clock.lap("import")
        module = imported.module
        report.nodes["aten"] = _count(module)
        dump.module("import", module)
        _run_pipeline(module, config, dump, report)
        clock.reset()
        report.nodes["ge"] = _count(module)
        model = emit(module, report.name)
        data = serialize(model)
        report.graph_bytes = len(data)
        clock.lap("emit")
    _dump_graph(dump, model, module, report)
    clock.reset()
    positions = data_indices(_function(module))
    executable = None
    if not _is_empty(module):
        options = _engine_options(config)
        if config.experimental_config.frozen_parameter and role == "inference":
            options["ge.frozen"] = parameter_indices(_function(module))
        gears = current_gears()
        if gears is not None:
            values = [n.meta.get("val") for n in graph_module.graph.nodes if n.op == "placeholder"]
            options["ge.gears"] = gear_shapes(values, gears, positions)
        executable = get_engine(config.engine).compile(data, options)
        report.executable = weakref.ref(executable)
        clock.lap("engine")
    report.files = dump.files
    return CompiledGraph(executable, positions, imported.constants, outputs, report)


def _run_pipeline(
    module: ModuleOp, config: Snapshot, dump: StageDump, report: CompileReport
) -> None:
    def observe(name: str, current: ModuleOp) -> None:
        if name == "convert-aten-to-ge":
            report.nodes["aten optimised"] = before[0]
        if name == "schedule-streams":
            report.schedule = read_schedule(current, stream_target(config))
        before[0] = _count(current)
        dump.module(name, current)

    before = [0]
    passes = max_autotune_passes(config)
    report.stages += run_passes(
        make_context(), module, passes, verify=config.debug.verify, observer=observe
    )
    report.replacements = statistics_of(passes)
    report.copies_left = copies_left(module)


class StageClock:
    """Process CPU time between laps."""

    def __init__(self, stages: list[StageTime]) -> None:
        self.stages = stages
        self.reset()

    def reset(self) -> None:
        self.start = time.process_time()

    def lap(self, name: str) -> None:
        self.stages.append(StageTime(name, time.process_time() - self.start))
        self.reset()


def _function(module: ModuleOp) -> FuncOp:
    return next(op for op in module.ops if isinstance(op, FuncOp))


def _count(module: ModuleOp) -> int:
    """Operations of the graph, its terminator not counted."""
    return sum(1 for _ in _function(module).body.block.ops) - 1


def _is_empty(module: ModuleOp) -> bool:
    function = _function(module)
    return not function.function_type.outputs.data and _count(module) == 0


def data_indices(function: FuncOp) -> list[int]:
    """For each Data of a ge graph, its position among the arguments of the imported function.

    Raises:
        EngineError: a pass dropped the attribute that says so.
    """
    positions: list[int] = []
    for entry in argument_attributes(function):
        index = entry.get("torchair.index")
        if not isinstance(index, IntegerAttr):
            raise EngineError(
                "a graph input does not say which argument it is",
                hint="passes must keep the attribute torchair.index of function arguments",
            )
        positions.append(index.value.data)
    return positions


def parameter_indices(function: FuncOp) -> list[int]:
    """Each Data of a ge graph that is a parameter or buffer and is not written."""
    arguments = function.body.block.args
    written = {
        argument
        for argument in arguments
        for use in argument.uses
        if use.operation.name == "ge.Assign" and use.index == 0
    }
    kinds = [entry.get("torchair.kind") for entry in argument_attributes(function)]
    return [
        index
        for index, (argument, kind) in enumerate(zip(arguments, kinds, strict=True))
        if isinstance(kind, StringAttr)
        and kind.data in ("parameter", "buffer")
        and argument not in written
    ]


def _dump_graph(dump: StageDump, model: Any, module: ModuleOp, report: CompileReport) -> None:
    if dump.folder is None:
        return
    from torchair.backend_ge.graph_picture import graph_svg
    from torchair.backend_ge.graph_text import graph_text
    from torchair.frontend.timeline_svg import schedule_svg

    dump.text("graph.pbtxt", graph_text(model))
    dump.text("graph.svg", graph_svg(module))
    if report.schedule is not None and len(report.schedule.labels) > 1:
        dump.text("schedule.svg", schedule_svg(report.schedule))


def _engine_options(config: Snapshot) -> dict[str, Any]:
    return {
        "ge.options": local_and_global(config, config.mode),
        "host.max_programs": config.host.max_programs,
        "host.threads": config.host.threads,
    }
