"""The tensors that a graph was traced with: weights and buffers among them are the real ones."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from torch import Tensor
from torch._guards import TracingContext
from torch.fx import GraphModule, Node

_inputs: ContextVar[tuple[Any, ...]] = ContextVar("_inputs", default=())


@contextmanager
def tracing_inputs(inputs: Sequence[object]) -> Iterator[None]:
    """Remember the inputs of a dynamo graph while its AOT graphs are compiled."""
    token = _inputs.set(tuple(inputs))
    try:
        yield
    finally:
        _inputs.reset(token)


def real_inputs(graph_module: GraphModule) -> dict[Node, Tensor]:
    """The real tensor of every placeholder of a forward graph, whose order is that of the inputs.

    A placeholder whose shape or dtype is not that of the input in its place is left out.
    """
    placeholders = [node for node in graph_module.graph.nodes if node.op == "placeholder"]
    return {
        node: value
        for node, value in zip(placeholders, _inputs.get(), strict=False)
        if isinstance(value, Tensor) and _is_value_of(value, node.meta.get("val"))
    }


def static_inputs(graph_module: GraphModule) -> dict[Node, Tensor]:
    """Those of ``real_inputs`` that are parameters and buffers."""
    context = TracingContext.try_get()
    metadata = None if context is None else context.fw_metadata
    if metadata is None:
        return {}
    placeholders = [node for node in graph_module.graph.nodes if node.op == "placeholder"]
    count = len(placeholders)
    static = {placeholders[i] for i in metadata.static_input_indices if i < count}
    return {node: value for node, value in real_inputs(graph_module).items() if node in static}


def _is_value_of(value: Tensor, fake: Any) -> bool:
    if not isinstance(fake, Tensor) or value.dtype != fake.dtype or value.dim() != fake.dim():
        return False
    sizes = zip(value.shape, fake.shape, strict=True)
    return all(not isinstance(b, int) or a == b for a, b in sizes)
