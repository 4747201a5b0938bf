"""What the ``extra_check`` of a replacement is given."""

from __future__ import annotations

import operator
from collections.abc import Mapping
from typing import Any

import torch
from torch.fx import Graph, GraphModule, Node
from xdsl.ir import SSAValue

from torchair.frontend.replacement.pattern import FunctionPattern
from torchair.frontend.replacement.sizes import TracedSizes
from torchair.ir.call_values import read_arguments
from torchair.ir.graph_pattern import Match


class ReplacementMatch:
    """A match, with the attributes that Inductor's has.

    The nodes are those of ``search_fn``, traced with the types found at this place (of a ready
    pattern: those that it matched): they have ``target``, ``args`` and ``meta["val"]``, and know
    nothing of the graph around them.

    Attributes:
        kwargs: by parameter of ``search_fn``: a node, a list of nodes, or a number.
        nodes: the matched calls in order.
        source: the user's ``file:line`` of the last call, or None.
    """

    def __init__(self, kwargs: Mapping[str, Any], graph: GraphModule, source: str | None) -> None:
        self.kwargs = dict(kwargs)
        self.nodes = [node for node in graph.graph.nodes if node.op == "call_function"]
        self.graph = graph.graph
        self.source = source

    @property
    def args(self) -> list[Any]:
        """The values of ``kwargs``."""
        return list(self.kwargs.values())

    def output_nodes(self) -> list[Node]:
        """Nodes of the results, in the order in which ``search_fn`` returns them."""
        output = next(node for node in self.graph.nodes if node.op == "output")
        values: Any = output.args[0]
        return list(values) if isinstance(values, list | tuple) else [values]

    def output_node(self) -> Node:
        """Node of the first result."""
        return self.output_nodes()[0]


def graph_of_match(
    pattern: FunctionPattern, match: Match, sizes: TracedSizes, targets: Mapping[str, Any]
) -> GraphModule:
    """The matched operations as an FX graph, whose placeholders are the arguments.

    Args:
        pattern: what matched.
        match: where.
        sizes: make the fake tensors of ``meta["val"]``.
        targets: overloads by mnemonic.
    """
    graph, nodes = Graph(), dict[SSAValue, Node]()
    like = torch.empty(0)
    for name in pattern.arguments:
        node = graph.placeholder(name)
        node.meta["val"] = sizes.tensor(match[name].type, like)
        nodes.setdefault(match[name], node)

    def given(value: Any) -> Any:
        if isinstance(value, list):
            return [given(item) for item in value]
        return nodes.get(value) if isinstance(value, SSAValue) else value

    for call, _ in pattern.calls:
        op = match.operation(call)
        assert op is not None, "a match binds every call"
        if op.results[0] in nodes:
            continue
        target = targets[op.name]
        node = graph.call_function(target, tuple(given(value) for value in read_arguments(op)))
        values = [sizes.tensor(result.type, like) for result in op.results]
        node.meta["val"] = values[0] if len(values) == 1 else tuple(values)
        for index, result in enumerate(op.results):
            nodes[result] = node if len(values) == 1 else _item(graph, node, index, values[index])
    graph.output(tuple(nodes[value] for value in pattern.values(match)))
    return GraphModule({}, graph)


def _item(graph: Graph, node: Node, index: int, value: Any) -> Node:
    found = graph.call_function(operator.getitem, (node, index))
    found.meta["val"] = value
    return found
