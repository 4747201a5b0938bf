"""Floats that are attributes of modules become constants of the graph.

With ``dynamic=True`` dynamo makes every Python float an input, an epsilon or a scale of a module
included. Such a float hides what a graph computes (no fusion can prove that it is an RMS norm), and
hardly ever changes; as a constant it is guarded, so a change recompiles. Floats passed as arguments
stay inputs.
"""

from __future__ import annotations

from typing import Any

from torch._dynamo.exc import TensorifyScalarRestartAnalysis
from torch._dynamo.source import NNModuleSource, UnspecializedNNModuleSource
from torch._dynamo.symbolic_convert import TensorifyState
from torch.fx import GraphModule, Node


def fix_module_constants(gm: GraphModule) -> None:
    """Ask dynamo to trace again with the floats of modules as constants, when there are any.

    Raises:
        TensorifyScalarRestartAnalysis: dynamo's signal to do so.
    """
    symbols = [_symbol(node) for node in gm.graph.nodes if node.op == "placeholder"]
    found = [name for name in symbols if name and not TensorifyState.should_specialize(name)]
    for name in found:
        TensorifyState.specialize(name)
    if found:
        raise TensorifyScalarRestartAnalysis


def _symbol(node: Node) -> str | None:
    """The symbol of a float that dynamo read from a module, None for other inputs."""
    argument = node.meta.get("grapharg")
    if argument is None or not getattr(argument, "pass_arg_as_tensor", False):
        return None
    item = getattr(node.meta.get("example_value"), "item_memo", None)
    if item is None or not _is_of_module(argument.source):
        return None
    return getattr(item.node._expr, "name", None)


def _is_of_module(source: Any) -> bool:
    while source is not None:
        if isinstance(source, NNModuleSource | UnspecializedNNModuleSource):
            return True
        source = getattr(source, "base", None)
    return False
