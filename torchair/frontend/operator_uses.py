"""What becomes of each call of an FX graph: every distinct call is compiled alone.

A call alone tells more than the whole graph: an operator that fails hides nothing behind it, and
the GE operators are those that this very call needs, before fusion.
"""

from __future__ import annotations

import builtins
import math
import operator
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from torch.fx import Graph, GraphModule, Node
from xdsl.dialects.builtin import ModuleOp
from xdsl.dialects.func import FuncOp

from torchair.errors import TorchairError, UnsupportedOpError
from torchair.frontend.fx_import import import_graph, source_line
from torchair.frontend.higher_order import loop_refusal
from torchair.passes import pipelines
from torchair.passes.driver import run_passes
from torchair.tools.context import make_context

CallStatus = Literal["converted", "refused", "unsupported"]
Status = Literal["converted", "partly converted", "refused", "unsupported", "decomposed"]
Kind = Literal["builtin", "prims", "aten"]

_QUIET_OPERATORS = frozenset(("ge.Const", "ge.NetOutput", "ge.Data"))
_MARKERS = frozenset(("air", "streams"))
"""Namespaces of operators that mark scopes and events: alone they say nothing."""
_BUILTIN_MODULES = frozenset((operator.__name__, "_operator", math.__name__, builtins.__name__))


@dataclass(frozen=True, slots=True)
class Outcome:
    """What becomes of one call.

    Args:
        status: ``refused`` when there is a converter that does not take this call.
        reason: why it is not converted, one line.
        ge_operators: GE types that it becomes, constants left out.
    """

    status: CallStatus
    reason: str = ""
    ge_operators: tuple[str, ...] = ()


@dataclass
class OperatorUse:
    """All calls of one operator.

    Args:
        target: the operator, e.g. ``aten.add.Tensor``.
        kind: ``builtin`` Python functions, ``prims``, all others ``aten``.
        calls: how often it is called.
        inputs, outputs: how often with which arguments and results, e.g. ``(float32(2, s0), 1)``.
        outcomes: outcome of each distinct call.
        sources: source lines in order of first use.
        node: the first call that is not converted, else the first.
        into: operators that a decomposition made of it; empty when it is not decomposed.
    """

    target: str
    kind: Kind
    calls: int = 0
    inputs: Counter[str] = field(default_factory=Counter[str])
    outputs: Counter[str] = field(default_factory=Counter[str])
    outcomes: dict[str, Outcome] = field(default_factory=dict[str, Outcome])
    sources: list[str] = field(default_factory=list[str])
    node: Node | None = None
    into: list[str] = field(default_factory=list[str])

    @property
    def status(self) -> Status:
        """The calls taken together."""
        found: set[Status] = {outcome.status for outcome in self.outcomes.values()}
        if not found:
            return "decomposed"
        return next(iter(found)) if len(found) == 1 else "partly converted"

    @property
    def reasons(self) -> list[str]:
        """Why calls are not converted, each once."""
        return list(dict.fromkeys(o.reason for o in self.outcomes.values() if o.reason))

    @property
    def ge_operators(self) -> list[str]:
        """GE types that the calls become, each once."""
        made = (name for o in self.outcomes.values() for name in o.ge_operators)
        return list(dict.fromkeys(made))

    def add_source(self, source: str | None) -> None:
        """Note a source line."""
        if source is not None and source not in self.sources:
            self.sources.append(source)


def operator_uses(graph_module: GraphModule) -> list[OperatorUse]:
    """Operators of an AOT graph in order of first use, each distinct call compiled alone."""
    uses: dict[str, OperatorUse] = {}
    for node in graph_module.graph.nodes:
        if node.op == "call_function":
            target = str(node.target)
            use = uses.setdefault(target, OperatorUse(target, kind_of(node.target)))
            _add_call(use, node, graph_module)
    return list(uses.values())


def _add_call(use: OperatorUse, node: Node, owner: GraphModule) -> None:
    call = printed_arguments(node.args, node.kwargs)
    use.calls += 1
    use.inputs[call] += 1
    use.outputs[printed(node.meta.get("val"))] += 1
    use.add_source(source_line(node))
    if call not in use.outcomes:
        outcome = use.outcomes[call] = outcome_of(node, owner)
        if use.node is None or (outcome.reason and not use.outcomes[_call_of(use.node)].reason):
            use.node = node


def _call_of(node: Node) -> str:
    return printed_arguments(node.args, node.kwargs)


def kind_of(target: Any) -> Kind:
    """Where an operator comes from."""
    if getattr(target, "__module__", "") in _BUILTIN_MODULES:
        return "builtin"
    return "prims" if "prim" in str(target) else "aten"


