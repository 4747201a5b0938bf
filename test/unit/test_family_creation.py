"""Converters and kernels of creation, conversion, random numbers and dropout, against eager."""

from __future__ import annotations

import pytest
import torch
from family_check import build, check
from test_family_elementwise import values
from torch.nn import functional as F


def filled(x):
    n, m = x.shape
    return [
        torch.full((n, m), 0.3), torch.full((40, 40), 0.3), torch.full((n,), 7), torch.zeros(n, m),
        torch.full((2,), True), torch.ones(n, 3), x.new_zeros(n), x.new_ones(3, m),
        x.new_full((n,), 2.5), torch.full_like(x, 0.3), torch.full_like(x, 3, dtype=torch.int64),
        torch.zeros_like(x), torch.ones_like(x), torch.zeros_like(x, dtype=torch.bool),
        torch.ones_like(x, dtype=torch.int32), torch.scalar_tensor(3.5), torch.zeros(0, m),
        torch.full((300,), 300, dtype=torch.int64), torch.full_like(x, float("-inf")),
    ]  # fmt: skip


def ranges(x):
    n, m = x.shape
    return [
        torch.arange(n), torch.arange(2, m), torch.arange(0, 10, 3), torch.arange(200),
        torch.arange(0, 1, 0.1), torch.arange(5, dtype=torch.float16), torch.arange(0.5, 3, 0.25),
        torch.arange(10, 0, -2), torch.arange(m, dtype=torch.float32), torch.arange(-1, 2, 2),
        torch.arange(0, 300, dtype=torch.float32), torch.arange(300, dtype=torch.int32),
        torch.linspace(0, 1, 7), torch.linspace(-1, 3, 5, dtype=torch.float64),
        torch.linspace(0, 10, 4, dtype=torch.int64), torch.linspace(0, 1, 1),
        torch.eye(3), torch.eye(n), torch.eye(n, m), torch.eye(3, 4, dtype=torch.int64),
        torch.tril_indices(3, 4), torch.triu_indices(3, 3, 1),
    ]  # fmt: skip


def triangles(x):
    return [
        x.tril(), x.triu(1), x.tril(-1), x.tril(x.shape[0] - 2), x.triu(x.shape[1] - 4),
        torch.ones(x.shape[0], x.shape[0], dtype=torch.bool).tril(),
    ]  # fmt: skip


def conversions(x):
    kinds = torch.float16, torch.bfloat16, torch.float64, torch.int32, torch.int64, torch.bool
    return [x.clone(), x.detach() * 2, *(x.to(kind) for kind in kinds), x.to(x.dtype, copy=True)]


@pytest.mark.parametrize("dynamic", (False, True))
@pytest.mark.parametrize("function", (filled, ranges, triangles, conversions))
@pytest.mark.parametrize("shape", ((3, 5), (70, 90)))
def test_creation(function, shape, dynamic):
    check(function, values(torch.float32, *shape), dynamic=dynamic)


@pytest.mark.parametrize("dtype", (torch.float16, torch.float64, torch.int64, torch.bool))
def test_like_other_dtypes(dtype):
    def function(x):
        return [torch.zeros_like(x), torch.ones_like(x), torch.full_like(x, 1), *triangles(x)]

    check(function, values(torch.float32, 40, 50).to(dtype))
    check(conversions, values(torch.float32, 3, 4).to(dtype))


def test_uninitialised_tensors_have_the_right_type():
    def function(x):
        n, m = x.shape
        return (
            torch.empty(n, m, dtype=torch.int32),
            torch.empty_like(x, dtype=torch.bool),
            x.new_empty(3, m),
            torch.empty_strided((n, 40, 40), (1600, 40, 1)),
        )

    for dynamic in (False, True):
        found = build(function, dynamic=dynamic)[0](torch.ones(4, 5))
        for one, other in zip(found, function(torch.ones(4, 5)), strict=True):
            assert (one.shape, one.dtype) == (other.shape, other.dtype)


def test_symbolic_values():
    def function(x):
        n, m = x.shape
        shape = (n, m * 2)
        return [torch.full(shape, n), torch.full_like(x, m), torch.scalar_tensor(n), x.new_ones(n)]

    check(function, torch.ones(4, 5), dynamic=True)


