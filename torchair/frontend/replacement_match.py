"""What the ``extra_check`` of a replacement is given."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch.fx import GraphModule, Node


class ReplacementMatch:
    """A match, with the attributes that Inductor's has.

    The nodes are those of ``search_fn``, traced with the types found at this place: they have
    ``target``, ``args`` and ``meta["val"]``, and know nothing of the graph around them.

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