def printed(value: Any) -> str:
    """A value as a reader knows it: ``float32(2, s0)`` for a tensor."""
    if isinstance(value, Node):
        return printed(value.meta.get("val"))
    if isinstance(value, torch.Tensor):
        sizes = ", ".join(str(size) for size in value.shape)
        return f"{str(value.dtype).removeprefix('torch.')}({sizes}{',' * (value.dim() == 1)})"
    if isinstance(value, list):
        return f"[{', '.join(printed(item) for item in value)}]"
    if isinstance(value, tuple):
        return f"({', '.join(printed(item) for item in value)}{',' * (len(value) == 1)})"
    return repr(value) if isinstance(value, str) else str(value)


def printed_arguments(args: Any, kwargs: Any) -> str:
    """The arguments of a call, in parentheses."""
    parts = [printed(value) for value in args]
    parts += [f"{name}={printed(value)}" for name, value in kwargs.items()]
    return f"({', '.join(parts)})"


def outcome_of(node: Node, owner: GraphModule) -> Outcome:
    """Compile one call alone, without its surroundings.

    Args:
        node: a ``call_function`` node whose arguments carry ``meta["val"]``.
        owner: the graph module the node is in.
    """
    if node.target is operator.getitem or getattr(node.target, "namespace", "") in _MARKERS:
        return Outcome("converted")
    if loop := loop_refusal(node):
        return Outcome("unsupported", _one_line(loop))
    try:
        single = _single_call(node, owner)
        outputs: Any = single.graph.output_node().args[0]
        module = import_graph(single, outputs).module
        passes = pipelines.build(pipelines.MAX_AUTOTUNE)
        run_passes(make_context(), module, passes, verify=False)
    except UnsupportedOpError as error:
        return Outcome("unsupported", _one_line(error))
    except TorchairError as error:
        return Outcome("refused", _one_line(error))
    except Exception as error:  # an error of the compiler: reported like any other
        return Outcome("refused", f"internal error, {type(error).__name__}: {error}")
    return Outcome("converted", "", tuple(ge_operators(module)))


def _single_call(node: Node, owner: GraphModule) -> GraphModule:
    """A graph of one call: its inputs are placeholders, all its results outputs.

    Raises:
        UnsupportedOpError: an argument is no value of a graph (a subgraph).
    """
    graph = Graph()
    made: dict[Node, Node] = {}
    for source in node.all_input_nodes:
        made[source] = graph.placeholder(source.name)
        made[source].meta["val"] = _value_of(source, owner)
    copy = graph.node_copy(node, made.__getitem__)
    outputs = list(_results(graph, copy))
    graph.output(outputs)
    return GraphModule(torch.nn.Module(), graph)


def _value_of(source: Node, owner: GraphModule) -> Any:
    value = source.meta.get("val")
    if value is None and source.op == "get_attr":
        value = _attribute(owner, source)
    if value is None or isinstance(value, torch.nn.Module | list | tuple):
        raise UnsupportedOpError(f"an argument is no tensor or number: {source.name}")
    return value


def _attribute(owner: GraphModule, source: Node) -> Any:
    value: Any = owner
    for part in str(source.target).split("."):
        value = getattr(value, part)
    return value


def _results(graph: Graph, node: Node) -> Iterator[Node]:
    """The nodes of all tensors and numbers that a call returns."""
    value = node.meta.get("val")
    if not isinstance(value, list | tuple):
        if value is not None:
            yield node
        return
    for index, item in enumerate(value):
        part = graph.call_function(operator.getitem, (node, index))
        part.meta = {"val": item}
        yield from _results(graph, part)


def ge_operators(module: ModuleOp) -> Iterator[str]:
    """GE types of a module's operations without constants, inputs and outputs."""
    functions = (op for op in module.ops if isinstance(op, FuncOp))
    names = (op.name for function in functions for op in function.body.block.ops)
    for name in names:
        if name.startswith("ge.") and name not in _QUIET_OPERATORS:
            yield name.removeprefix("ge.")


def _one_line(error: TorchairError) -> str:
    """The reason in an error, without the frame that reports of whole graphs put around it."""
    lines = [line.strip() for line in str(error).splitlines()]
    if isinstance(error, UnsupportedOpError) and lines[0].startswith("no converter to GE"):
        return "no converter"
    kept = [line for line in lines if not line.startswith(("types: ", "source: "))]
    if kept[0].startswith("some calls cannot be converted"):
        kept = kept[1:]
    return " ".join(kept)
