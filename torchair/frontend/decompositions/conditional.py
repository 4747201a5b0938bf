"""Decompositions of operators that have a converter, for the calls that GE's operator cannot take.

GE's normalizations and losses know no float64, where PyTorch's decompositions need nothing special;
its convolutions and pooling know no integers (see ``integer``); and arguments that
are attributes in GE must be integers, so symbolic ones are specialised (with a guard). Every other
call is left whole.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import torch
from torch._decomp import get_decompositions

from torchair.frontend.decompositions.integer import INTEGER_DECOMPOSITIONS
from torchair.frontend.decompositions.resampling import GRADIENTS

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
    aten.linalg_vector_norm.default: ("ord",),
    aten.elu.default: ("alpha", "scale", "input_scale"),
    aten.elu_backward.default: ("alpha", "scale", "input_scale"),
    aten.celu.default: ("alpha",),
    aten.leaky_relu.default: ("negative_slope",),
    aten.leaky_relu_backward.default: ("negative_slope",),
    aten.softplus.default: ("beta", "threshold"),
    aten.softplus_backward.default: ("beta", "threshold"),
    aten.softshrink.default: ("lambd",),
    aten.softshrink_backward.default: ("lambd",),
    aten.hardshrink.default: ("lambd",),
    aten.hardshrink_backward.default: ("lambd",),
}  # fmt: skip
"""Arguments that may be symbolic in PyTorch and are attributes in GE."""


_FLASH = (
    aten._scaled_dot_product_flash_attention_for_cpu.default,
    aten._scaled_dot_product_flash_attention_for_cpu_backward.default,
)


@cache
def conditional_decompositions() -> dict[Any, Callable[..., Any]]:
    """The table by OpOverload; an entry returns NotImplemented for a call that stays whole."""
    table: dict[Any, Callable[..., Any]] = {
        op: _for_doubles(function) for op, function in get_decompositions(_WITHOUT_DOUBLE).items()
    }
    table.update(INTEGER_DECOMPOSITIONS)
    table.update(GRADIENTS)
    for op, names in _ATTRIBUTES.items():
        table[op] = _specialised(op, names, table.get(op))
    for op in _FLASH:
        table[op] = _flash_attention(op)
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
        given, named = list(args), dict(kwargs)
        for place, name in zip(places, names, strict=True):
            if place < len(given):
                given[place] = _static(given[place])
            elif name in named:
                named[name] = _static(named[name])
        pairs = [*zip(given, args, strict=True), *((named[n], kwargs[n]) for n in kwargs)]
        if any(new is not old for new, old in pairs):
            return op(*given, **named)
        return NotImplemented if otherwise is None else otherwise(*given, **named)

    return run


def _flash_attention(op: Any) -> Callable[..., Any]:
    """GE's flash attention (16-bit types) has the scale and the number of heads as attributes."""
    position = {a.name: i for i, a in enumerate(op._schema.arguments)}["query"]

    def run(*args: Any, **kwargs: Any) -> Any:
        query, scale = args[position], kwargs.get("scale")
        if query.dtype is torch.float32:
            return NotImplemented
        heads, size = query.shape[1], query.shape[-1]
        if not any(map(_is_symbolic, (heads, size if scale is None else scale))):
            return NotImplemented
        _ = int(heads)  # a guard makes it static
        number = float(int(size)) ** -0.5 if scale is None else float(scale)
        return op(*args, **{**kwargs, "scale": number})

    return run


def _is_symbolic(value: Any) -> bool:
    """Whether a size or number depends on the inputs (a guard may have made it static)."""
    symbolic = isinstance(value, torch.SymInt | torch.SymFloat)
    return symbolic and bool(value.node.expr.free_symbols)


def _static(value: Any) -> Any:
    """The value itself when it holds no symbolic number."""
    if isinstance(value, torch.SymInt):
        return int(value)
    if isinstance(value, torch.SymFloat):
        return float(value)
    if isinstance(value, list | tuple) and any(isinstance(v, torch.SymInt) for v in value):
        return [int(v) for v in value]
    return value
