"""Batch norm of eval mode, folded into the convolution before it, where parameters are frozen.

    batch_norm(conv(x, w, b), gamma, beta, mean, variance)
    ->  conv(x, w * s, beta + (b - mean) * s)        with s = gamma / sqrt(variance + eps)

The new weights are computed once, when the graph is compiled, in float64, and become constants of
the graph; ``frozen_parameter`` promises that the parameters do not change.
Numeric class: approximates.
"""

from __future__ import annotations

import operator
from typing import Any

import torch
from torch import Tensor
from torch.fx import GraphModule, Node
from torch.utils._python_dispatch import _disable_current_modes

from torchair.frontend.real_inputs import static_inputs

aten = torch.ops.aten
_BATCH_NORM = aten._native_batch_norm_legit_no_training.default
_SIZE = aten.sym_size.int
_CONVOLUTION = aten.convolution.default


def fold_batch_norms(graph_module: GraphModule) -> int:
    """Fold every batch norm of a graph that can be; returns how many were.

    A batch norm can be folded when it alone reads the result of a convolution that is not
    transposed, nobody reads its saved statistics, and all weights are parameters or buffers.
    """
    weights = static_inputs(graph_module)
    folded = 0
    for norm in list(graph_module.graph.nodes):
        if norm.target is _BATCH_NORM and _can_fold(norm, weights):
            _fold(graph_module, norm, weights)
            folded += 1
    if folded:
        graph_module.graph.lint()
        graph_module.recompile()
    return folded


def _can_fold(norm: Node, weights: dict[Node, Tensor]) -> bool:
    convolution: Any = norm.args[0]
    if convolution.target is not _CONVOLUTION or convolution.args[6]:
        return False
    if any(user is not norm and user.target is not _SIZE for user in convolution.users):
        return False
    fixed = [*convolution.args[1:3], *norm.args[1:5]]
    is_known = all(value is None or value in weights for value in fixed)
    return is_known and all(
        user.target is operator.getitem and user.args[1] == 0 for user in norm.users
    )


def _fold(graph_module: GraphModule, norm: Node, weights: dict[Node, Tensor]) -> None:
    convolution: Any = norm.args[0]
    nodes: list[Any] = [*convolution.args[1:3], *norm.args[1:5]]
    values: list[Any] = [None if node is None else weights[node] for node in nodes]
    weight, bias = _folded(values, norm.args[6])
    graph = graph_module.graph
    with graph.inserting_before(convolution):
        constants = [
            _constant(graph_module, convolution, f"{convolution.name}_folded_{what}", value)
            for what, value in (("weight", weight), ("bias", bias))
        ]
        fused = graph.call_function(
            _CONVOLUTION, (convolution.args[0], *constants, *convolution.args[3:])
        )
    fused.meta = {**convolution.meta, "val": convolution.meta["val"]}
    for user in list(norm.users):
        user.replace_all_uses_with(fused)
        graph.erase_node(user)
    graph.erase_node(norm)
    convolution.replace_all_uses_with(fused)  # its sizes
    graph.erase_node(convolution)


def _folded(values: list[Any], epsilon: Any) -> tuple[Tensor, Tensor]:
    """The weight and bias of the convolution alone, in the weight's dtype.

    Args:
        values: weight and bias (or None) of the convolution; gamma and beta (or None), mean and
            variance of the batch norm.
        epsilon: what is added to the variance.
    """
    weight, bias, gamma, beta, mean, variance = values
    with _disable_current_modes(), torch.no_grad():
        scale = torch.rsqrt(variance.double() + epsilon)
        if gamma is not None:
            scale = scale * gamma.double()
        shift = -mean.double() if bias is None else bias.double() - mean.double()
        shift = shift * scale if beta is None else shift * scale + beta.double()
        columns = scale.view(-1, *[1] * (weight.dim() - 1))
        return (weight.double() * columns).to(weight.dtype), shift.to(weight.dtype)


def _constant(graph_module: GraphModule, convolution: Node, name: str, value: Tensor) -> Node:
    graph_module.register_buffer(name, value)
    node = graph_module.graph.get_attr(name)
    fake = convolution.meta["val"]
    node.meta = {"val": fake.fake_mode.from_tensor(value, static_shapes=True)}
    return node
