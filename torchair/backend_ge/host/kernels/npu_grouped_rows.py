"""Products of groups of rows or columns with a matrix each.

How large the groups are is data, so each function is one call of a host program, which slices when
it runs; its result's shape follows from shapes alone.
"""

from __future__ import annotations

import torch
from torch import Tensor

_library = torch.library.Library("torchair_host", "FRAGMENT")
_library.define("row_groups(Tensor x, Tensor weight, Tensor ends) -> Tensor")
_library.define("column_groups(Tensor x, Tensor weight, Tensor ends) -> Tensor")


def row_groups(x: Tensor, weight: Tensor, ends: Tensor) -> Tensor:
    """Rows of ``x`` times the matrix of their group.

    Args:
        x: ``[rows, inner]``.
        weight: ``[groups, inner, columns]``.
        ends: where the rows of each group end, ``[groups]`` int64.

    Returns:
        ``[rows, columns]``, zero beyond the last group: float32, or float64 of two integer types,
        where it is exact.
    """
    return torch.ops.torchair_host.row_groups(x, weight, ends)


def column_groups(x: Tensor, weight: Tensor, ends: Tensor) -> Tensor:
    """Per group, its columns of ``x`` times its rows of ``weight``.

    Args:
        x: ``[rows, inner]``.
        weight: ``[inner, columns]``.
        ends: where the inner places of each group end, ``[groups]`` int64.

    Returns:
        ``[groups, rows, columns]`` float32.
    """
    return torch.ops.torchair_host.column_groups(x, weight, ends)


def _dtype(x: Tensor, weight: Tensor) -> torch.dtype:
    is_exact = not x.is_floating_point() and not weight.is_floating_point()
    return torch.float64 if is_exact else torch.float32


def _row_groups(x: Tensor, weight: Tensor, ends: Tensor) -> Tensor:
    dtype = _dtype(x, weight)
    result = torch.zeros(x.shape[0], weight.shape[-1], dtype=dtype)
    start = 0
    for group, end in enumerate(ends.tolist()):
        end = min(end, x.shape[0])
        if end > start:
            torch.matmul(x[start:end].to(dtype), weight[group].to(dtype), out=result[start:end])
        start = max(start, end)
    return result


def _row_groups_shape(x: Tensor, weight: Tensor, ends: Tensor) -> Tensor:
    return x.new_empty(x.shape[0], weight.shape[-1], dtype=_dtype(x, weight))


def _column_groups(x: Tensor, weight: Tensor, ends: Tensor) -> Tensor:
    result = torch.zeros(ends.shape[0], x.shape[0], weight.shape[-1])
    start = 0
    for group, end in enumerate(ends.tolist()):
        if end > start:
            part = x[:, start:end].float(), weight[start:end].float()
            torch.matmul(*part, out=result[group])
        start = max(start, end)
    return result


def _column_groups_shape(x: Tensor, weight: Tensor, ends: Tensor) -> Tensor:
    return x.new_empty(ends.shape[0], x.shape[0], weight.shape[-1], dtype=torch.float32)


_library.impl("row_groups", _row_groups, "CPU")
_library.impl("row_groups", _row_groups_shape, "Meta")
_library.impl("column_groups", _column_groups, "CPU")
_library.impl("column_groups", _column_groups_shape, "Meta")
