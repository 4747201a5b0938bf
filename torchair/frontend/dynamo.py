"""The torch.compile backend: dynamo graph -> AOT autograd -> ``compile_fx_graph``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch._dynamo.backends.common import aot_autograd
from torch._guards import TracingContext
from torch.fx import GraphModule

from torchair.config import CAPTURE_MODES, CompilerConfig, Snapshot, apply_options
from torchair.frontend.auto_functionalized import expand_auto_functionalized
from torchair.frontend.communicators import name_communicators
from torchair.frontend.compile import compile_fx_graph
from torchair.frontend.decompositions import default_decompositions
from torchair.frontend.frozen_batch_norm import fold_batch_norms
from torchair.frontend.frozen_embedding import fold_embedding_scales
from torchair.frontend.gears import gears_of_graph, guard_gears
from torchair.frontend.higher_order import expand_higher_order
from torchair.frontend.input_names import names_of_graph
from torchair.frontend.internal_formats import mark_formats
from torchair.frontend.module_constants import fix_module_constants
from torchair.frontend.npu_operators import define_operators
from torchair.frontend.pass_control.hooks import POST_PASS, PRE_PASS, run_hook
from torchair.frontend.real_inputs import tracing_inputs
from torchair.frontend.reduce_overhead import capture_fx_graph
from torchair.frontend.replacement.joint import joint_rewriting
from torchair.frontend.replacement.selection import traced_with
from torchair.frontend.report import CompileReport
from torchair.frontend.summary import write_summary
from torchair.frontend.surfacing import surfaced
from torchair.frontend.whole_operators import whole_operators


class NpuFxCompiler:
    """``(gm, example_inputs) -> callable`` for one AOT graph; usable as ``fw_compiler`` of any
    backend.

    Args:
        config: frozen options.
        role: ``inference``, ``forward`` or ``backward``.
        reports: list that receives the report of every compile.
        custom_decompositions: those of the backend; registered replacements are traced with them.
    """

    def __init__(
        self,
        config: Snapshot,
        role: str = "inference",
        reports: list[CompileReport] | None = None,
        custom_decompositions: dict[Any, Callable[..., Any]] | None = None,
    ) -> None:
        self.config = config
        self.role = role
        self.reports: list[CompileReport] = [] if reports is None else reports
        self.custom_decompositions = custom_decompositions or {}

    def __call__(self, gm: GraphModule, example_inputs: Any) -> Callable[..., Any]:
        is_captured = self.config.mode in CAPTURE_MODES
        if self.config.debug.fx_summary.type is not None and not is_captured:
            write_summary(gm)
            if self.config.debug.fx_summary.skip_compile:
                return _boxed(gm)
        prepare_graph(gm, example_inputs, self.config, self.role)
        compile_graph = capture_fx_graph if is_captured else compile_fx_graph
        with traced_with(self.custom_decompositions):
            compiled = compile_graph(
                gm, self.config, role=self.role, kinds=_argument_kinds(gm, self.role)
            )
        self.reports.append(compiled.report)
        if self.config.debug.run_eagerly and not is_captured:
            return _boxed(gm)
        return compiled


def prepare_graph(gm: GraphModule, example_inputs: Any, config: Snapshot, role: str) -> None:
    """What is done to every AOT graph before its import: our own changes between the user's."""
    run_hook(PRE_PASS, gm, example_inputs, config)
    expand_higher_order(gm, dict if config.mode in CAPTURE_MODES else default_decompositions)
    expand_auto_functionalized(gm)
    run_hook(POST_PASS, gm, example_inputs, config)
    name_communicators(gm, config)
    if role != "backward":
        mark_formats(gm)
    is_frozen = config.experimental_config.frozen_parameter and role == "inference"
    if is_frozen:
        fold_embedding_scales(gm)
    if is_frozen and config.numerics == "fast":
        fold_batch_norms(gm)