@pytest.mark.parametrize(
    ("function", "wanted"),
    (
        (lambda x: torch.zeros(3, 4) + x.shape[0], ["Const", "Adds"]),
        (lambda x: torch.full_like(x, 0.3), ["Fills"]),
        (lambda x: torch.zeros_like(x), ["ZerosLike"]),
        (lambda x: torch.arange(64), ["Const"]),
        (lambda x: x.clone() * 2, ["Muls"]),
        (lambda x: x.tril(), ["Tril"]),
        (lambda x: torch.eye(300), ["Eye"]),
    ),
)
def test_number_of_nodes(function, wanted):
    assert check(function, torch.ones(40, 50))[0].node_types == wanted


def drawn(function, x, dynamic):
    """Results of eager and of the compiled function from one seed, and the generators' states."""
    results = []
    for call in (function, build(function, dynamic=dynamic)[0]):
        torch.manual_seed(11)
        results.append((call(x), torch.get_rng_state()))
    return results


@pytest.mark.parametrize("dynamic", (False, True))
@pytest.mark.parametrize("dtype", (torch.float32, torch.float16, torch.bfloat16, torch.float64))
def test_dropout_draws_the_numbers_of_eager(dtype, dynamic):
    def function(x):
        drops = [torch.native_dropout(x, p, True) for p in (0.1, 0.3, 0.5, 0.0, 1.0)]
        return [tensor for pair in drops for tensor in pair]

    eager, compiled = drawn(function, values(torch.float32, 16, 33).to(dtype), dynamic)
    for one, other in zip(compiled[0], eager[0], strict=True):
        assert torch.equal(one, other)
    assert torch.equal(compiled[1], eager[1]), "as many numbers were drawn"


def test_equal_dropouts_draw_different_masks():
    x = torch.ones(64, 64)
    first, second = build(lambda x: (F.dropout(x, 0.5), F.dropout(x, 0.5)))[0](x)
    assert not torch.equal(first, second)


def test_dropout_of_inference_draws_nothing():
    check(lambda x: torch.native_dropout(x, 0.5, False), values(torch.float32, 4, 4))


def test_dropout_draws_anew_on_every_call():
    function, graphs = build(lambda x: F.dropout(x, 0.5))
    x = torch.ones(64, 64)
    assert not torch.equal(function(x), function(x))
    assert len(graphs) == 1


def test_dropout_gradient_uses_the_mask():
    x = values(torch.float32, 16, 33).requires_grad_()
    results = []
    for call in (lambda x: F.dropout(x * 2, 0.3), build(lambda x: F.dropout(x * 2, 0.3))[0]):
        torch.manual_seed(3)
        y = call(x)
        results.append((y.detach(), *torch.autograd.grad(y.sum(), x)))
    for one, other in zip(*results, strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize("dynamic", (False, True))
def test_random_tensors_are_those_of_eager(dynamic):
    def function(x):
        n = x.shape[0]
        return (
            torch.rand_like(x), torch.randn(n, 3), torch.rand(4, 5), torch.randint(0, 10, (n,)),
            torch.randint(3, (5,), dtype=torch.int32), torch.randn_like(x, dtype=torch.float64),
            torch.randint_like(x, 7), torch.bernoulli(x, 0.3), torch.randperm(9),
            torch.empty_like(x).normal_(1, 2),
        )  # fmt: skip

    eager, compiled = drawn(function, torch.ones(6, 7), dynamic)
    for one, other in zip(compiled[0], eager[0], strict=True):
        assert one.dtype == other.dtype
        assert torch.equal(one, other)
    assert torch.equal(compiled[1], eager[1])


def test_other_distributions_have_the_right_moments():
    def function(x):
        kept = torch.empty_like(x).bernoulli_(x * 0.25)
        return torch.empty_like(x).uniform_(-1, 3), kept, torch.multinomial(x[:, :4], 2)

    torch.manual_seed(0)
    uniform, kept, chosen = build(function)[0](torch.ones(300, 300))
    assert (uniform.min() >= -1) & (uniform.max() < 3)
    assert abs(uniform.mean() - 1) < 0.02
    assert abs(kept.mean() - 0.25) < 0.02
    assert chosen.shape == (300, 2)
    assert (chosen[:, 0] != chosen[:, 1]).all(), "drawn without replacement"
    assert sorted(chosen.unique().tolist()) == [0, 1, 2, 3]
