"""What the user calls the inputs of a graph: ``x``, ``self.norm.weight``, ``batch['ids'][0]``."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar

from torch.fx import GraphModule, Node

_ROOT = re.compile(r"^[LG]\['(\w+)'\]")
_MEMBER = re.compile(r"\._(?:modules|parameters|buffers)\['([^']+)'\]")
_current: ContextVar[Sequence[str]] = ContextVar("input_names", default=())


@contextmanager
def names_of_graph(gm: GraphModule) -> Iterator[None]:
    """Make the names of a dynamo graph's inputs known to the compilers that AOT autograd calls."""
    names = [_user_name(node) for node in gm.graph.nodes if node.op == "placeholder"]
    token = _current.set(names)
    try:
        yield
    finally:
        _current.reset(token)


def argument_names(gm: GraphModule) -> dict[str, str]:
    """Placeholders of an AOT graph whose user's name is known -> that name."""
    names = _current.get()
    found: dict[str, str] = {}
    for node in gm.graph.nodes:
        index = getattr(node.meta.get("desc"), "idx", None) if node.op == "placeholder" else None
        if isinstance(index, int) and index < len(names):
            found[node.name] = names[index]
    return found


def _user_name(node: Node) -> str:
    source = getattr(node.meta.get("grapharg"), "source", None)
    name = getattr(source, "name", None)
    if not isinstance(name, str):
        return node.name
    return _MEMBER.sub(r".\1", _ROOT.sub(r"\1", name))
