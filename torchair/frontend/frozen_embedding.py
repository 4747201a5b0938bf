"""The factor of an embedding, folded into its table where parameters are frozen.

    embedding(table, ids) * 22.6    ->    embedding(table * 22.6, ids)

Each number of the result is the same product, rounded once, so every factor may be folded, powers
of two or not. The scaled table is a constant of the graph beside the model's own: large tables, and
tables that something else reads too (the last projection of models that tie weights), stay.
Numeric class: exact.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.fx import GraphModule, Node
from torch.utils._python_dispatch import _disable_current_modes

from torchair.frontend.real_inputs import static_inputs

aten = torch.ops.aten
_EMBEDDING = aten.embedding.default
_PRODUCTS = (aten.mul.Tensor, aten.mul.Scalar)
_LARGEST = 64 << 20
"""Bytes of a table that is kept a second time to save one operator."""


def fold_embedding_scales(graph_module: GraphModule) -> int:
    """Fold the factor of every embedding of a graph that can be; returns how many were.

    A factor can be folded when it is a Python number, nobody else reads the embedding or its table,
    and the table is a parameter or buffer of at most ``_LARGEST`` bytes.
    """
    weights = static_inputs(graph_module)
    folded = 0
    for product in list(graph_module.graph.nodes):
        if product.target in _PRODUCTS and _can_fold(product, weights):
            _fold(graph_module, product, weights)
            folded += 1
    if folded:
        graph_module.graph.lint()
        graph_module.recompile()
    return folded


def _can_fold(product: Node, weights: dict[Node, Tensor]) -> bool:
    embedding, factor = product.args
    if not isinstance(embedding, Node) or embedding.target is not _EMBEDDING:
        return False
    table: Any = embedding.args[0]
    value = weights.get(table)
    return (
        type(factor) in (int, float)
        and value is not None
        and value.is_floating_point()
        and value.nbytes <= _LARGEST
        and list(embedding.users) == [product]
        and list(table.users) == [embedding]
    )


def _fold(graph_module: GraphModule, product: Node, weights: dict[Node, Tensor]) -> None:
    embedding: Any = product.args[0]
    table: Node = embedding.args[0]
    factor: Any = product.args[1]
    with _disable_current_modes(), torch.no_grad():
        scaled: Tensor = weights[table] * factor
    name = f"{embedding.name}_scaled_table"
    graph = graph_module.graph
    with graph.inserting_before(embedding):
        graph_module.register_buffer(name, scaled)
        constant = graph.get_attr(name)
        fake = embedding.meta["val"]
        constant.meta = {"val": fake.fake_mode.from_tensor(scaled, static_shapes=True)}
        found = graph.call_function(_EMBEDDING, (constant, *embedding.args[1:]))
    found.meta = dict(product.meta)
    product.replace_all_uses_with(found)
    graph.erase_node(product)
    graph.erase_node(embedding)
