"""Kernels of reductions, cumulative functions and norms."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from torchair.backend_ge.host.kernels.registry import ints, kernel


def _axes(x: Tensor, axes: Tensor) -> list[int]:
    """Axes as GE takes them: none means all of them."""
    return ints(axes) or list(range(x.dim()))


@kernel("ReduceSum")
def reduce_sum(x: Tensor, axes: Tensor, keep_dims: bool) -> Tensor:
    return torch.sum(x, _axes(x, axes), keep_dims, dtype=x.dtype)


@kernel("ReduceSumD")
def reduce_sum_d(x: Tensor, axes: list[int], keep_dims: bool) -> Tensor:
    return torch.sum(x, axes, keep_dims, dtype=x.dtype)


@kernel("ReduceMean")
def reduce_mean(x: Tensor, axes: Tensor, keep_dims: bool, noop_with_empty_axes: bool) -> Tensor:
    dims = ints(axes)
    if not dims and noop_with_empty_axes:
        return x
    return _mean(x, dims or list(range(x.dim())), keep_dims)


def _mean(x: Tensor, dims: list[int], keep_dims: bool) -> Tensor:
    if x.is_floating_point() or x.is_complex():
        return torch.mean(x, dims, keep_dims)
    total = torch.sum(x, dims, keep_dims, dtype=torch.int64)
    count = 1
    for dim in dims:
        count *= x.shape[dim]
    return torch.div(total, count, rounding_mode="trunc").to(x.dtype)


@kernel("ReduceMax")
def reduce_max(x: Tensor, axes: Tensor, keep_dims: bool) -> Tensor:
    return torch.amax(x, _axes(x, axes), keep_dims)


@kernel("ReduceMin")
def reduce_min(x: Tensor, axes: Tensor, keep_dims: bool) -> Tensor:
    return torch.amin(x, _axes(x, axes), keep_dims)


@kernel("ReduceProd")
def reduce_prod(x: Tensor, axes: Tensor, keep_dims: bool) -> Tensor:
    return _product(x, _axes(x, axes), keep_dims)


@kernel("ReduceProdD")
def reduce_prod_d(x: Tensor, axes: list[int], keep_dims: bool) -> Tensor:
    return _product(x, axes, keep_dims)


def _product(x: Tensor, axes: list[int], keep_dims: bool) -> Tensor:
    if len(axes) == x.dim() and not keep_dims:
        return torch.prod(x, dtype=x.dtype)
    for axis in sorted((a % x.dim() for a in axes), reverse=True):
        x = torch.prod(x, axis, keep_dims, dtype=x.dtype)
    return x


@kernel("ReduceAll")
def reduce_all(x: Tensor, axes: Tensor, keep_dims: bool) -> Tensor:
    return torch.all(x, _axes(x, axes), keep_dims)


@kernel("ReduceAny")
def reduce_any(x: Tensor, axes: Tensor, keep_dims: bool) -> Tensor:
    return torch.any(x, _axes(x, axes), keep_dims)


@kernel("ReduceLogSum")
def reduce_log_sum(x: Tensor, axes: Tensor, keep_dims: bool) -> Tensor:
    return torch.log(torch.sum(x, _axes(x, axes), keep_dims))


@kernel("ReduceLogSumExp")
def reduce_log_sum_exp(x: Tensor, axes: Tensor, keep_dims: bool) -> Tensor:
    return torch.log(torch.sum(torch.exp(x), _axes(x, axes), keep_dims))


@kernel("ReduceStdV2")
def reduce_std_v2(
    x: Tensor, dim: list[int], correction: int, keepdim: bool, is_mean_out: bool
) -> tuple[Tensor, Tensor]:
    return torch.std_mean(x, dim or None, correction=correction, keepdim=keepdim)


@kernel("ReduceStd")
def reduce_std(x: Tensor, dim: list[int], unbiased: bool, keepdim: bool) -> tuple[Tensor, Tensor]:
    return torch.std_mean(x, dim or None, correction=int(unbiased), keepdim=keepdim)


@kernel("ReduceMeanVariance")
def reduce_mean_variance(x: Tensor, axes: list[int], keep_dims: bool) -> tuple[Tensor, Tensor]:
    variance, mean = torch.var_mean(x, axes or None, correction=0, keepdim=keep_dims)
    return mean, variance


@kernel("ArgMaxV2")
def arg_max_v2(x: Tensor, dimension: Tensor, dtype: torch.dtype) -> Tensor:
    return torch.argmax(x, ints(dimension)[0]).to(dtype)


@kernel("ArgMin")
def arg_min(x: Tensor, dimension: Tensor, dtype: torch.dtype) -> Tensor:
    return torch.argmin(x, ints(dimension)[0]).to(dtype)


@kernel("ArgMaxWithValue")
def arg_max_with_value(x: Tensor, dimension: int, keep_dims: bool) -> tuple[Tensor, Tensor]:
    values, indices = torch.max(x, dimension, keep_dims)
    return indices.to(torch.int32), values


@kernel("ArgMinWithValue")
def arg_min_with_value(x: Tensor, dimension: int, keep_dims: bool) -> tuple[Tensor, Tensor]:
    values, indices = torch.min(x, dimension, keep_dims)
    return indices.to(torch.int32), values


@kernel("Cumsum")
def cumsum(x: Tensor, axis: Tensor, exclusive: bool, reverse: bool) -> Tensor:
    return _running(torch.cumsum, x, axis, exclusive, reverse, 0)


@kernel("Cumprod")
def cumprod(x: Tensor, axis: Tensor, exclusive: bool, reverse: bool) -> Tensor:
    return _running(torch.cumprod, x, axis, exclusive, reverse, 1)


@kernel("CumulativeLogsumexp")
def cumulative_logsumexp(x: Tensor, axis: Tensor, exclusive: bool, reverse: bool) -> Tensor:
    return _running(torch.logcumsumexp, x, axis, exclusive, reverse, float("-inf"))


def _running(
    function: Callable[[Tensor, int], Tensor],
    x: Tensor,
    axis: Tensor,
    exclusive: bool,
    reverse: bool,
    neutral: float,
) -> Tensor:
    """Running results along an axis; exclusive ones leave the element itself out."""
    dim = ints(axis)[0]
    x = x.flip(dim) if reverse else x
    if exclusive and x.shape[dim]:
        first = torch.full_like(x.narrow(dim, 0, 1), neutral)
        x = torch.cat([first, x.narrow(dim, 0, x.shape[dim] - 1)], dim)
    result = function(x, dim).to(x.dtype)
    return result.flip(dim) if reverse else result


@kernel("Cummax")
def cummax(x: Tensor, dim: int) -> tuple[Tensor, Tensor]:
    return torch.cummax(x, dim)


@kernel("Cummin")
def cummin(x: Tensor, axis: int) -> tuple[Tensor, Tensor]:
    return torch.cummin(x, axis)


@kernel("LpNormV2", "LpNorm")
def lp_norm_v2(x: Tensor, p: float, axes: list[int], keepdim: bool, epsilon: float) -> Tensor:
    norm = torch.linalg.vector_norm(x, p, axes or None, keepdim)
    return torch.clamp(norm, min=epsilon) if epsilon else norm
