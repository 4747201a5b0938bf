"""The user's FX passes: ``config.post_grad_custom_pre_pass`` and ``post_grad_custom_post_pass``.

Both are called as ``f(graph_module, example_inputs, config)`` on the AOT graph, before and after
torchair's own changes to it; what they return is ignored. They may edit the graph in place: nodes
that they add without ``meta["val"]`` get it by running the node on the fake values of its
arguments.
"""

from __future__ import annotations

from typing import Any

import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.fx import GraphModule, Node
from torch.fx.experimental.symbolic_shapes import (
    compute_unbacked_bindings,
    free_unbacked_symbols,
)
from torch.utils._pytree import tree_leaves

from torchair.config import Snapshot
from torchair.core.utils import logger
from torchair.errors import ConversionError, TorchairError

PRE_PASS = "post_grad_custom_pre_pass"
POST_PASS = "post_grad_custom_post_pass"


def run_hook(name: str, gm: GraphModule, example_inputs: Any, config: Snapshot) -> None:
    """Run a hook on a graph if it is configured.

    Args:
        name: ``PRE_PASS`` or ``POST_PASS``.

    Raises:
        ConversionError: the hook left a malformed graph, or a node without a value.
    """
    hook = config[name]
    if hook is None:
        return
    logger.debug("graph before %s:\n%s", name, gm.graph)
    try:
        hook(gm, example_inputs, config)
    except Exception as error:
        error.add_note(f"raised by config.{name}")
        raise
    try:
        gm.graph.lint()
        gm.recompile()
    except RuntimeError as error:
        raise ConversionError(
            f"config.{name} left a malformed graph",
            found=str(error),
            hint="call graph.lint() at the end of the pass to find the edit",
        ) from error
    fill_values(gm, name)
    logger.debug("graph after %s:\n%s", name, gm.graph)


def fill_values(gm: GraphModule, owner: str) -> None:
    """Give nodes without ``meta["val"]`` one, in graph order.

    Args:
        owner: who made these nodes, for messages.

    Raises:
        ConversionError: a node cannot run on fake tensors.
    """
    missing = [n for n in gm.graph.nodes if n.op == "call_function" and "val" not in n.meta]
    if not missing:
        return
    mode = _fake_mode(gm)
    for node in missing:
        try:
            with mode, torch.no_grad():
                node.meta["val"] = node.target(*_values(node.args), **_values(node.kwargs))
        except TorchairError:
            raise
        except Exception as error:
            raise ConversionError(
                f"config.{owner} added a node that cannot run ({type(error).__name__}: {error})",
                op=f"{node.target} ({node.name})",
                hint="set node.meta['val'], or correct the arguments of the new node",
            ) from error
        _bind_new_symbols(node, mode)


def _fake_mode(gm: GraphModule) -> FakeTensorMode:
    values = tree_leaves([node.meta.get("val") for node in gm.graph.nodes])
    modes = [value.fake_mode for value in values if hasattr(value, "fake_mode")]
    return modes[0] if modes else FakeTensorMode()


def _values(arguments: Any) -> Any:
    return torch.fx.map_arg(arguments, lambda node: node.meta["val"])


def _bind_new_symbols(node: Node, mode: FakeTensorMode) -> None:
    """Sizes that depend on data are noted like those of torch's own trace."""
    if mode.shape_env is not None and free_unbacked_symbols(node.meta["val"]):
        bindings = compute_unbacked_bindings(mode.shape_env, node.meta["val"])
        if bindings:
            node.meta["unbacked_bindings"] = bindings
