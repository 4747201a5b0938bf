"""``torchair.bisect``: which pass, and which rewrite in it, changes the results of a model.

print(torchair.bisect(model, x))
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch.fx import GraphModule
from torch.utils import _pytree as pytree
from torch.utils._python_dispatch import _disable_current_modes
from xdsl.passes import ModulePass

from torchair.config import CompilerConfig, Snapshot
from torchair.frontend.bisect.rewrites import Culprit, find_culprit
from torchair.frontend.bisect.stages import SEED, StagedGraph, Tolerance
from torchair.frontend.dynamo import NpuBackend, prepare_graph
from torchair.frontend.npu_operators import define_operators
from torchair.frontend.pass_control import max_autotune_passes, numeric_class
from torchair.passes.driver import run_passes
from torchair.tools.context import make_context

IMPORT = "import"
"""The stage before the first pass."""


@dataclass
class Finding:
    """A graph whose results change.

    Args:
        graph: number of the graph in order of compilation.
        role: ``inference``, ``forward`` or ``backward``.
        stage: the first pass after which results differ; ``dce#2`` is the second run of one.
        difference: which result differs, and by how much.
        culprit: the rewrite or operation; without details when it cannot be singled out.
        note: what makes the finding uncertain.
    """

    graph: int
    role: str
    stage: str
    difference: str
    culprit: Culprit = field(default_factory=Culprit)
    note: str = ""

    def __str__(self) -> str:
        what = f"'{self.stage}'" if self.stage == IMPORT else f"pass '{self.stage}'"
        found = self.culprit
        lines = [f"{what} changes graph {self.graph} ({self.role})", f"  {self.difference}"]
        if found.number is not None:
            lines.append(f"  rewrite {found.number} of {found.total}: {found.pattern}")
        if found.difference:
            lines.append(f"  first value that differs: {found.difference}")
        for label, text in (("operator", found.operator), ("source", found.source)):
            lines += [f"  {label + ':':<10}{text}"] if text else []
        lines += [f"  before:   {found.before}"] if found.before else []
        lines += [f"  after:    {text}" for text in found.after]
        if found.before and not found.after:
            lines.append("  after:    nothing new: it is gone, or its users use another value")
        return "\n".join([*lines, *([f"  note:     {self.note}"] if self.note else [])])


@dataclass
class Bisection:
    """Result of ``bisect``; ``str`` tells it.

    Args:
        findings: one per graph whose results change, in order.
        graphs: how many graphs were checked.
        passes: names of the passes, in order.
        traced: how results of the model in eager differ from those of its graphs before import
            (tracing and decompositions); empty when they do not.
    """

    findings: list[Finding] = field(default_factory=list[Finding])
    graphs: int = 0
    passes: list[str] = field(default_factory=list[str])
    traced: str = ""

    def __bool__(self) -> bool:
        """Whether anything changes results."""
        return bool(self.findings or self.traced)

    def __str__(self) -> str:
        if not self and not self.graphs:
            return "nothing is compiled: torchair.explain tells why"
        if not self:
            plural = "s" * (self.graphs != 1)
            passes = len(self.passes)
            return f"no pass changes results: {self.graphs} graph{plural}, {passes} passes each"
        parts = [str(finding) for finding in self.findings]
        if self.traced:
            parts.append(f"tracing or a decomposition changes the model\n  {self.traced}")
        return "\n".join(parts)


def bisect(
    model: Callable[..., Any],
    *args: Any,
    dynamic: bool | None = None,
    compiler_config: CompilerConfig | None = None,
    custom_decompositions: dict[Any, Callable[..., Any]] | None = None,
    rtol: float | None = None,
    atol: float | None = None,
    **kwargs: Any,
) -> Bisection:
    """Find what changes the results of a model on this machine's host device.

    Every graph of the model is run as torch traced it and after each pass: aten modules by torch's
    operators, ge modules by the host device. In the first pass after which a result (or a written
    argument) differs, the first rewrite that makes the difference is searched by bisection; in a
    pass that rewrites by no pattern, the first operation. The backward graph is checked too when
    a result requires a gradient.

    Args:
        model: a module or function; a copy runs in eager for comparison where it can be copied.
        args, kwargs: what to call it with; tensors that the model writes are written.
        dynamic: as in ``torch.compile``.
        compiler_config, custom_decompositions: as in ``get_npu_backend``.
        rtol, atol: tolerance; None is that of ``torch.testing.assert_close`` for the dtype.

    Raises:
        UnsupportedOpError, ConversionError: the model cannot be compiled.
    """
    define_operators()
    backend = _BisectingBackend(Tolerance(rtol, atol), compiler_config, custom_decompositions)
    wanted = _eager_results(model, args, kwargs)
    torch._dynamo.reset()
    try:
        with torch.random.fork_rng(list[int]()):
            torch.manual_seed(SEED)
            results = torch.compile(model, backend=backend, dynamic=dynamic)(*args, **kwargs)
            found = pytree.tree_leaves(results)
            _run_backward(model, found, (args, kwargs))
    finally:
        torch._dynamo.reset()
    if wanted is not None and len(wanted) == len(found):
        backend.found.traced = backend.tolerance.first_difference(found, wanted)
    return backend.found


def _eager_results(model: Any, args: Any, kwargs: Any) -> list[Any] | None:
    """Results of a copy of the model; None when there can be no copy."""
    try:
        model, args, kwargs = copy.deepcopy((model, args, kwargs))
    except (RuntimeError, TypeError, NotImplementedError):
        return None  # tensors with a history, locks and the like cannot be copied
    with torch.random.fork_rng(list[int]()):
        torch.manual_seed(SEED)
        results = model(*args, **kwargs)
    return pytree.tree_map_only(torch.Tensor, torch.Tensor.detach, pytree.tree_leaves(results))


def _run_backward(model: Any, results: Sequence[Any], arguments: Any) -> None:
    outputs = [r for r in results if torch.is_tensor(r) and r.requires_grad]
    inputs = [a for a in pytree.tree_leaves(arguments) if torch.is_tensor(a) and a.requires_grad]
    if isinstance(model, torch.nn.Module):
        inputs += [p for p in model.parameters() if p.requires_grad]
    if outputs and inputs:
        ones = [torch.ones_like(r) for r in outputs]
        torch.autograd.grad(outputs, inputs, ones, allow_unused=True)


class _BisectingBackend(NpuBackend):
    """A backend that checks each graph on its first call and returns eager's results."""

    def __init__(
        self,
        tolerance: Tolerance,
        compiler_config: CompilerConfig | None,
        custom_decompositions: dict[Any, Callable[..., Any]] | None,
    ) -> None:
        super().__init__(compiler_config, custom_decompositions)
        self.tolerance = tolerance
        self.found = Bisection()

    def compiler(self, config: Snapshot, role: str) -> Callable[..., Any]:
        def prepare(gm: GraphModule, example_inputs: Any) -> Callable[..., Any]:
            prepare_graph(gm, example_inputs, config, role)
            passes = max_autotune_passes(config)
            self.found.passes = [item.name for item in passes]

            def run(arguments: list[Any]) -> Any:
                with _disable_current_modes():  # AOT watches every operator of this call
                    finding = check_graph(StagedGraph(gm, arguments), passes, self.tolerance)
                if finding is not None:
                    finding.graph, finding.role = self.found.graphs, role
                    self.found.findings.append(finding)
                self.found.graphs += 1
                with torch.no_grad():
                    return gm(*arguments)

            run._boxed_call = True  # pyright: ignore
            return run

        return prepare