class NpuBackend:
    """The object that ``get_npu_backend`` returns; pass it as ``torch.compile(backend=...)``.

    Attributes:
        reports: a ``CompileReport`` per compiled graph, oldest first.
    """

    def __init__(
        self,
        compiler_config: CompilerConfig | None = None,
        custom_decompositions: dict[Any, Callable[..., Any]] | None = None,
    ) -> None:
        self.compiler_config = compiler_config or CompilerConfig()
        self.custom_decompositions = dict(custom_decompositions or {})
        self.reports: list[CompileReport] = []
        self.__name__ = "torchair"

    def __call__(self, gm: GraphModule, example_inputs: Any, **kwargs: Any) -> Callable[..., Any]:
        with surfaced():
            config = self.compiler_config
            if kwargs.get("options"):
                config = apply_options(config, kwargs["options"])
            return self._compile(gm, example_inputs, config.snapshot())

    def _compile(
        self, gm: GraphModule, example_inputs: Any, config: Snapshot
    ) -> Callable[..., Any]:
        fix_module_constants(gm)
        joint = joint_rewriting(config, self._decompositions(config))
        backend = aot_autograd(
            fw_compiler=self.compiler(config, "forward"),
            bw_compiler=self.compiler(config, "backward"),
            inference_compiler=self.compiler(config, "inference"),
            decompositions=joint.table,
            partition_fn=joint.partition,
            keep_inference_input_mutations=config.experimental_config.keep_inference_input_mutations,
        )
        policy = config.inference_config.dynamic_gears_merge_policy
        gears = gears_of_graph(guard_gears(gm, example_inputs, policy))
        with whole_operators(), gears, tracing_inputs(example_inputs), names_of_graph(gm):
            compiled = backend(gm, example_inputs)
        joint.report_to(self.reports)
        return compiled

    def compiler(self, config: Snapshot, role: str) -> Callable[..., Any]:
        """What compiles the AOT graphs of one role."""
        return NpuFxCompiler(config, role, self.reports, self.custom_decompositions)

    def _decompositions(self, config: Snapshot) -> dict[Any, Callable[..., Any]]:
        if config.mode in CAPTURE_MODES:  # a captured graph keeps torch's operators whole
            return self.custom_decompositions
        return self.decompositions()

    def decompositions(self) -> dict[Any, Callable[..., Any]]:
        """The decomposition table for AOT autograd."""
        return {**default_decompositions(), **self.custom_decompositions}


def get_npu_backend(
    *,
    compiler_config: CompilerConfig | None = None,
    custom_decompositions: dict[Any, Callable[..., Any]] | None = None,
) -> NpuBackend:
    """Make a backend for ``torch.compile``.

    Args:
        compiler_config: options; defaults when None. Never modified.
        custom_decompositions: ``{OpOverload: function}``, overriding the defaults.
    """
    define_operators()
    return NpuBackend(compiler_config, custom_decompositions)


def get_compiler(compiler_config: CompilerConfig | None = None) -> NpuFxCompiler:
    """Make a compiler ``(gm, example_inputs) -> callable`` for a backend of your own.

    Use it as ``fw_compiler`` of ``aot_module_simplified`` with ``get_decompositions()``.
    """
    return NpuFxCompiler((compiler_config or CompilerConfig()).snapshot())


def torchair_backend(gm: GraphModule, example_inputs: Any, **kwargs: Any) -> Callable[..., Any]:
    """Entry point for ``torch.compile(backend="torchair")``."""
    return NpuBackend()(gm, example_inputs, **kwargs)


def _argument_kinds(gm: GraphModule, role: str) -> dict[str, str]:
    """Which arguments are parameters or buffers, from AOT's metadata."""
    context = TracingContext.try_get()
    metadata = None if context is None else context.fw_metadata
    if metadata is None or role == "backward":
        return {}
    placeholders = [n for n in gm.graph.nodes if n.op == "placeholder"]
    static = [i for i in metadata.static_input_indices if i < len(placeholders)]
    return {placeholders[i].name: "parameter" for i in static}


def _boxed(gm: GraphModule) -> Callable[[list[Any]], Any]:
    def run(arguments: list[Any]) -> Any:
        with torch.no_grad():
            return gm(*arguments)

    run._boxed_call = True  # pyright: ignore
    return run
