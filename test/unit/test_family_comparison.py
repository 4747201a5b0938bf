"""Converters and kernels of comparisons, logic, bits and selection, against eager."""

from __future__ import annotations

import math

import pytest
import torch
from family_check import check
from test_family_elementwise import values

DTYPES = (torch.float32, torch.bfloat16, torch.float64, torch.int64, torch.uint8, torch.bool)


def comparisons(x, y):
    return [
        x == y, x != y, x < y, x <= y, x > y, x >= y, x == 1, x != 1, x < 1, x >= 1,
        torch.logical_and(x, y), torch.logical_or(x, y), torch.logical_xor(x, y),
        torch.logical_not(x), torch.isnan(x), torch.isinf(x), torch.isfinite(x),
        torch.signbit(x), torch.fmax(x, y), torch.fmin(x, y),
    ]  # fmt: skip


def selections(x, y):
    mask = x > 0
    return [
        torch.where(mask, x, y), torch.where(mask, x, 1), torch.where(mask, 1, x),
        torch.where(mask, 1.0, 2.0), x.masked_fill(mask, 1), y.masked_fill(mask[0], 1),
        x.masked_fill(mask[:, :1], y.sum().to(x.dtype)), torch.where(mask[0], x, y),
    ]  # fmt: skip


def bits(x, y):
    return [x & y, x | y, x ^ y, ~x, x & 1, x | 1, x ^ 1]


@pytest.mark.parametrize("dynamic", (False, True))
@pytest.mark.parametrize("dtype", DTYPES)
def test_comparisons(dtype, dynamic):
    x, y = values(torch.float32, 3, 5), values(torch.float32, 5)
    if dtype is not torch.bool:
        x, y = x.abs(), y.abs()
    check(comparisons, x.to(dtype), y.to(dtype), dynamic=dynamic)


@pytest.mark.parametrize("dynamic", (False, True))
@pytest.mark.parametrize("dtype", DTYPES)
def test_selections(dtype, dynamic):
    check(
        selections,
        values(torch.float32, 3, 5).abs().to(dtype),
        values(torch.float32, 5).abs().to(dtype),
        dynamic=dynamic,
    )


@pytest.mark.parametrize("dtype", (torch.int64, torch.int32, torch.int8, torch.uint8, torch.bool))
def test_bits(dtype):
    check(bits, values(torch.int64, 3, 5).to(dtype), values(torch.int64, 5).to(dtype))


def test_shifts():
    x = torch.arange(-6, 9)
    check(lambda x: [x << 2, x >> 1, x << (x % 4), torch.bitwise_right_shift(x, 3)], x)


def test_special_values():
    x = torch.tensor([0.0, -0.0, math.inf, -math.inf, math.nan, 1.5])
    check(comparisons, x, x.flip(0))
    check(comparisons, x.half(), x.half().flip(0))
    check(lambda x: x.masked_fill(x > 0, -math.inf), x)


def test_integers_against_fractions():
    x = torch.arange(-3, 4)
    check(lambda x: [x < 0.5, x == 1.0, x >= -0.5, torch.where(x > 0.5, x, 0.25)], x)


@pytest.mark.parametrize("shape", ((), (0, 3), (1,)))
def test_shapes(shape):
    check(comparisons, values(torch.float32, *shape), values(torch.float32, *shape))


def test_symbolic_sizes_as_numbers():
    def function(x):
        n = x.shape[0]
        return [x < n, x == n, torch.where(x > 0, x, n), x.masked_fill(x > 3, n)]

    check(function, values(torch.int64, 6, 7), dynamic=True)


def test_number_of_nodes():
    x, y = values(torch.float32, 4) > 0, values(torch.float32, 4) < 1
    assert check(lambda x, y: x ^ y, x, y)[0].node_types == ["Equal", "LogicalNot"]
    assert check(lambda x, y: x & True, x, y)[0].node_types == ["Const", "LogicalAnd"]
    assert check(lambda x: torch.isnan(x), values(torch.int64, 4))[0].node_types == ["Greater"]
