"""Statistics of tensors in the log (``record_statistics_debug_info``)."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

import torch

from torchair.backend_ge.runtime.aten_graph import AtenGraph

_logger = logging.getLogger("torchair")


def log_statistics(
    name: str, graph: AtenGraph, inputs: Sequence[Any], outputs: Sequence[torch.Tensor]
) -> None:
    """Log one line per tensor input and output at level DEBUG."""
    if not _logger.isEnabledFor(logging.DEBUG):
        return
    for argument, value in zip(graph.arguments, inputs, strict=True):
        if isinstance(value, torch.Tensor):
            _logger.debug("%s %s %s: %s", name, argument.kind, argument.label, describe(value))
    for index, value in enumerate(outputs):
        _logger.debug("%s output %d: %s", name, index, describe(value))


def describe(tensor: torch.Tensor) -> str:
    """Type, shape, minimum, maximum, mean and norm of a tensor; NaN and inf are counted."""
    kind = f"{str(tensor.dtype).removeprefix('torch.')}{list(tensor.shape)}"
    if tensor.numel() == 0 or tensor.is_complex():
        return kind
    values = tensor.detach().double()
    finite = values[values.isfinite()]
    odd = values.numel() - finite.numel()
    if finite.numel() == 0:
        return f"{kind} all {odd} elements are NaN or infinite"
    low, high, mean, norm = finite.min(), finite.max(), finite.mean(), finite.norm()
    text = f"{kind} min {low:.6g} max {high:.6g} mean {mean:.6g} norm {norm:.6g}"
    return f"{text}, {odd} NaN or infinite" if odd else text
