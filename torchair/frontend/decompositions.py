"""Which ATen operators are decomposed before import: all of PyTorch's core decompositions but those
of operators that have a converter, so that the GE graph keeps operators as whole as GE knows
them."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import torch
from torch._decomp import core_aten_decompositions, get_decompositions

from torchair.frontend.fx_import import aten_name
from torchair.frontend.model_decompositions import OWN_DECOMPOSITIONS
from torchair.passes.convert_aten_to_ge.registry import converters

_EXTRA = [
    torch.ops.aten.native_layer_norm_backward,
    torch.ops.aten.native_batch_norm_backward,
    torch.ops.aten.native_dropout_backward,
    torch.ops.aten._native_batch_norm_legit_functional,
    torch.ops.aten._safe_softmax,
    torch.ops.aten.embedding_dense_backward,
    torch.ops.aten.select_backward,
    torch.ops.aten.slice_backward,
    torch.ops.aten._euclidean_dist,
]


@cache
def _core() -> dict[Any, Callable[..., Any]]:
    return {**core_aten_decompositions(), **get_decompositions(_EXTRA)}


def default_decompositions() -> dict[Any, Callable[..., Any]]:
    """The decomposition table for AOT autograd."""
    known = converters()
    table = {
        op: function
        for op, function in _core().items()
        if not isinstance(op, torch._ops.OpOverload) or aten_name(op) not in known
    }
    return {**table, **OWN_DECOMPOSITIONS}
