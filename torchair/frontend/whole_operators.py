"""Keeps interpolation whole while a graph is traced, and one loss that PyTorch takes apart wrongly.

PyTorch gives these operators Python kernels that take them apart before any decomposition table is
asked: a dozen index computations instead of one operator that GE has.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch._C import DispatchKey
from torch._decomp.decompositions import upsample_compute_output_size

from torchair.frontend.fx_import import aten_name
from torchair.passes.convert_aten_to_ge.registry import find

_OPERATORS = (
    "upsample_nearest1d",
    "upsample_nearest2d",
    "upsample_nearest3d",
    "_upsample_nearest_exact2d",
    "upsample_linear1d",
    "upsample_bilinear2d",
    "upsample_trilinear3d",
    "upsample_bicubic2d",
)
_WRONG_IN_PYTORCH = (torch.ops.aten.multilabel_margin_loss_forward.default,)
"""Their Python kernels differ from eager: labels after the first -1 count."""
_IMPLICIT = DispatchKey.CompositeImplicitAutograd
_KEYS = (_IMPLICIT, DispatchKey.Autograd)
_lock = threading.RLock()


@contextmanager
def whole_operators() -> Iterator[None]:
    """Switch those Python kernels off, for operators that have a converter.

    Where the gradient has none, they stay on for tensors that need one. The kernels belong to the
    process, so two threads take turns.
    """
    with _lock:
        saved: list[tuple[Any, dict[Any, Any]]] = []
        try:
            for operator in _WRONG_IN_PYTORCH:
                saved.append(_save(operator))
                operator.py_kernels.pop(DispatchKey.Autograd, None)
            for name in _OPERATORS:
                packet = getattr(torch.ops.aten, name)
                if find(aten_name(packet.default)) is not None:
                    saved += [_save(op) for op in (packet.default, packet.vec)]
                    saved += _make_whole(packet, getattr(torch.ops.aten, f"{name}_backward"))
            yield
        finally:
            for operator, kernels in reversed(saved):
                operator.py_kernels.clear()
                operator.py_kernels.update(kernels)
                operator._dispatch_cache.clear()


def _save(operator: Any) -> tuple[Any, dict[Any, Any]]:
    operator._dispatch_cache.clear()
    return operator, dict(operator.py_kernels)


def _make_whole(packet: Any, gradient: Any) -> list[tuple[Any, dict[Any, Any]]]:
    """Replace the kernels of one operator; returns what else was changed."""
    whole, optional = packet.default, packet.vec
    apart = optional.py_kernels[_IMPLICIT]
    for key in _KEYS:
        whole.py_kernels.pop(key, None)
        optional.py_kernels.pop(key, None)
    if find(aten_name(gradient.default)) is None:
        optional.py_kernels[_IMPLICIT] = _unless_differentiated(_to_sizes(whole), apart)
        return []
    optional.py_kernels[_IMPLICIT] = _to_sizes(whole)
    saved = _save(gradient.default)
    gradient.default.py_kernels.setdefault(DispatchKey.Meta, _gradient_like_input)
    return [saved]


def _gradient_like_input(grad: Tensor, output_size: Any, input_size: Any, *rest: Any) -> Tensor:
    """Shape function of an interpolation's gradient; PyTorch's own takes no symbolic sizes."""
    return grad.new_empty(input_size)


def _unless_differentiated(
    whole: Callable[..., Tensor], apart: Callable[..., Tensor]
) -> Callable[..., Tensor]:
    def run(input: Tensor, *rest: Any) -> Tensor:
        needed = torch.is_grad_enabled() and input.requires_grad
        return apart(input, *rest) if needed else whole(input, *rest)

    return run


def _to_sizes(operator: Any) -> Callable[..., Tensor]:
    """The form that takes optional sizes and factors, in terms of the one that takes sizes."""

    def run(input: Tensor, output_size: Any, *rest: Any) -> Tensor:
        *flags, scale_factors = rest
        size: Any = upsample_compute_output_size(input.size(), output_size, scale_factors)
        scales = scale_factors or [None] * len(size)
        return operator(input, size, *flags, *scales)

    return run
