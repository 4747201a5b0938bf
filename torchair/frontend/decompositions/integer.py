"""Convolution, pooling and greatest common divisors of integers, and of float64 where GE has none:
exact, in terms of slices, products and sums."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

aten = torch.ops.aten

_INTEGERS = (torch.int64, torch.int32, torch.int16, torch.uint8)
_EXACT = (*_INTEGERS, torch.float64)
_GCD_STEPS = 50
"""Steps of Euclid's algorithm after which both numbers are below 2**31: each two steps at least
divide by the golden ratio squared, and 33 of 64 bits must go."""


def _per_dim(values: Sequence[int], spatial: int, default: Sequence[int] = ()) -> list[int]:
    given = list(values) or list(default)
    return given * spatial if len(given) == 1 else given


def _windows(
    x: Tensor, kernel: Sequence[int], stride: list[int], dilation: list[int], count: Sequence[int]
) -> Iterator[Tensor]:
    """For each element of the kernel, what stands under it in every window: [..., *count]."""
    lead = x.dim() - len(kernel)
    for place in itertools.product(*map(range, kernel)):
        part = x
        for d, offset in enumerate(place):
            start = offset * dilation[d]
            end = start + (count[d] - 1) * stride[d] + 1
            part = aten.slice.Tensor(part, lead + d, start, end, stride[d])
        yield part


def _pad(x: Tensor, before: list[int], after: Sequence[int], value: float = 0) -> Tensor:
    pairs = zip(reversed(before), reversed(list(after)), strict=True)
    return functional.pad(x, [amount for pair in pairs for amount in pair], value=value)


def _convolution(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    stride: list[int],
    padding: list[int],
    dilation: list[int],
    transposed: bool,
    output_padding: list[int],
    groups: int,
) -> Tensor:
    """As one product of matrices per group; [N, C, *sizes] to [N, O, *counts]."""
    spatial = weight.dim() - 2
    lists = (stride, padding, dilation, output_padding)
    stride, padding, dilation, output_padding = (_per_dim(v, spatial) for v in lists)
    extra = [0] * spatial
    if transposed:
        input, weight = _spread(input, stride), _turned(weight, groups)
        reach = [d * (k - 1) for d, k in zip(dilation, weight.shape[2:], strict=True)]
        padding = [r - p for r, p in zip(reach, padding, strict=True)]
        stride, extra = [1] * spatial, output_padding
    x = _pad(input, padding, [p + e for p, e in zip(padding, extra, strict=True)])
    kernel = [int(k) for k in weight.shape[2:]]
    sizes = zip(x.shape[2:], dilation, kernel, stride, strict=True)
    count = [(n - d * (k - 1) - 1) // s + 1 for n, d, k, s in sizes]
    taken = torch.stack(list(_windows(x, kernel, stride, dilation, count)), 2)
    inner = weight.shape[1] * math.prod(kernel)
    columns = taken.reshape(x.shape[0], groups, inner, math.prod(count))
    rows = weight.reshape(groups, weight.shape[0] // groups, inner)
    found = torch.matmul(rows, columns).reshape(x.shape[0], weight.shape[0], *count)
    return found if bias is None else found + bias.reshape(-1, *[1] * spatial)


def _spread(x: Tensor, stride: list[int]) -> Tensor:
    """Zeros between neighbours, as many as a transposed convolution steps over."""
    for d, step in enumerate(stride):
        if step > 1:
            size = (x.shape[d + 2] - 1) * step + 1
            x = functional.pad(x.unsqueeze(d + 3), [0] * 2 * (x.dim() - d - 3) + [0, step - 1])
            x = x.flatten(d + 2, d + 3).narrow(d + 2, 0, size)
    return x


def _turned(weight: Tensor, groups: int) -> Tensor:
    """The weight of a transposed convolution as that of a convolution: [O, C / groups, *kernel]."""
    apart = weight.unflatten(0, (groups, weight.shape[0] // groups)).transpose(1, 2)
    return apart.flatten(0, 1).flip(list(range(2, weight.dim())))


def _pooled_count(n: int, kernel: int, stride: int, padding: int, ceil_mode: bool) -> int:
    """Number of windows; the last one must begin inside the input or its left padding."""
    room = n + 2 * padding - kernel
    count = (room + (stride - 1 if ceil_mode else 0)) // stride + 1
    return count - 1 if ceil_mode and (count - 1) * stride >= n + padding else count


def _avg_pool(spatial: int) -> Callable[..., Tensor]:
    def run(
        self: Tensor,
        kernel_size: list[int],
        stride: Sequence[int] = (),
        padding: Sequence[int] = (0,),
        ceil_mode: bool = False,
        count_include_pad: bool = True,
        divisor_override: int | None = None,
    ) -> Tensor:
        """Sums of windows divided by their number of elements, rounded towards zero."""
        kernel = _per_dim(kernel_size, spatial)
        steps, pads = _per_dim(stride, spatial, kernel), _per_dim(padding, spatial)
        sizes = [int(n) for n in self.shape[-spatial:]]
        each = zip(sizes, kernel, steps, pads, strict=True)
        count = [_pooled_count(n, k, s, p, ceil_mode) for n, k, s, p in each]
        each = zip(count, sizes, kernel, steps, pads, strict=True)
        after = [max((c - 1) * s + k - n - p, 0) for c, n, k, s, p in each]
        x = _pad(self, pads, after)
        total = sum(_windows(x, kernel, steps, [1] * spatial, count), self.new_zeros(()))
        if divisor_override:
            return torch.div(total, divisor_override, rounding_mode="trunc")
        number = torch.ones((), dtype=self.dtype, device=self.device)
        for d in range(spatial):
            line = torch.arange(count[d], device=self.device) * steps[d] - pads[d]
            end = (line + kernel[d]).clamp(max=sizes[d] + pads[d])
            if not count_include_pad:
                line, end = line.clamp(min=0), end.clamp(max=sizes[d])
            number = number.unsqueeze(-1) * (end - line).to(self.dtype)
        return torch.div(total, number, rounding_mode="trunc")

    return run


def _max_pool(spatial: int) -> Callable[..., tuple[Tensor, Tensor]]:
    def run(
        self: Tensor,
        kernel_size: list[int],
        stride: Sequence[int] = (),
        padding: Sequence[int] = (0,),
        dilation: Sequence[int] = (1,),
        ceil_mode: bool = False,
    ) -> tuple[Tensor, Tensor]:
        """The largest element of every window, and its place in the plane."""
        kernel = _per_dim(kernel_size, spatial)
        steps, pads = _per_dim(stride, spatial, kernel), _per_dim(padding, spatial)
        gaps = _per_dim(dilation, spatial)
        reach = [g * (k - 1) + 1 for g, k in zip(gaps, kernel, strict=True)]
        sizes = [int(n) for n in self.shape[-spatial:]]
        each = zip(sizes, reach, steps, pads, strict=True)
        count = [_pooled_count(n, k, s, p, ceil_mode) for n, k, s, p in each]
        each = zip(count, sizes, reach, steps, pads, strict=True)
        after = [max((c - 1) * s + k - n - p, 0) for c, n, k, s, p in each]
        place = torch.arange(math.prod(sizes), device=self.device).reshape(sizes)
        x = _pad(self, pads, after, _smallest(self.dtype))
        values = torch.stack(list(_windows(x, kernel, steps, gaps, count)), -1)
        places = torch.stack(
            list(_windows(_pad(place, pads, after), kernel, steps, gaps, count)), -1
        )
        largest, which = values.max(-1)
        picked = places.expand(values.shape).gather(-1, which.unsqueeze(-1)).squeeze(-1)
        return largest, picked

    return run


def _smallest(dtype: torch.dtype) -> Any:
    return -math.inf if dtype.is_floating_point else torch.iinfo(dtype).min


def _gcd(self: Tensor, other: Tensor) -> Tensor:
    """Of 64-bit numbers: Euclid's algorithm until GE's 32-bit operator can take over."""
    if torch.result_type(self, other) is not torch.int64:
        return NotImplemented
    large, small = torch.broadcast_tensors(self.to(torch.int64).abs(), other.to(torch.int64).abs())
    for _ in range(_GCD_STEPS):
        is_done = small == 0
        rest = torch.remainder(large, torch.where(is_done, 1, small))
        large, small = torch.where(is_done, large, small), torch.where(is_done, 0, rest)
    narrow = torch.where(small == 0, 0, large).to(torch.int32)
    found = torch.gcd(narrow, small.to(torch.int32)).to(torch.int64)
    return torch.where(small == 0, large, found)


def _lcm(self: Tensor, other: Tensor) -> Tensor:
    divisor = torch.gcd(self, other)
    parts = torch.div(self, torch.where(divisor == 0, 1, divisor), rounding_mode="trunc")
    return (parts * other).abs()


def _of(dtypes: Sequence[torch.dtype], function: Callable[..., Any]) -> Callable[..., Any]:
    def run(*args: Any, **kwargs: Any) -> Any:
        first = args[0] if args else next(iter(kwargs.values()))
        return function(*args, **kwargs) if first.dtype in dtypes else NotImplemented

    return run


INTEGER_DECOMPOSITIONS: dict[Any, Callable[..., Any]] = {
    aten.convolution.default: _of(_EXACT, _convolution),
    aten.avg_pool2d.default: _of(_INTEGERS, _avg_pool(2)),
    aten.avg_pool3d.default: _of(_INTEGERS, _avg_pool(3)),
    aten.max_pool2d_with_indices.default: _of(_EXACT, _max_pool(2)),
    aten.max_pool3d_with_indices.default: _of(_EXACT, _max_pool(3)),
    aten.gcd.default: _gcd,
    aten.lcm.default: _lcm,
}
"""Decompositions by OpOverload; NotImplemented leaves a call whole."""
