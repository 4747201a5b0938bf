"""The structure of a GE graph from protobuf: nodes, checked edges, topological order.

GE's own loader is lenient: it binds edges to the last of two nodes of one name, drops what it does
not know, and leaves cycles to later stages. Here each of these is an ``ArtifactError``.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from torchair.backend_ge import graph_attrs as keys
from torchair.backend_ge import proto
from torchair.dialects.ge import registry
from torchair.errors import ArtifactError

INPUT_TYPES: Final = frozenset({"Data", "RefData", "AippData", "AnnData"})
"""GE types of graph inputs."""
_MOST_LISTED: Final = 8
_MOST_SUGGESTED: Final = 3
_LONGEST_NAME: Final = 80


@dataclass(slots=True, eq=False)
class Node:
    """A node with its edges.

    Args:
        op: the protobuf node.
        position: place in the file.
        inputs: per input slot the source node and its output, None where nothing is connected.
        controls: nodes that must run before.
        order_edges: how many of the last controls ``emit`` derived from the order of the block.
        waited_for: whether another node waits for this one through a control edge of the IR.
    """

    op: proto.OpDef
    position: int
    inputs: list[tuple[Node, int] | None] = field(default_factory=list["tuple[Node, int] | None"])
    controls: list[Node] = field(default_factory=list["Node"])
    order_edges: int = 0
    waited_for: bool = False

    def label(self) -> str:
        """Name and type for messages."""
        return f"{shorten(self.op.name)} ({shorten(self.op.type)})"


@dataclass(frozen=True, slots=True)
class Structure:
    """A checked graph.

    Args:
        inputs: the graph inputs, in file order.
        body: the other nodes but NetOutput, sources first, otherwise in file order.
        outputs: what the graph returns.
        end: the NetOutput; None when the graph lists its outputs instead.
    """

    inputs: list[Node]
    body: list[Node]
    outputs: list[tuple[Node, int]]
    end: Node | None


def shorten(text: str) -> str:
    """A name of an untrusted file, printable and short."""
    shown = text if text.isprintable() else ascii(text)[1:-1]
    return shown if len(shown) <= _LONGEST_NAME else shown[:_LONGEST_NAME] + "..."


def read_structure(graph: proto.GraphDef) -> Structure:
    """Check the nodes and edges of a graph.

    Raises:
        ArtifactError: the graph is not well-formed.
    """
    nodes = [Node(op, position) for position, op in enumerate(graph.op)]
    by_name = _by_name(nodes)
    for node in nodes:
        _connect(node, by_name)
    end = _only_end(nodes)
    inputs = [node for node in nodes if node.op.type in INPUT_TYPES]
    for node in inputs:
        if any(source is not None for source in node.inputs):
            raise ArtifactError("a graph input is fed by another node", op=node.label())
    outputs = _outputs(graph, end, by_name)
    body = _sorted([n for n in nodes if n is not end and n.op.type not in INPUT_TYPES])
    return Structure(inputs, body, outputs, end)


def check_types(nodes: Iterable[Node]) -> None:
    """Check that the registry has every operator.

    Raises:
        ArtifactError: naming the unknown ones with similar names.
    """
    unknown: dict[str, Node] = {}
    for node in nodes:
        if registry.lookup(node.op.type) is None:
            unknown.setdefault(node.op.type, node)
    if not unknown:
        return
    listed = [f"{shorten(t)!r} at {shorten(n.op.name)!r}" for t, n in unknown.items()]
    more = f" and {len(listed) - _MOST_LISTED} more" if len(listed) > _MOST_LISTED else ""
    close = [
        f"{name} for {shorten(ge_type)}"
        for ge_type in list(unknown)[:_MOST_SUGGESTED]
        if len(ge_type) <= _LONGEST_NAME
        for name in registry.suggest(ge_type)[:1]
    ]
    hint = f"did you mean {', '.join(close)}" if close else "load with allow_unknown=True"
    raise ArtifactError(
        f"{len(listed)} operator types are not in the GE registry",
        found=", ".join(listed[:_MOST_LISTED]) + more,
        hint=hint,
    )


def _by_name(nodes: list[Node]) -> dict[str, Node]:
    found: dict[str, Node] = {}
    for node in nodes:
        if not node.op.name or not node.op.type:
            raise ArtifactError(
                f"node {node.position} has no {'type' if node.op.name else 'name'}",
                found=node.label(),
            )
        if node.op.subgraph_name:
            raise ArtifactError(
                "the node holds subgraphs (control flow), which are not supported",
                op=node.label(),
                hint="export the model without control flow",
            )
        if found.setdefault(node.op.name, node) is not node:
            raise ArtifactError("two nodes have the same name", found=shorten(node.op.name))
    return found


def _connect(node: Node, by_name: dict[str, Node]) -> None:
    for text in node.op.input:
        name, separator, index = text.rpartition(":")
        if not separator:
            _check_unlinked(node, text)
            node.inputs.append(None)
            continue
        source = by_name.get(name)
        if source is None:
            raise ArtifactError(
                "an input comes from a node that does not exist",
                found=shorten(text),
                op=node.label(),
            )
        if index == "-1":
            node.controls.append(source)
            continue
        number = int(index) if index.isascii() and index.isdigit() and len(index) < 10 else -1
        if not 0 <= number < len(source.op.output_desc):
            raise ArtifactError(
                f"an input comes from an output that {source.label()} does not have",
                expected=f"an output below {len(source.op.output_desc)}, or -1 for a control edge",
                found=shorten(text),
                op=node.label(),
            )
        node.inputs.append((source, number))
    if len(node.inputs) > len(node.op.input_desc) and node.op.type not in INPUT_TYPES:
        raise ArtifactError(
            "a node has more inputs than input descriptors",
            expected=len(node.op.input_desc),
            found=len(node.inputs),
            op=node.label(),
        )
    _split_controls(node)


def _check_unlinked(node: Node, text: str) -> None:
    if text:
        raise ArtifactError(
            "an input does not say which output it comes from",
            expected="'<node>:<output>', '<node>:-1' or ''",
            found=shorten(text),
            op=node.label(),
        )


def _split_controls(node: Node) -> None:
    if keys.ORDER_EDGES in node.op.attr:
        count = node.op.attr[keys.ORDER_EDGES].i
        if not 0 <= count <= len(node.controls):
            raise ArtifactError(
                f"'{keys.ORDER_EDGES}' counts more control edges than there are",
                expected=f"at most {len(node.controls)}",
                found=count,
                op=node.label(),
            )
        node.order_edges = count
    for source in node.controls[: len(node.controls) - node.order_edges]:
        source.waited_for = True


def _only_end(nodes: list[Node]) -> Node | None:
    ends = [node for node in nodes if node.op.type == "NetOutput"]
    if len(ends) > 1:
        raise ArtifactError(
            "a graph has one NetOutput", found=", ".join(n.label() for n in ends[:_MOST_LISTED])
        )
    if not ends:
        return None
    end = ends[0]
    users = (n for n in nodes for source in (*n.inputs, *((c, -1) for c in n.controls))
             if source is not None and source[0] is end)  # fmt: skip
    user = next(users, None)
    if user is not None:
        raise ArtifactError("a node takes its input from NetOutput", op=user.label())
    return end


def _outputs(
    graph: proto.GraphDef, end: Node | None, by_name: dict[str, Node]
) -> list[tuple[Node, int]]:
    if end is None:
        if not graph.output:
            raise ArtifactError(
                "the graph has neither a NetOutput nor a list of outputs",
                hint="the file may be truncated; write it again",
            )
        listed = Node(proto.OpDef(name="graph.output", type="NetOutput", input=graph.output), -1)
        listed.op.input_desc.extend([proto.TensorDescriptor()] * len(graph.output))
        _connect(listed, by_name)
        end = listed
    outputs = [source for source in end.inputs if source is not None]
    if len(outputs) != len(end.inputs):
        raise ArtifactError("an output of the graph is not connected", op=end.label())
    return outputs


def _sorted(nodes: list[Node]) -> list[Node]:
    """Sources first; nodes that do not depend on each other keep their order."""
    inside = set(nodes)
    users: dict[Node, list[Node]] = {}
    missing: dict[Node, int] = {}
    for node in nodes:
        sources = {source[0] for source in node.inputs if source is not None}
        sources.update(node.controls)
        sources &= inside
        missing[node] = len(sources)
        for source in sources:
            users.setdefault(source, []).append(node)
    ready = [(node.position, node) for node in nodes if not missing[node]]
    heapq.heapify(ready)
    order: list[Node] = []
    while ready:
        _, node = heapq.heappop(ready)
        order.append(node)
        for user in users.get(node, ()):
            missing[user] -= 1
            if not missing[user]:
                heapq.heappush(ready, (user.position, user))
    if len(order) < len(nodes):
        stuck = [node.label() for node in nodes if missing[node]]
        raise ArtifactError(
            "the graph has a cycle",
            found=f"{len(stuck)} nodes on it or behind it: {', '.join(stuck[:_MOST_LISTED])}",
        )
    return order
