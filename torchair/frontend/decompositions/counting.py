"""Decompositions of operators that count: histograms, the most frequent value, unique slices."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

aten = torch.ops.aten


def _histc(self: Tensor, bins: int = 100, min: float = 0, max: float = 0) -> Tensor:
    """Counts per bin; a range of zero width means the range of the data."""
    values = self.reshape(-1)
    if min == max:
        lower, upper = values.amin(), values.amax()
        widening = torch.eq(lower, upper).to(values.dtype)
        lower, upper = lower - widening, upper + widening
    else:
        lower, upper = (values.new_full((), end) for end in (min, max))
    inside = (values >= lower) & (values <= upper)
    place = ((values - lower) / (upper - lower) * bins).floor().clamp(0, bins - 1)
    counted = inside.to(self.dtype)
    index = torch.where(inside, place, torch.zeros_like(place)).to(torch.int64)
    return self.new_zeros(bins).scatter_add(0, index, counted)


_LONGEST_MODE = 4096
"""Longest row whose elements are all compared with each other."""


def _mode(self: Tensor, dim: int = -1, keepdim: bool = False) -> tuple[Tensor, Tensor]:
    """The smallest of the most frequent values of a row, and its last position."""
    if self.dim() == 0:
        return self.clone(), torch.zeros_like(self, dtype=torch.int64)
    if self.shape[dim] > _LONGEST_MODE:
        return NotImplemented
    rows = self.movedim(dim, -1)
    count = (rows.unsqueeze(-1) == rows.unsqueeze(-2)).to(torch.int32).sum(-1)
    frequent = count == count.amax(-1, keepdim=True)
    value = torch.where(frequent, rows, _greatest(self.dtype)).amin(-1, keepdim=True)
    places = torch.arange(rows.shape[-1], device=self.device)
    place = torch.where(frequent & (rows == value), places, -1).amax(-1, keepdim=True)
    found = [x.movedim(-1, dim) if keepdim else x.squeeze(-1) for x in (value, place)]
    return found[0], found[1]


def _greatest(dtype: torch.dtype) -> Any:
    if dtype is torch.bool:
        return True
    return float("inf") if dtype.is_floating_point else torch.iinfo(dtype).max


def _even_edges(values: Tensor, bins: int, ends: list[float] | None) -> Tensor:
    """Bin edges over a range, or over the range of the data; rounded from the nearer end."""
    lower: Any
    upper: Any
    lower, upper = ends if ends is not None else (values.amin(), values.amax())
    if ends is None:
        widening = torch.eq(lower, upper).to(values.dtype) * 0.5
        lower, upper = lower - widening, upper + widening
    step = (upper - lower) / bins
    index = torch.arange(bins + 1, device=values.device)
    edges = torch.where(index <= bins // 2, lower + step * index, upper - step * (bins - index))
    return edges.to(values.dtype)


def _places(values: Tensor, edges: Tensor) -> Tensor:
    """The bin of each value, -1 outside; the last edge belongs to the last bin."""
    count = edges.shape[0] - 1
    place = torch.searchsorted(edges, values.contiguous(), right=True) - 1
    place = torch.where(values == edges[-1], count - 1, place)
    return torch.where(place < count, place, -1)


def _histogramdd(
    self: Tensor, bins: list[Tensor], *, weight: Tensor | None = None, density: bool = False
) -> Tensor:
    """Weights per box between increasing edges of each column."""
    rows = self.reshape(-1, self.shape[-1])
    counts = [edges.shape[0] - 1 for edges in bins]
    index = torch.zeros_like(rows[:, 0], dtype=torch.int64)
    inside = torch.ones_like(index, dtype=torch.bool)
    for column, (edges, count) in enumerate(zip(bins, counts, strict=True)):
        place = _places(rows[:, column], edges)
        index, inside = index * count + place, inside & (place >= 0)
    amount = inside.to(self.dtype) if weight is None else weight.reshape(-1) * inside
    size = math.prod(counts)
    hist = self.new_zeros(size).scatter_add(0, torch.where(inside, index, 0), amount)
    hist = hist.reshape(counts)
    if not density:
        return hist
    hist = hist / hist.sum()
    for column, edges in enumerate(bins):
        shape = [1] * len(bins)
        shape[column] = -1
        hist = hist / (edges[1:] - edges[:-1]).reshape(shape)
    return hist


def _histogramdd_edges(
    self: Tensor,
    bins: list[int],
    *,
    range: list[float] | None = None,
    weight: Tensor | None = None,
    density: bool = False,
) -> list[Tensor]:
    rows = self.reshape(-1, self.shape[-1])
    ends = [None] * len(bins) if range is None else list(zip(range[::2], range[1::2], strict=True))
    return [
        _even_edges(rows[:, i], count, None if end is None else list(end))
        for i, (count, end) in enumerate(zip(bins, ends, strict=True))
    ]


def _histogramdd_of_counts(
    self: Tensor,
    bins: list[int],
    *,
    range: list[float] | None = None,
    weight: Tensor | None = None,
    density: bool = False,
) -> Tensor:
    edges = _histogramdd_edges(self, bins, range=range)
    return _histogramdd(self, edges, weight=weight, density=density)


def _histogram(
    self: Tensor, bins: Tensor, *, weight: Tensor | None = None, density: bool = False
) -> tuple[Tensor, Tensor]:
    values = self.reshape(-1, 1)
    return _histogramdd(values, [bins], weight=weight, density=density), bins.clone()


def _histogram_of_count(
    self: Tensor,
    bins: int = 100,
    *,
    range: list[float] | None = None,
    weight: Tensor | None = None,
    density: bool = False,
) -> tuple[Tensor, Tensor]:
    edges = _even_edges(self, bins, range)
    return _histogramdd(self.reshape(-1, 1), [edges], weight=weight, density=density), edges


_MOST_COLUMNS = 256
"""Widest rows that are sorted column by column."""


def _unique_dim(
    self: Tensor,
    dim: int,
    sorted: bool = True,
    return_inverse: bool = False,
    return_counts: bool = False,
) -> tuple[Tensor, Tensor, Tensor]:
    """Slices in lexicographic order, each once: a stable sort by every element, the last first."""
    if self.numel() == 0:
        inverse, counts = (self.new_zeros(0, dtype=torch.int64) for _ in range(2))
        return self.clone(), inverse, counts
    rows = self.movedim(dim, 0).flatten(1) if self.dim() > 1 else self.unsqueeze(-1)
    columns = int(rows.shape[1])
    if columns > _MOST_COLUMNS:
        return NotImplemented
    keys = rows.to(torch.uint8) if rows.dtype is torch.bool else rows
    order = torch.arange(rows.shape[0], device=self.device)
    for column in reversed(range(columns)):
        order = order[keys[:, column][order].argsort(stable=True)]
    ordered = self.index_select(dim, order)
    found, run, counts = torch.unique_consecutive(ordered, True, True, dim)
    inverse = torch.zeros_like(order).scatter(0, order, run)
    return found, inverse, counts


OWN_DECOMPOSITIONS: dict[Any, Callable[..., Any]] = {
    aten.histc.default: _histc,
    aten.mode.default: _mode,
    aten.histogram.bins_tensor: _histogram,
    aten.histogram.bin_ct: _histogram_of_count,
    aten._histogramdd_bin_edges.default: _histogramdd_edges,
    aten._histogramdd_from_bin_cts.default: _histogramdd_of_counts,
    aten._histogramdd_from_bin_tensors.default: _histogramdd,
    aten.unique_dim.default: _unique_dim,
}
"""Decompositions by OpOverload; NotImplemented leaves a call whole."""
