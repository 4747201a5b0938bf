"""Numbers in GE graphs: float attributes and most constants are float32, PyTorch's are doubles."""

from __future__ import annotations

import struct
from functools import lru_cache
from typing import Any

import torch

from torchair.backend_ge.host.tracing import DataDependentError, known_tensor, real_execution

Number = int | float | bool


@lru_cache(maxsize=4096)
def written(value: float) -> float:
    """The number that was probably written for a float32: the shortest decimal that rounds to it.

    0.1 becomes float32 0.100000001 in a GE attribute; a float64 computation, or one that derives
    another number from it, means 0.1.
    """
    for digits in range(1, 10):
        candidate = float(f"{value:.{digits}g}")
        if _to_single(candidate) == value:
            return candidate
    return value


def _to_single(value: float) -> float:
    try:
        return struct.unpack("f", struct.pack("f", value))[0]
    except OverflowError:
        return float("nan")


def value_of(tensor: torch.Tensor) -> Number:
    """The value of a 0-d tensor that is known when the graph is specialised.

    Raises:
        DataDependentError: it is only known when the graph runs.
    """
    value: Any = known_tensor(tensor).tolist()
    return written(value) if tensor.dtype is torch.float32 else value


def known_number(tensor: torch.Tensor) -> Number | None:
    """The value of a 0-d tensor that is constant in this graph, else None."""
    if tensor.dim() or tensor.is_complex():
        return None
    try:
        return value_of(tensor)
    except DataDependentError:
        return None


@lru_cache(maxsize=4096)
def in_type(value: float, dtype: torch.dtype) -> float:
    """A number rounded to a data type."""
    with real_execution():
        return torch.tensor(value, dtype=dtype).item()
