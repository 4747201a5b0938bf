"""Decompositions of operators that have a converter, for the calls that GE's operator cannot take.

GE's normalizations and losses know no float64, where PyTorch's decompositions need nothing special;
and arguments that are attributes in GE must be integers, so symbolic ones are specialised (with a
guard). Every other call is left whole.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import torch
from torch._decomp import get_decompositions

aten = torch.ops.aten

_WITHOUT_DOUBLE = [
    aten.native_layer_norm_backward,
    aten.native_group_norm,
    aten.native_group_norm_backward,
    aten._native_batch_norm_legit.no_stats,
    aten._native_batch_norm_legit_functional,
    aten._native_batch_norm_legit_no_training,
    aten.native_batch_norm_backward,
    aten.mse_loss_backward,
    aten.smooth_l1_loss,
    aten.smooth_l1_loss_backward,
    aten.huber_loss,
    aten.huber_loss_backward,
    aten.binary_cross_entropy,
    aten.binary_cross_entropy_backward,
    aten.binary_cross_entropy_with_logits,
    aten.nll_loss_forward,
    aten.nll_loss_backward,
    aten._adaptive_avg_pool2d,
]
_ATTRIBUTES: dict[Any, Sequence[str]] = {
    aten.convolution.default: ("stride", "padding", "dilation", "output_padding", "groups"),
    aten.convolution_backward.default: (
        "stride", "padding", "dilation", "output_padding", "groups",
    ),
    aten._adaptive_avg_pool2d.default: ("output_size",),
    aten._adaptive_avg_pool3d.default: ("output_size",),
}  # fmt: skip
"""Arguments declared SymInt in PyTorch that are attributes in GE."""


@cache
def conditional_decompositions() -> dict[Any, Callable[..., Any]]:
    """The table by OpOverload; an entry returns NotImplemented for a call that stays whole."""
    table: dict[Any, Callable[..., Any]] = {
        op: _for_doubles(function) for op, function in get_decompositions(_WITHOUT_DOUBLE).items()
    }
    for op, names in _ATTRIBUTES.items():
        table[op] = _specialised(op, names, table.get(op))
    return table


def _for_doubles(function: Callable[..., Any]) -> Callable[..., Any]:
    def run(*args: Any, **kwargs: Any) -> Any:
        first = next(a for a in (*args, *kwargs.values()) if isinstance(a, torch.Tensor))
        return function(*args, **kwargs) if first.dtype is torch.float64 else NotImplemented

    return run


def _specialised(
    op: Any, names: Sequence[str], otherwise: Callable[..., Any] | None
) -> Callable[..., Any]:
    positions = {a.name: i for i, a in enumerate(op._schema.arguments)}
    places = [positions[name] for name in names]

    def run(*args: Any, **kwargs: Any) -> Any:
        given = list(args)
        for place, name in zip(places, names, strict=True):
            if place < len(given):
                given[place] = _integers(given[place])
            elif name in kwargs:
                kwargs[name] = _integers(kwargs[name])
        if any(new is not old for new, old in zip(given, args, strict=True)):
            return op(*given, **kwargs)
        return NotImplemented if otherwise is None else otherwise(*given, **kwargs)

    return run


def _integers(value: Any) -> Any:
    """The value itself when it holds no symbolic integer."""
    if isinstance(value, torch.SymInt):
        return int(value)
    if isinstance(value, list | tuple) and any(isinstance(v, torch.SymInt) for v in value):
        return [int(v) for v in value]
    return value
