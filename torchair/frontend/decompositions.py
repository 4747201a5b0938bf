"""Which ATen operators are decomposed before import: all of PyTorch's core decompositions but those
of operators that have a converter, so that the GE graph keeps operators as whole as GE knows
them."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache
from typing import Any

import torch
from torch import Tensor
from torch._decomp import core_aten_decompositions, get_decompositions

from torchair.frontend.conditional_decompositions import conditional_decompositions
from torchair.frontend.fx_import import aten_name
from torchair.frontend.linalg_decompositions import OWN_DECOMPOSITIONS as LINALG
from torchair.frontend.model_decompositions import OWN_DECOMPOSITIONS
from torchair.frontend.polynomial_decompositions import OWN_DECOMPOSITIONS as POLYNOMIALS
from torchair.frontend.special_decompositions import OWN_DECOMPOSITIONS as SPECIAL
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
    # Outside PyTorch's core set, but it has decompositions that end in operators we convert.
    torch.ops.aten._addmm_activation,
    torch.ops.aten._batch_norm_no_update,
    torch.ops.aten._batch_norm_with_update,
    torch.ops.aten._batch_norm_with_update_functional,
    torch.ops.aten._native_batch_norm_legit,
    torch.ops.aten.addmm.dtype,
    torch.ops.aten.alpha_dropout,
    torch.ops.aten.batch_norm_backward,
    torch.ops.aten.bitwise_and.Scalar_Tensor,
    torch.ops.aten.bitwise_left_shift.Scalar_Tensor,
    torch.ops.aten.bitwise_or.Scalar_Tensor,
    torch.ops.aten.bitwise_right_shift.Scalar_Tensor,
    torch.ops.aten.bitwise_xor.Scalar_Tensor,
    torch.ops.aten.cauchy.default,
    torch.ops.aten.dist,
    torch.ops.aten.exponential.default,
    torch.ops.aten.ldexp.Tensor,
    torch.ops.aten.log_normal.default,
    torch.ops.aten.native_batch_norm,
    torch.ops.aten.rrelu_with_noise_backward,
    torch.ops.aten.uniform.default,
]


def _true_divide(self: Tensor, other: Any) -> Tensor:
    return torch.div(self, other)


def _normal(mean: Any, std: Any, generator: torch.Generator | None = None) -> Tensor:
    """``aten::normal`` with a mean or a deviation per element."""
    like = mean if isinstance(mean, Tensor) else std
    if isinstance(mean, Tensor) and isinstance(std, Tensor):
        like = mean + std
    return torch.randn_like(like, dtype=like.dtype) * std + mean


def _normal_of_size(
    mean: float, std: float, size: list[int], *, generator: torch.Generator | None = None, **kw: Any
) -> Tensor:
    return torch.randn(size, **kw) * std + mean


def _geometric(self: Tensor, p: float, generator: torch.Generator | None = None) -> Tensor:
    """Trials up to the first success; integers are drawn through float32 too."""
    dtype = self.dtype if self.dtype.is_floating_point else torch.float32
    drawn = torch.rand_like(self, dtype=dtype)
    return ((-drawn).log1p() / math.log1p(-p)).floor().add(1).to(self.dtype)


def _p_distance(difference: Tensor, p: float) -> Tensor:
    """The p-norm over the last dimension, which may be empty."""
    if difference.shape[-1] == 0:
        return difference.sum(-1)
    size = difference.abs()
    if p == 0:
        return (size != 0).to(size.dtype).sum(-1)
    if p == 1:
        return size.sum(-1)
    if p == 2:
        return (size * size).sum(-1).sqrt()
    return size.amax(-1) if p == float("inf") else size.pow(p).sum(-1).pow(1 / p)


def _cdist(x1: Tensor, x2: Tensor, p: float, compute_mode: int | None) -> Tensor:
    """Distances of all pairs of rows: [..., m, k] and [..., n, k] to [..., m, n]."""
    return _p_distance(x1.unsqueeze(-2) - x2.unsqueeze(-3), p)


def _pdist(self: Tensor, p: float = 2) -> Tensor:
    """Distances of the pairs i < j of rows: [n, k] to [n (n - 1) / 2]."""
    rows, columns = torch.triu_indices(self.shape[0], self.shape[0], 1, device=self.device)
    return _p_distance(self[rows] - self[columns], p)


def _index_reduce(
    self: Tensor, dim: int, index: Tensor, source: Tensor, reduce: str, *, include_self: bool = True
) -> Tensor:
    """Like scatter_reduce with one index per slice of ``dim``."""
    if self.dim() == 0:
        one = self.reshape(1), 0, index.reshape(-1), source.reshape(-1), reduce
        return _index_reduce(*one, include_self=include_self).reshape(())
    shape = [1] * self.dim()
    shape[dim] = -1
    places = index.reshape(shape).expand(source.shape)
    return torch.scatter_reduce(self, dim, places, source, reduce, include_self=include_self)


def _segment_reduce(
    data: Tensor,
    reduce: str,
    *,
    lengths: Tensor | None = None,
    indices: Tensor | None = None,
    offsets: Tensor | None = None,
    axis: int = 0,
    unsafe: bool = False,
    initial: float | None = None,
) -> Tensor:
    """Reduces runs of elements along ``axis``, whose lengths or bounds are given; rows after the
    last run do not count."""
    if offsets is None:
        assert lengths is not None, "segment_reduce takes lengths or offsets"
        offsets = torch.nn.functional.pad(lengths.cumsum(-1), (1, 0))
    sizes = offsets.diff(dim=-1)
    count = sizes.shape[-1]
    place = torch.arange(data.shape[axis]).expand(*sizes.shape[:-1], -1).contiguous()
    run = torch.searchsorted(offsets[..., 1:].contiguous(), place, right=True)
    trailing = [1] * (data.dim() - axis - 1)
    index = run.reshape(*run.shape, *trailing).expand(data.shape)
    shape = [*data.shape[:axis], count + 1, *data.shape[axis + 1 :]]
    start, name = _SEGMENT_STARTS[reduce]
    total = data.new_full(shape, start if initial is None else initial)
    total = torch.scatter_reduce(total, axis, index, data, name).narrow(axis, 0, count)
    if reduce != "mean":
        return total
    sizes = sizes.reshape(*sizes.shape, *trailing)
    empty = torch.full_like(total, math.nan) if initial is None else total
    return torch.where(sizes > 0, total / sizes.clamp(min=1).to(data.dtype), empty)


_SEGMENT_STARTS = {
    "sum": (0.0, "sum"),
    "mean": (0.0, "sum"),
    "prod": (1.0, "prod"),
    "max": (-math.inf, "amax"),
    "min": (math.inf, "amin"),
}
"""Value of an empty run, and how elements are joined."""


def _rrelu_with_noise(
    self: Tensor,
    noise: Tensor,
    lower: float = 0.125,
    upper: float = 1 / 3,
    training: bool = False,
    generator: torch.Generator | None = None,
) -> tuple[Tensor, Tensor]:
    if not training:
        return torch.where(self > 0, self, self * ((lower + upper) / 2)), noise
    drawn = torch.rand_like(self) * (upper - lower) + lower
    slope = torch.where(self > 0, torch.ones_like(self), drawn)
    return self * slope, slope


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


def _empty_permuted(size: list[int], physical_layout: list[int], **kw: Any) -> Tensor:
    kept = {k: v for k, v in kw.items() if k in ("dtype", "device") and v is not None}
    places = [physical_layout.index(i) for i in range(len(size))]
    return torch.empty([size[i] for i in physical_layout], **kept).permute(places)


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


def _histogram(
    self: Tensor, bins: Tensor, *, weight: Tensor | None = None, density: bool = False
) -> tuple[Tensor, Tensor]:
    """Weights per bin between increasing edges; the last edge belongs to the last bin."""
    values = self.reshape(-1)
    count = bins.shape[0] - 1
    place = torch.searchsorted(bins, values, right=True) - 1
    place = torch.where(values == bins[-1], count - 1, place)
    inside = (place >= 0) & (place < count)
    amount = inside.to(self.dtype) if weight is None else weight.reshape(-1) * inside
    hist = self.new_zeros(count).scatter_add(0, torch.where(inside, place, 0), amount)
    if density:
        hist = hist / (hist.sum() * (bins[1:] - bins[:-1]))
    return hist, bins.clone()


def _histogram_of_count(
    self: Tensor,
    bins: int = 100,
    *,
    range: list[float] | None = None,
    weight: Tensor | None = None,
    density: bool = False,
) -> tuple[Tensor, Tensor]:
    lower: Any
    upper: Any
    lower, upper = range if range is not None else (self.amin(), self.amax())
    if range is None:
        widening = torch.eq(lower, upper).to(self.dtype) * 0.5
        lower, upper = lower - widening, upper + widening
    step = (upper - lower) / bins
    index = torch.arange(bins + 1, device=self.device)
    edges = torch.where(index <= bins // 2, lower + step * index, upper - step * (bins - index))
    return _histogram(self, edges, weight=weight, density=density)


_OWN: dict[Any, Callable[..., Any]] = {
    torch.ops.aten.true_divide.Tensor: _true_divide,
    torch.ops.aten.true_divide.Scalar: _true_divide,
    torch.ops.aten.normal.Tensor_Tensor: _normal,
    torch.ops.aten.normal.Tensor_float: _normal,
    torch.ops.aten.normal.float_Tensor: _normal,
    torch.ops.aten.normal.float_float: _normal_of_size,
    torch.ops.aten.geometric.default: _geometric,
    torch.ops.aten._cdist_forward.default: _cdist,
    torch.ops.aten._pdist_forward.default: _pdist,
    torch.ops.aten.index_reduce.default: _index_reduce,
    torch.ops.aten.rrelu_with_noise_functional.default: _rrelu_with_noise,
    torch.ops.aten.histc.default: _histc,
    torch.ops.aten.segment_reduce.default: _segment_reduce,
    torch.ops.aten.empty_permuted.default: _empty_permuted,
    torch.ops.aten.adaptive_max_pool3d.default: _adaptive_max_pool3d,
    torch.ops.aten.mode.default: _mode,
    torch.ops.aten.histogram.bins_tensor: _histogram,
    torch.ops.aten.histogram.bin_ct: _histogram_of_count,
}
"""Where PyTorch has no decomposition; a converter of the operator takes precedence."""


@cache
def _core() -> dict[Any, Callable[..., Any]]:
    return {**core_aten_decompositions(), **get_decompositions(_EXTRA), **_OWN}


def default_decompositions() -> dict[Any, Callable[..., Any]]:
    """The decomposition table for AOT autograd."""
    known = converters()
    table = {
        op: function
        for op, function in _core().items()
        if not isinstance(op, torch._ops.OpOverload) or aten_name(op) not in known
    }
    own = {**OWN_DECOMPOSITIONS, **LINALG, **SPECIAL, **POLYNOMIALS}
    return {**table, **conditional_decompositions(), **own}
