"""``torchair.explain``: what torchair makes of each operator of a model, without compiling it.

print(torchair.explain(model, x))
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import torch
from torch._dynamo.utils import counters, graph_break_reasons
from torch.fx import GraphModule, Node
from torch.utils._pytree import tree_leaves

from torchair.config import CompilerConfig, Snapshot
from torchair.errors import TorchairError
from torchair.frontend.dynamo import NpuBackend, prepare_graph
from torchair.frontend.explain.advice import decomposition_advice, similar_operators, stub_of
from torchair.frontend.explain.decompositions import DecompositionLog
from torchair.frontend.fx_import import import_graph
from torchair.frontend.npu_operators import define_operators
from torchair.frontend.operator_uses import OperatorUse, ge_operators, operator_uses
from torchair.frontend.outputs import plan_outputs
from torchair.frontend.pass_control import max_autotune_passes
from torchair.passes.driver import run_passes
from torchair.tools.context import make_context

_SHOWN_SOURCES = 3
_SHOWN_OPERATORS = 5
_SHOWN_CALLS = 3


@dataclass
class OperatorReport:
    """One operator of a model.

    Args:
        target: e.g. ``aten.add.Tensor``.
        status: ``converted``, ``partly converted``, ``refused`` (its converter takes none of these
            calls), ``unsupported`` (no converter) or ``decomposed`` (into other operators).
        calls: how often it is called.
        inputs, outputs: distinct arguments and results and how often they occur.
        sources: ``file:line`` of the calls, each once.
        ge_operators: GE types that the calls become, before fusion and without constants.
        reasons: why calls are not converted.
        into: operators of a decomposition.
        decomposition: for what is unsupported, a decomposition that PyTorch has.
        similar: for what is unsupported, operators with a converter and a similar name.
        stub: for what is unsupported, a converter to fill in.
    """

    target: str
    status: str
    calls: int
    inputs: dict[str, int]
    outputs: dict[str, int]
    sources: list[str]
    ge_operators: list[str] = field(default_factory=list[str])
    reasons: list[str] = field(default_factory=list[str])
    into: list[str] = field(default_factory=list[str])
    decomposition: str = ""
    similar: list[str] = field(default_factory=list[str])
    stub: str = ""


@dataclass
class GraphReport:
    """One graph.

    Args:
        role: ``inference``, ``forward`` or ``backward``.
        fx_nodes: calls in the AOT graph.
        ge_nodes: GE nodes after all passes, constants left out; None when that fails.
        problem: why not, in full.
    """

    role: str
    fx_nodes: int
    ge_nodes: int | None = None
    problem: str = ""


@dataclass
class GraphBreak:
    """A place where dynamo left the graph; `source` is ``file:line``."""

    reason: str
    source: str | None


@dataclass
class Explanation:
    """Result of ``explain``; ``str`` gives a table, ``to_json`` all of it.

    Args:
        operators: in order of first use, over all graphs; what is decomposed comes last.
        graphs: in order of compilation.
        breaks: graph breaks.
    """

    operators: list[OperatorReport] = field(default_factory=list[OperatorReport])
    graphs: list[GraphReport] = field(default_factory=list[GraphReport])
    breaks: list[GraphBreak] = field(default_factory=list[GraphBreak])

    @property
    def supported(self) -> bool:
        """Whether there is a graph and every one can be compiled."""
        return bool(self.graphs) and all(graph.ge_nodes is not None for graph in self.graphs)

    def to_json(self, indent: int | None = 2) -> str:
        """All of it as JSON."""
        content = {"supported": self.supported, **asdict(self)}
        return json.dumps(content, indent=indent, ensure_ascii=False)

    def __str__(self) -> str:
        lines = [*self._heading(), "", *self._table()]
        for item in self.operators:
            if item.status not in ("converted", "decomposed"):
                lines += ["", *_details(item)]
        if all(item.status in ("converted", "decomposed") for item in self.operators):
            lines += [line for g in self.graphs if g.problem for line in ("", *_problem(g))]
        return "\n".join(lines)

    def _heading(self) -> list[str]:
        state = "every graph can be compiled" if self.supported else "NOT everything is supported"
        if not self.graphs:
            state = "NOTHING is compiled"
        counts = _counted(len(self.graphs), "graph"), _counted(len(self.breaks), "graph break")
        lines = [f"{', '.join(counts)}: {state}"]
        for index, graph in enumerate(self.graphs):
            made = "cannot be compiled" if graph.ge_nodes is None else f"{graph.ge_nodes} GE nodes"
            lines.append(f"  graph {index} ({graph.role}): {graph.fx_nodes} FX calls, {made}")
        for item in self.breaks:
            lines.append(f"  graph break at {item.source or 'an unknown place'}: {item.reason}")
        return lines

    def _table(self) -> list[str]:
        heads = ("status", "calls", "operator", "becomes", "source")
        rows = [heads, *(_row(item) for item in self.operators)]
        widths = [max(len(row[i]) for row in rows) for i in range(len(heads) - 1)]
        return ["  ".join((*map(str.ljust, row, widths), row[-1])).rstrip() for row in rows]


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}" + "s" * (count != 1)


def _row(item: OperatorReport) -> tuple[str, ...]:
    made = _first(item.into or item.ge_operators, _SHOWN_OPERATORS)
    if not made:
        made = "no node" if item.status == "converted" else "-"
    sources = _first(item.sources, _SHOWN_SOURCES)
    return item.status, str(item.calls), item.target, made, sources


def _first(names: list[str], count: int) -> str:
    more = len(names) - count
    return ", ".join(names[:count]) + (f" and {more} more" if more > 0 else "")


def _details(item: OperatorReport) -> list[str]:
    lines = [f"{item.target}: {item.status}"]
    for call, count in list(item.inputs.items())[:_SHOWN_CALLS]:
        lines.append(f"  call    {count} x {call}")
    lines += [f"  reason  {reason}" for reason in item.reasons]
    if item.decomposition:
        lines.append(f"  decomposition  {item.decomposition}")
    if item.similar:
        lines.append(f"  similar, supported  {', '.join(item.similar)}")
    if item.stub:
        lines += ["  converter to fill in:", item.stub]
    return lines


def _problem(graph: GraphReport) -> list[str]:
    return [f"the {graph.role} graph cannot be compiled:", graph.problem]


def explain(
    model: Callable[..., Any],
    *args: Any,
    dynamic: bool | None = None,
    compiler_config: CompilerConfig | None = None,
    custom_decompositions: dict[Any, Callable[..., Any]] | None = None,
    **kwargs: Any,
) -> Explanation:
    """Report what torchair makes of every operator of a model.

    The model runs once, in eager (buffers that it writes are written; random state is restored).
    When a result requires a gradient, the backward graph is reported too; no ``.grad`` is touched.
    Functions that dynamo has compiled in this process compile again on their next call.

    Args:
        model: a module or function.
        args, kwargs: what to call it with.
        dynamic: as in ``torch.compile``.
        compiler_config, custom_decompositions: as in ``get_npu_backend``.

    Returns:
        The report. Operators that are not supported and graph breaks are part of it, not errors;
        what the model itself raises is raised.
    """
    define_operators()
    found = Explanation()
    backend = _ExplainingBackend(found, compiler_config, custom_decompositions)
    torch._dynamo.reset()
    counted_before = _counted_breaks()
    try:
        with torch.random.fork_rng(list[int]()):
            results = torch.compile(model, backend=backend, dynamic=dynamic)(*args, **kwargs)
            _run_backward(model, results, (args, kwargs))
        found.breaks = _graph_breaks(counted_before)
    finally:
        torch._dynamo.reset()
    backend.finish()
    return found


def _run_backward(model: Any, results: Any, arguments: Any) -> None:
    """Compute the gradients that training would, into nothing."""
    differentiable = [r for r in tree_leaves(results) if torch.is_tensor(r) and r.requires_grad]
    inputs = [a for a in tree_leaves(arguments) if torch.is_tensor(a) and a.requires_grad]
    if isinstance(model, torch.nn.Module):
        inputs += [p for p in model.parameters() if p.requires_grad]
    if differentiable and inputs:
        ones = [torch.ones_like(r) for r in differentiable]
        torch.autograd.grad(differentiable, inputs, ones, allow_unused=True)


class _ExplainingBackend(NpuBackend):
    """A backend that reports on graphs and runs them in eager."""

    def __init__(
        self,
        found: Explanation,
        compiler_config: CompilerConfig | None,
        custom_decompositions: dict[Any, Callable[..., Any]] | None,
    ) -> None:
        super().__init__(compiler_config, custom_decompositions)
        self.found = found
        self.uses: dict[str, OperatorUse] = {}
        self.log = DecompositionLog()

    def decompositions(self) -> dict[Any, Callable[..., Any]]:
        return self.log.watched(super().decompositions())

    def compiler(self, config: Snapshot, role: str) -> Callable[..., Any]:
        def report(gm: GraphModule, example_inputs: Any) -> Callable[..., Any]:
            self.found.graphs.append(_graph_report(gm, example_inputs, config, role))
            for use in operator_uses(gm):
                self._merge(use)
            return _eager(gm)

        return report

    def _merge(self, use: OperatorUse) -> None:
        known = self.uses.setdefault(use.target, use)
        if known is use:
            return
        known.calls += use.calls
        known.inputs.update(use.inputs)
        known.outputs.update(use.outputs)
        if use.reasons and not known.reasons:
            known.node = use.node
        known.outcomes.update(use.outcomes)
        for source in use.sources:
            known.add_source(source)

    def finish(self) -> None:
        """Write the operators into the explanation."""
        table = super().decompositions()
        listed = [*self.uses.values(), *self.log.uses()]
        self.found.operators = [_operator_report(use, table) for use in listed]


def _graph_breaks(counted_before: Mapping[str, int]) -> list[GraphBreak]:
    """Why dynamo left the graph since its last reset, each place and reason once."""
    found: dict[tuple[str, str | None], GraphBreak] = {}
    for entry in graph_break_reasons:
        frame = entry.user_stack[-1] if entry.user_stack else None
        source = None if frame is None else f"{frame.filename}:{frame.lineno}"
        text = _break_text(str(entry.reason))
        found[text, source] = GraphBreak(text, source)
    located = {text for text, _ in found}
    for reason, count in _counted_breaks().items():  # frames that were skipped as a whole
        text = _break_text(reason)
        if count > counted_before.get(reason, 0) and text not in located:
            found[text, None] = GraphBreak(text, None)
    return list(found.values())


def _counted_breaks() -> Counter[str]:
    """How often dynamo gave up for which reason, in this process."""
    return Counter({**counters["graph_break"], **counters["unimplemented"]})


def _break_text(reason: str) -> str:
    """Dynamo's title of a graph break and its explanation, in one line."""
    title, *rest = reason.strip().splitlines()
    told = [line.strip() for line in rest if line.strip().startswith("Explanation: ")]
    return f"{title}: {told[0].removeprefix('Explanation: ')}" if told else title