def check_graph(
    graph: StagedGraph, passes: Sequence[ModulePass], tolerance: Tolerance
) -> Finding | None:
    """The first pass after which a graph's results differ, None when all keep them.

    Raises:
        VerifyError: a pass left a malformed module.
    """
    imported = graph.import_module()
    difference = tolerance.first_difference(graph.results(imported), graph.reference)
    if difference:
        return Finding(0, "", IMPORT, difference)
    context = make_context()
    for index, item in enumerate(passes):
        run_passes(context, imported.module, [item])
        difference = tolerance.first_difference(graph.results(imported), graph.reference)
        if not difference:
            continue
        earlier = sum(other.name == item.name for other in passes[:index])
        stage = f"{item.name}#{earlier + 1}" if earlier else item.name
        culprit = find_culprit(graph, passes[:index], item, tolerance)
        return Finding(0, "", stage, difference, culprit, _note(graph, item))
    return None


def _note(graph: StagedGraph, item: ModulePass) -> str:
    """What makes a finding less of a mistake than it looks."""
    notes: list[str] = []
    if graph.is_random:
        notes.append("the graph draws random numbers; torch's and GE's differ for one seed")
    if numeric_class(item) != "exact":
        notes.append(
            f"the pass {numeric_class(item)} by design; config.numerics = 'eager' leaves it out"
        )
    return "; ".join(notes)
