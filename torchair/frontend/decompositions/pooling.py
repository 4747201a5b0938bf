"""Decompositions of maximum pooling over windows that are not evenly placed."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

aten = torch.ops.aten


def _adaptive_max_pool3d(self: Tensor, output_size: list[int]) -> tuple[Tensor, Tensor]:
    """Windows of unequal length repeat their last element, which changes neither maximum nor place.

    Shapes: [..., depth, height, width] to [..., *output_size], twice.
    """
    sizes = [int(n) for n in self.shape[-3:]]
    columns = [_windows(n, m, self.device) for n, m in zip(sizes, output_size, strict=True)]
    place = torch.arange(math.prod(sizes), device=self.device).reshape(sizes)
    values, place = (_take_windows(x, columns) for x in (self, place))
    pooled, local = values.max(-1)
    picked = place.expand(values.shape).gather(-1, local.unsqueeze(-1)).squeeze(-1)
    return pooled, picked


def _windows(size: int, count: int, device: torch.device) -> Tensor:
    """Positions of each adaptive window: [count, longest window]."""
    longest = max(
        (-(-(i + 1) * size // count) - i * size // count for i in range(count)), default=1
    )
    first = torch.arange(count, device=device) * size
    last = (first + (size + count - 1)) // count - 1
    row = torch.arange(longest, device=device)
    return torch.minimum((first // count).unsqueeze(-1) + row, last.unsqueeze(-1))


def _take_windows(values: Tensor, windows: list[Tensor]) -> Tensor:
    """[..., d, h, w] to [..., count_d, count_h, count_w, elements of a window]."""
    lead = values.dim() - 3
    for i, window in enumerate(windows):
        dim = lead + 2 * i
        taken = values.index_select(dim, window.reshape(-1))
        values = taken.unflatten(dim, window.shape)
    order = [lead, lead + 2, lead + 4, lead + 1, lead + 3, lead + 5]
    return values.permute([*range(lead), *order]).flatten(-3)


def _fractional_max_pool(
    self: Tensor, kernel_size: list[int], output_size: list[int], random_samples: Tensor
) -> tuple[Tensor, Tensor]:
    """Windows of one size whose places follow a random offset per plane.

    Shapes: self [..., *sizes] to [..., *output_size], twice; random_samples [N, C, dimensions].
    """
    rank = len(kernel_size)
    sizes = [int(n) for n in self.shape[-rank:]]
    offsets = random_samples.reshape(-1, rank).to(self.dtype)
    # Two dimensions take their offsets as (width, height), three as (depth, height, width).
    columns = [offsets[:, i] for i in (range(rank) if rank == 3 else (1, 0))]
    place = torch.zeros([1] * (2 * rank + 1), dtype=torch.int64, device=self.device)
    for i, column in enumerate(columns):
        start = _fractional_starts(column, sizes[i], output_size[i], kernel_size[i])
        window = start.unsqueeze(-1) + torch.arange(kernel_size[i], device=self.device)
        shape = [1] * (2 * rank + 1)
        shape[0], shape[1 + i], shape[1 + rank + i] = -1, output_size[i], kernel_size[i]
        place = place * sizes[i] + window.reshape(shape)
    planes = self.reshape(-1, math.prod(sizes))
    flat = place.flatten(1)
    values = planes.gather(1, flat).reshape(place.shape).flatten(-rank)
    pooled, local = values.max(-1)
    picked = place.flatten(-rank).gather(-1, local.unsqueeze(-1)).squeeze(-1)
    shape = [*self.shape[:-rank], *output_size]
    return pooled.reshape(shape), picked.reshape(shape)


def _fractional_starts(offset: Tensor, size: int, count: int, kernel: int) -> Tensor:
    """First element of each window: [planes, count]; the last window ends at the end."""
    last = torch.full_like(offset, size - kernel, dtype=torch.int64).unsqueeze(-1)
    if count == 1:
        return last
    step = torch.full_like(offset, size - kernel) / (count - 1)
    index = torch.arange(count - 1, device=offset.device)
    start = ((index + offset.unsqueeze(-1)) * step.unsqueeze(-1)).to(torch.int64)
    return torch.cat([start - (offset * step).to(torch.int64).unsqueeze(-1), last], -1)


OWN_DECOMPOSITIONS: dict[Any, Callable[..., Any]] = {
    aten.adaptive_max_pool3d.default: _adaptive_max_pool3d,
    aten.fractional_max_pool2d.default: _fractional_max_pool,
    aten.fractional_max_pool3d.default: _fractional_max_pool,
}
"""Decompositions by OpOverload."""
