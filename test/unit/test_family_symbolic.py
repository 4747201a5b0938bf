"""Converters of arithmetic on symbolic sizes, against Python."""

from __future__ import annotations

import math

import pytest
import torch
from family_check import build, check, compare


def integers(x):
    a, b = x.shape
    return [
        x + a, x * (a + b), x - (a - b), x * (a * b), x + a // 2, x + b % 3, x * a**2,
        x + min(a, b),
        x + max(a, b), x + (-a), x + abs(a - b), x + (a << 1), x + torch.sym_max(a, 7),
        x + torch.sym_min(b, 7), x + x.numel(), x + torch.sym_sum([a, b, 2]),
    ]  # fmt: skip


def floats(x):
    a, b = x.shape
    return [
        x * (a / b), x + math.ceil(a / b), x + math.floor(b / a),
        x + torch.sym_float(a), x * torch.sym_sqrt(a * b), x + int(a / 2), x * (a / 2 + 0.25),
        x + math.trunc(b / a), x * math.log2(a * b),
    ]  # fmt: skip


@pytest.mark.parametrize("function", (integers, floats))
@pytest.mark.parametrize("dtype", (torch.float32, torch.float64), ids=str)
def test_arithmetic(function, dtype):
    x = torch.arange(35, dtype=dtype).view(5, 7)
    check(function, x, dynamic=True)


def test_one_graph_serves_every_size():
    def function(x):
        a, b = x.shape
        return [torch.full((a, b + 1), a / b), x.new_zeros(a * b), x.reshape(-1), x.sum() * a]

    compiled, graphs = build(function, dynamic=True)
    for shape in ((3, 4), (5, 2), (9, 7)):
        x = torch.ones(shape)
        compare(compiled(x), function(x))
    assert len(graphs) == 1


def test_sizes_are_results():
    def function(x):
        return x.shape[0] * 2, x + 1, x.shape[1] // 2, x.numel(), x.shape[0] / 2

    check(function, torch.ones(5, 7), dynamic=True)


def test_numbers_taken_from_tensors():
    def function(x, n):
        size = n.item()
        torch._check(size >= 0)
        torch._check(size <= 6)
        return torch.zeros(size + 1), x[:, :size] * 2, x + x.sum().item(), size

    with torch._dynamo.config.patch(capture_scalar_outputs=True):
        compiled, graphs = build(function)
        for number in (3, 5):
            x, n = torch.ones(2, 6), torch.tensor(number)
            compare(compiled(x, n), function(x, n))
    assert len(graphs) == 1
    assert graphs[0].interpreted


def test_a_broken_promise_is_an_error_with_its_place():
    def function(x):
        torch._assert_async((x > 0).all(), "positive")
        return x + 1

    compiled, _ = build(function)
    compare(compiled(torch.ones(3)), torch.full((3,), 2.0))
    with pytest.raises(Exception, match="an assertion does not hold") as caught:
        compiled(-torch.ones(3))
    assert "test_family_symbolic.py" in str(caught.value)


def test_strides_are_those_of_dense_tensors():
    def function(x):
        return x.clone().stride(), x + 1

    check(function, torch.ones(3, 4, 5), dynamic=True)