def _graph_report(gm: GraphModule, example_inputs: Any, config: Snapshot, role: str) -> GraphReport:
    report = GraphReport(role, sum(node.op == "call_function" for node in gm.graph.nodes))
    try:
        prepare_graph(gm, example_inputs, config, role)
        module = import_graph(gm, plan_outputs(gm).computed).module
        run_passes(make_context(), module, max_autotune_passes(config))
        report.ge_nodes = len(list(ge_operators(module)))
    except TorchairError as error:
        report.problem = str(error)
    except Exception as error:  # an error of the compiler is part of the report, too
        report.problem = f"internal error, {type(error).__name__}: {error}"
    return report


def _operator_report(use: OperatorUse, table: dict[Any, Callable[..., Any]]) -> OperatorReport:
    report = OperatorReport(
        use.target,
        use.status,
        use.calls,
        dict(use.inputs.most_common()),
        dict(use.outputs.most_common()),
        use.sources,
        use.ge_operators,
        use.reasons,
        use.into,
    )
    if use.status == "unsupported" and isinstance(use.node, Node):
        report.decomposition = decomposition_advice(use.node, table)
        report.similar = similar_operators(use.node.target)
        report.stub = stub_of(use.node.target)
    return report


def _eager(gm: GraphModule) -> Callable[[list[Any]], Any]:
    def run(arguments: list[Any]) -> Any:
        with torch.no_grad():
            return gm(*arguments)

    run._boxed_call = True  # pyright: ignore
    return run
