"""Converters and kernels of matrix products, against eager."""

from __future__ import annotations

import pytest
import torch
from family_check import build, check
from torch import nn

aten = torch.ops.aten
FLOATS = (torch.float32, torch.bfloat16)


def numbers(dtype, *shape):
    generator = torch.Generator().manual_seed(sum(shape))
    if dtype.is_floating_point or dtype.is_complex:
        return torch.randn(shape, generator=generator).to(dtype)
    return torch.randint(-50, 50, shape, generator=generator).to(dtype)


def products(a, b, x, y, row):
    """Calls that run the ATen kernel that eager runs."""
    return (
        aten.mm(a, b),
        aten.bmm(x, y),
        aten.addmm(row, a, b),
        aten.addmm(row, a, b, beta=0),
        aten.dot(a[0], b[:, 0]),
        torch.mm(b.t(), a.t()),
        torch.bmm(y.transpose(1, 2), x.transpose(-1, -2)),
    )


def sums(a, b, x, y, row, full):
    """Calls that GE computes in several steps."""
    return (
        aten.addmm(full, a, b),
        aten.addmm(row, a, b, beta=0.5, alpha=2),
        aten.addmm(row[:1], a, b),
        aten.baddbmm(full, x, y),
        aten.baddbmm(row, x, y, beta=0.3, alpha=-2),
        aten.addbmm(full, x, y),
        aten.mv(a, b[:, 0]),
        aten.addmv(full[:, 0], a, b[:, 0], beta=2, alpha=0.5),
        aten.addr(full, a[:, 0], b[0]),
    )


def operands(dtype):
    return (
        numbers(dtype, 3, 4), numbers(dtype, 4, 5), numbers(dtype, 2, 3, 4),
        numbers(dtype, 2, 4, 5), numbers(dtype, 5),
    )  # fmt: skip


@pytest.mark.parametrize("dynamic", (False, True))
@pytest.mark.parametrize("dtype", FLOATS)
def test_products(dtype, dynamic):
    check(products, *operands(dtype), dynamic=dynamic)


@pytest.mark.parametrize("dynamic", (False, True))
def test_sums(dynamic):
    given = operands(torch.float32)
    check(sums, *given, numbers(torch.float32, 3, 5), dynamic=dynamic, exact=False)


@pytest.mark.parametrize("dtype", (torch.int8, torch.uint8, torch.int16, torch.int32, torch.int64))
def test_integers_are_exact(dtype):
    a, b, x, y, row = operands(dtype)

    def function(a, b, x, y, row):
        return aten.mm(a, b), aten.bmm(x, y), aten.addmm(row, a, b), aten.addmm(row, a, b, beta=2)

    check(function, a, b, x, y, row)


@pytest.mark.parametrize("dtype", (torch.float64, torch.complex64))
def test_types_without_a_matrix_product_in_ge(dtype):
    graphs = check(products, *operands(dtype), exact=False)
    assert not {"MatMul", "MatMulV2", "BatchMatMul"} & set(graphs[0].node_types)


def test_int8_product_is_int32():
    graphs = check(torch._int_mm, numbers(torch.int8, 32, 16), numbers(torch.int8, 16, 8))
    assert graphs[0].node_types == ["MatMulV2"]


@pytest.mark.parametrize("dynamic", (False, True))
@pytest.mark.parametrize("dtype", FLOATS)
def test_linear_is_one_node(dtype, dynamic):
    def function(x, weight, bias):
        return nn.functional.linear(x, weight, bias)

    given = numbers(dtype, 3, 4), numbers(dtype, 5, 4), numbers(dtype, 5)
    graphs = check(function, *given, dynamic=dynamic)
    assert [n for n in graphs[0].node_types if n != "Const"] == ["MatMulV2"]
    assert graphs[0].graph.nodes[-1].attributes["transpose_x2"]


def test_transposes_are_folded():
    def function(a, b, x, y):
        return torch.mm(a.t(), b.t()), torch.bmm(x.mT, y.mT)

    given = (numbers(torch.float32, 4, 3), numbers(torch.float32, 5, 4))
    batched = (numbers(torch.float32, 2, 4, 3), numbers(torch.float32, 2, 5, 4))
    graphs = check(function, *given, *batched)
    assert [n for n in graphs[0].node_types if n != "Const"] == ["MatMul", "BatchMatMul"]


@pytest.mark.parametrize("shape", ((0, 4, 5), (3, 0, 5), (3, 4, 0), (1, 1, 1)))
def test_empty_and_single(shape):
    m, k, n = shape
    check(lambda a, b, c: (a @ b, torch.addmm(c, a, b)),
          torch.ones(m, k), torch.ones(k, n), torch.ones(n))  # fmt: skip


@pytest.mark.parametrize("dynamic", (False, True))
def test_matmul_of_all_ranks(dynamic):
    def function(v, a, x, y):
        return v @ v, a @ v, v @ a.t(), x @ a.t(), a @ x.mT, v @ y.mT, x @ y.mT, y @ v

    given = numbers(torch.float32, 4), numbers(torch.float32, 3, 4)
    batched = numbers(torch.float32, 2, 5, 4), numbers(torch.float32, 3, 1, 6, 4)
    check(function, *given, *batched, dynamic=dynamic, exact=False)


def test_bilinear():
    module = nn.Bilinear(3, 4, 5)
    check(module, torch.randn(2, 3), torch.randn(2, 4), exact=False)


def test_symbolic_scale():
    def function(c, a, b):
        return torch.addmm(c, a, b, beta=a.shape[0], alpha=b.shape[1])

    given = numbers(torch.float32, 5), numbers(torch.float32, 3, 4), numbers(torch.float32, 4, 5)
    check(function, *given, dynamic=True, exact=False)


def test_too_many_products_are_refused():
    function, _ = build(torch.mm)
    with pytest.raises(Exception, match="a matrix product in float64 of this size"):
        function(torch.empty(1024, 1024).double(), torch.empty(1024, 1024).double())
