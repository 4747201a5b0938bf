"""Keeps interpolation whole while a graph is traced.

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
_KEYS = (DispatchKey.CompositeImplicitAutograd, DispatchKey.Autograd)
_lock = threading.RLock()


@contextmanager
def whole_operators() -> Iterator[None]:
    """Switch those Python kernels off, for operators that have a converter.

    The kernels belong to the process, so two threads take turns.
    """
    with _lock:
        removed: list[tuple[Any, dict[Any, Any]]] = []
        try:
            for name in _OPERATORS:
                packet = getattr(torch.ops.aten, name)
                if find(aten_name(packet.default)) is not None:
                    removed += [_remove(packet.default), _remove(packet.vec)]
                    packet.vec.py_kernels[_KEYS[0]] = _to_sizes(packet.default)
            yield
        finally:
            for operator, kernels in reversed(removed):
                operator.py_kernels.pop(_KEYS[0], None)
                operator.py_kernels.update(kernels)
                operator._dispatch_cache.clear()


def _remove(operator: Any) -> tuple[Any, dict[Any, Any]]:
    kernels = {key: operator.py_kernels.pop(key) for key in _KEYS if key in operator.py_kernels}
    operator._dispatch_cache.clear()
    return operator, kernels


def _to_sizes(operator: Any) -> Callable[..., Tensor]:
    """The form that takes optional sizes and factors, in terms of the one that takes sizes."""

    def run(input: Tensor, output_size: Any, *rest: Any) -> Tensor:
        *flags, scale_factors = rest
        size: Any = upsample_compute_output_size(input.size(), output_size, scale_factors)
        scales = scale_factors or [None] * len(size)
        return operator(input, size, *flags, *scales)

    return run
