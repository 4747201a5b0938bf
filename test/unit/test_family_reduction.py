"""Converters and kernels of reductions, cumulative functions and norms, against eager."""

from __future__ import annotations

import math

import pytest
import torch
from family_check import check
from test_family_elementwise import values

INTEGERS = (torch.int64, torch.int32, torch.int16, torch.uint8, torch.bool)


def reductions(x):
    return [
        x.sum(), x.sum(1), x.sum((0, -1), True), x.sum(0, dtype=torch.float32), x.mean(),
        x.mean(-1, True), x.amax(1), x.amin((0, 1)), x.max(), x.min(), x.prod(), x.prod(-1, True),
        x.all(), x.any(1), x.all(0, True), x.any(), *x.max(1), *x.min(0, True), x.argmax(),
        x.argmin(1), x.argmax(0, True), x.argmax(keepdim=True), *torch.aminmax(x, dim=1),
        x.cumsum(1), x.cumprod(-1), *x.cummax(1), *x.cummin(0), torch.logcumsumexp(x, 1),
        torch.logsumexp(x, 1), torch.logsumexp(x, (0, 1), True), torch.count_nonzero(x, 1),
    ]  # fmt: skip


def norms(x):
    return [
        torch.linalg.vector_norm(x), torch.linalg.vector_norm(x, 1, 1), x.norm(3, dim=1),
        torch.linalg.vector_norm(x, math.inf, 0, True), torch.linalg.vector_norm(x, 0, 1),
        torch.linalg.vector_norm(x, -math.inf, (0, 1)), x.norm(),
    ]  # fmt: skip


def deviations(x):
    return [
        x.std(), x.std(1, keepdim=True), x.std(0, correction=0), x.var(1, correction=0),
        *torch.std_mean(x, 1), *torch.var_mean(x, (0, 1), correction=0),
    ]  # fmt: skip


def variances(x):
    """Squares of a standard deviation, or a fractional correction: an ulp from eager."""
    return [x.var(), x.var(1, True), *torch.var_mean(x, 0), x.std(1, correction=0.5)]


def integer_reductions(x):
    return [
        x.sum(), x.sum(1), x.sum(1, dtype=torch.float32), x.amax(1), x.max(), *x.max(1),
        *x.min(0, True), x.prod(), x.prod(1), x.all(), x.any(1), x.cumsum(1), x.cumprod(-1),
        torch.count_nonzero(x), x.float().mean(),
    ]  # fmt: skip


@pytest.mark.parametrize("dynamic", (False, True))
@pytest.mark.parametrize("dtype", (torch.float32, torch.float16, torch.bfloat16, torch.float64))
def test_reductions(dtype, dynamic):
    check(reductions, values(dtype, 3, 5), dynamic=dynamic)


@pytest.mark.parametrize("dtype", INTEGERS)
def test_reductions_of_integers(dtype):
    check(integer_reductions, values(torch.int64, 3, 5).abs().to(dtype))


@pytest.mark.parametrize("dtype", (torch.int64, torch.int32, torch.uint8))
def test_positions_in_integers(dtype):
    check(lambda x: [x.argmax(), x.argmin(1), *x.cummax(1)], values(dtype, 3, 5))


@pytest.mark.parametrize("dynamic", (False, True))
@pytest.mark.parametrize("function", (norms, deviations))
@pytest.mark.parametrize("dtype", (torch.float32, torch.float16, torch.float64))
def test_norms_and_deviations(function, dtype, dynamic):
    check(function, values(dtype, 4, 5), dynamic=dynamic, exact=dtype is not torch.float64)


@pytest.mark.parametrize("dynamic", (False, True))
@pytest.mark.parametrize("dtype", (torch.float32, torch.bfloat16, torch.float64))
def test_variances(dtype, dynamic):
    check(variances, values(dtype, 4, 5), dynamic=dynamic, exact=False)


def test_special_values():
    x = values(torch.float32, 3, 5)
    x[0, 0], x[1, 1], x[2, 2] = math.nan, math.inf, -math.inf
    check(reductions, x)
    check(lambda x: torch.logsumexp(x, 1), torch.full((2, 3), -math.inf))
    check(lambda x: torch.logsumexp(x, 1), torch.full((2, 3), 1e4))


def test_scalars():
    def function(x):
        return [
            x.sum(), x.mean(), x.sum(0), x.amax(), *x.max(0), x.argmax(), x.argmax(0), x.cumsum(0),
            x.prod(), x.all(), x.any(), torch.logsumexp(x, 0), x.norm(), *x.cummax(0),
            torch.linalg.vector_norm(x, 0.9), x.var(correction=0),
        ]  # fmt: skip

    check(function, torch.tensor(2.5))
    check(function, torch.tensor(-2.5, dtype=torch.float16))


def test_empty_tensors():
    def function(x):
        return [
            x.sum(), x.sum(0), x.mean(0), x.prod(1), x.all(), x.any(0), x.cumsum(0), x.amax(1),
            x.argmax(1),
        ]  # fmt: skip

    check(function, torch.ones(0, 4))
    check(function, torch.ones(0, 4), dynamic=True)


def test_one_element_has_no_deviation():
    check(lambda x: [x.std(1), x.std(0)], torch.ones(1, 3))


@pytest.mark.parametrize(
    ("function", "wanted"),
    (
        (lambda x: x.sum(), ["Const", "ReduceSum"]),
        (lambda x: x.mean(-1), ["Const", "ReduceMean"]),
        (lambda x: x.max(1)[0], ["ArgMaxWithValue"]),
        (lambda x: x.argmax(1), ["Const", "ArgMaxV2"]),
        (lambda x: x.norm(), ["LpNormV2"]),
        (lambda x: x.std(1), ["ReduceStdV2"]),
        (lambda x: x.var(1, correction=0), ["ReduceMeanVariance"]),
    ),
)
def test_number_of_nodes(function, wanted):
    assert check(function, values(torch.float32, 3, 5))[0].node_types == wanted
