"""Modes reduce-overhead and npugraph_ex: FX graph -> optimised aten module -> captured graph."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator, Sequence
from functools import cache, partial
from typing import Any

import torch
from torch.fx import GraphModule, Node
from xdsl.dialects.builtin import ModuleOp

from torchair.backend_ge.engines import engine_name
from torchair.backend_ge.runtime.aten_graph import AtenGraph, read_graph
from torchair.backend_ge.runtime.capture import CapturePolicy
from torchair.backend_ge.runtime.captured_graph import CapturedGraph, CaptureOptions, live_graphs
from torchair.backend_ge.runtime.device_replay import DeviceOptions
from torchair.backend_ge.runtime.host_values import register_update_slots
from torchair.backend_ge.runtime.npu_device import npu_device
from torchair.backend_ge.runtime.staging import forget_pools
from torchair.config import Snapshot
from torchair.frontend.artifacts import StageDump
from torchair.frontend.compile import graph_ids
from torchair.frontend.fx_import import import_graph
from torchair.frontend.gears import Gears, arguments_for, current_gears
from torchair.frontend.input_names import argument_names
from torchair.frontend.npu_operators.registry import is_torch_npu_installed, operators
from torchair.frontend.outputs import OutputPlan, SymbolTable, plan_outputs
from torchair.frontend.pass_control import selected_passes
from torchair.frontend.reduce_overhead_dumps import Observer, dump_graph, observer_of
from torchair.frontend.replacement.selection import statistics_of
from torchair.frontend.report import CompileReport
from torchair.frontend.stream_options import stream_options, stream_target
from torchair.ir.garbage import quiet_gc
from torchair.passes import pipelines
from torchair.passes.driver import run_passes
from torchair.passes.scheduling.planned import read_schedule
from torchair.tools.context import make_context

__all__ = ["ReplayedGraph", "capture_fx_graph", "register_update_slots", "reset"]


class ReplayedGraph:
    """A graph that is captured on its first call and replayed from then on.

    Called with the graph's flat arguments, as AOT autograd does.

    Attributes:
        report: what the compile did; ``report.captured`` refers to ``captured``.
        captured: the captures and their counts.
    """

    def __init__(
        self,
        captured: CapturedGraph,
        constants: Sequence[torch.Tensor],
        outputs: OutputPlan,
        report: CompileReport,
        prepare: Callable[[Sequence[Any]], Iterator[list[Any]]] | None = None,
    ) -> None:
        self._boxed_call = True  # of the instance: dynamo's wrapper copies only these
        self.captured = captured
        self.report = report
        self._constants = list(constants)
        self._outputs = outputs
        self._prepare = prepare

    def __call__(self, *args: Any) -> list[Any]:
        is_boxed = len(args) == 1 and isinstance(args[0], list)
        arguments = args[0] if is_boxed else list(args)
        available = [*arguments, *self._constants]
        results = self.captured.run(available)
        if self._prepare is not None:
            prepare, self._prepare = self._prepare, None
            for other in prepare(available):
                self.captured.prepare(other)
        values = self._outputs.assemble(arguments, results)
        if is_boxed:
            arguments.clear()  # boxed convention: the callee frees its arguments early
        return values


def capture_fx_graph(
    graph_module: GraphModule,
    config: Snapshot,
    *,
    role: str = "inference",
    kinds: dict[str, str] | None = None,
) -> ReplayedGraph:
    """Compile one AOT-functional FX graph for capture and replay.

    Args:
        graph_module: nodes carry ``meta["val"]``.
        config: frozen options.
        role: ``inference``, ``forward`` or ``backward``; part of the graph's name.
        kinds: argument kinds by placeholder name.

    Raises:
        UnsupportedOpError: an operator has no implementation, or a number or shape depends on
            tensor data.
        EngineError: the engine is cann, and torch_npu or an NPU is not here.
    """
    if _is_on_npu(config):
        npu_device()  # refuses a machine without torch_npu or an NPU before anything is done
    report = CompileReport(f"graph_{next(graph_ids)}_{role}")
    dump = StageDump(config.debug.ir_dump.path, report.name)
    outputs = plan_outputs(graph_module)
    report.nodes["fx"] = sum(n.op == "call_function" for n in graph_module.graph.nodes)
    with quiet_gc():
        imported = import_graph(graph_module, outputs.computed, kinds=kinds)
        graph = _optimised(imported.module, config, dump, report)
        graph.name_arguments(argument_names(graph_module))
        strides = partial(_strides, outputs.computed, outputs.symbols)
        options = _options(
            config, report.name, role, observer_of(config, graph_module, report.name)
        )
        captured = CapturedGraph(graph, report.name, options, strides)
    report.files += dump.files
    report.capture_state = weakref.ref(captured)
    gears = current_gears()
    prepare = None if gears is None else partial(_other_calls, graph_module, gears)
    return ReplayedGraph(captured, imported.constants, outputs, report, prepare)


def _optimised(
    module: ModuleOp, config: Snapshot, dump: StageDump, report: CompileReport
) -> AtenGraph:
    """The graph to run, which is the imported one when its tensors are to be dumped."""
    dump.module("import", module)
    report.nodes["aten"] = _count(module)
    report.files += dump_graph(config, "original", report.name, module)
    dumps_original = config.dump_config.data_dump_stage == "original"
    original = read_graph(module) if config.dump_config.enable_dump and dumps_original else None
    passes = selected_passes(config, _pipeline(config), stream_options(config, "events"))
    report.stages += run_passes(
        make_context(), module, passes, verify=config.debug.verify, observer=dump.module
    )
    report.replacements = statistics_of(passes)
    report.nodes["aten optimised"] = _count(module)
    report.schedule = read_schedule(module, stream_target(config))
    report.files += dump_graph(config, "optimized", report.name, module)
    return original or read_graph(module)


def _other_calls(
    graph_module: GraphModule, gears: Gears, given: Sequence[Any]
) -> Iterator[list[Any]]:
    """The arguments of a call of every combination of gears."""
    values = [n.meta.get("val") for n in graph_module.graph.nodes if n.op == "placeholder"]
    for sizes in gears.combinations():
        arguments = arguments_for(values, sizes, given)
        if arguments is not None:
            yield arguments


def _pipeline(config: Snapshot) -> tuple[str, ...]:
    skipped: list[str] = []
    if not config.experimental_config.remove_noop_ops:
        skipped += ["canonicalize", "cse"]
    if config.debug.aclgraph.disable_reinplace_input_mutated_ops_pass:
        skipped.append("reinplace")
    return tuple(name for name in pipelines.REPLAY if name not in skipped)


def _options(
    config: Snapshot, name: str, role: str, observer: Callable[[], Observer] | None
) -> CaptureOptions:
    aclgraph, capture = config.debug.aclgraph, config.npugraphex_config
    pool = config.aclgraph_config.use_custom_pool
    is_on_npu = _is_on_npu(config)
    is_on_device = is_on_npu or config.host.replay == "device"
    # What autograd keeps must outlive the next replay.
    is_kept_by_autograd = is_on_npu and role != "inference"
    return CaptureOptions(
        limit=aclgraph.static_capture_size_limit,
        policy=CapturePolicy(
            stage_inputs=aclgraph.clone_input and (role == "inference" or is_on_device),
            clone_outputs=aclgraph.enable_output_clone or is_kept_by_autograd,
            check=config.debug.check_replay and not capture.unsafe_skip_npugraph_capture_validation,
            log_statistics=capture.record_statistics_debug_info,
            device=_device_options(config, name) if is_on_device else None,
        ),
        frozen_parameter=config.experimental_config.frozen_parameter,
        force_recapture=capture.force_recapture
        and not capture.unsafe_skip_npugraph_capture_validation,
        run_eagerly=config.debug.run_eagerly,
        pool=None if pool is None else tuple(pool),
        share_pool=pool is not None or not aclgraph.disable_mempool_reuse_in_same_fx,
        reinplace_values=not aclgraph.disable_reinplace_inplaceable_ops_pass,
        composite=_composite,
        observer=observer,
    )


def _is_on_npu(config: Snapshot) -> bool:
    """Whether graphs are captured by ACL; engine auto takes the host where torch_npu is not."""
    if config.engine == "auto" and not is_torch_npu_installed():
        return False
    return engine_name(config.engine) == "cann"


def _device_options(config: Snapshot, name: str) -> DeviceOptions:
    capture = config.npugraphex_config
    return DeviceOptions(
        device="cann" if _is_on_npu(config) else "host",
        mode=capture.capture_error_mode,
        validate=not capture.unsafe_skip_npugraph_capture_validation,
        tasks_file=f"{name}_tasks.json" if config.debug.deadlock_check else None,
    )


def _strides(
    computed: Sequence[Node], symbols: SymbolTable, arguments: Sequence[Any]
) -> list[tuple[int, ...] | None]:
    """The strides that eager gives each computed output, for these arguments."""
    found: list[tuple[int, ...] | None] = []
    for node in computed:
        value = node.meta["val"]
        strides = value.stride() if isinstance(value, torch.Tensor) else ()
        symbolic = [s for s in strides if isinstance(s, torch.SymInt)]
        if not isinstance(value, torch.Tensor) or not all(
            symbols.knows(s.node.expr) for s in symbolic
        ):
            found.append(None)
        else:
            found.append(tuple(symbols.evaluate(s, arguments) for s in strides))
    return found


@cache
def _composite(op: Any) -> Callable[..., Any] | None:
    """An implementation of ``torch.ops.npu`` in plain torch, traced into the program."""
    is_npu = isinstance(op, torch._ops.OpOverload) and op.namespace == "npu"
    if not is_npu or is_torch_npu_installed():
        return None
    if op._schema.name.removeprefix("npu::") not in operators():
        return None
    kernel = torch.library.get_kernel(op._schema.name, "CPU")
    keys = torch._C.DispatchKeySet(torch._C.DispatchKey.CPU)

    def call(*args: Any, **kwargs: Any) -> Any:
        return kernel.call_boxed(keys, *args, **kwargs)

    return call


def _count(module: ModuleOp) -> int:
    """Operations of the graph, its terminator not counted."""
    function = next(iter(module.ops))
    return sum(1 for _ in function.regions[0].block.ops) - 1


def reset() -> None:
    """Drop all captured graphs of the process and forget the memory pools of all handles.

    Compiled graphs stay usable: their next call captures again, with the parameters of that moment.
    """
    for graph in list(live_graphs):
        graph.reset()
    forget_pools()
