"""Converters and kernels of elementwise arithmetic, against eager."""

from __future__ import annotations

import itertools

import pytest
import torch
from family_check import Compiled, build, check

FLOATS = (torch.float32, torch.float16, torch.bfloat16)
INTEGERS = (torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8)
NAMES = """abs acos acosh asin asinh atan atanh ceil cos cosh erf erfc exp exp2 expm1 floor log
log10 log1p log2 neg reciprocal round rsqrt sgn sigmoid sign sin sinh sqrt square tan tanh trunc"""


def values(dtype: torch.dtype, *shape: int) -> torch.Tensor:
    """Numbers of both signs; for integers none is zero."""
    generator = torch.Generator().manual_seed(len(shape))
    if dtype.is_floating_point:
        return (torch.randn(shape, generator=generator) * 2).to(dtype)
    low = 1 if dtype is torch.uint8 else -9
    drawn = torch.randint(low, 9, shape, generator=generator)
    return torch.where(drawn == 0, 3, drawn).to(dtype)


def unary(x):
    return [getattr(torch, name)(x) for name in NAMES.split()]


def arithmetic(x, y):
    return [
        x + y, x - y, x * y, x / y, x // y, x % y, x**2, x**3, 2**x,
        torch.fmod(x, y), torch.div(x, y, rounding_mode="trunc"),
        torch.add(x, y, alpha=2), torch.sub(x, y, alpha=3), torch.rsub(x, y, alpha=2),
        torch.maximum(x, y), torch.minimum(x, y), torch.clamp(x, y, y + 1),
        x + 1, x - 1, 1 - x, x * 2, x / 3, x / 4, x * 1, x + 0, x // 2, x % 3, x.clamp(-1, 3),
        x.clamp(min=0), x.clamp(max=1), x.clamp(0, 6), x**1, x + 0.5, x * 0.5,
    ]  # fmt: skip


def fractions(x, y):
    """Numbers that no 16-bit type holds: some eager kernels round them first, some do not."""
    return [
        x + 0.3, x - 0.3, 0.3 - x, x * 0.3, x / 0.3, 2 / x, x // 0.3, x**0.5, x**2.3, x**-1,
        x % 0.3, torch.fmod(x, 0.3), torch.div(x, 0.3, rounding_mode="trunc"), 0.3**x,
        x**-0.5, torch.add(x, y, alpha=0.3), torch.sub(x, y, alpha=0.3),
        torch.rsub(x, 0.3, alpha=2),
        torch.atan2(x, y), x.clamp(-0.1, 0.1), x.clamp(min=0.1), torch.xlogy(x.abs(), y.abs()),
        torch.addcmul(x, y, y, value=0.3), torch.lerp(x, y, 0.3), torch.lerp(x, y, y),
        torch.nan_to_num(torch.log(x)), torch.nan_to_num(torch.log(x), 0.5, 3.0, -3.0),
        torch.round(x, decimals=1), x * 1e9, x + 1e9, torch.copysign(x, y),
    ]  # fmt: skip


@pytest.mark.parametrize("dynamic", (False, True))
@pytest.mark.parametrize("dtype", FLOATS)
def test_functions_of_floats(dtype, dynamic):
    x = values(dtype, 3, 5)
    check(lambda x: [*unary(x), torch.erfinv(x / 10)], x, dynamic=dynamic)


@pytest.mark.parametrize("dynamic", (False, True))
@pytest.mark.parametrize("dtype", FLOATS)
def test_arithmetic_of_floats(dtype, dynamic):
    check(arithmetic, values(dtype, 9, 33), values(dtype, 33), dynamic=dynamic)
    check(fractions, values(dtype, 9, 33), values(dtype, 33), dynamic=dynamic)


@pytest.mark.parametrize("function", (arithmetic, fractions))
def test_arithmetic_of_doubles(function):
    check(function, values(torch.float64, 3, 5), values(torch.float64, 5), exact=False)


def test_functions_of_doubles():
    check(unary, values(torch.float64, 3, 5))


@pytest.mark.parametrize("dtype", INTEGERS)
def test_arithmetic_of_integers(dtype):
    check(arithmetic, values(dtype, 3, 5), values(dtype, 5).abs())


@pytest.mark.parametrize("dtype", (torch.int64, torch.int32, torch.uint8, torch.bool))
def test_functions_of_integers(dtype):
    def function(x):
        return [torch.exp(x), torch.sqrt(x.abs() if dtype is not torch.bool else x), torch.erf(x)]

    check(function, values(torch.int64, 3, 5).to(dtype))


def test_rounding_integers_adds_no_node():
    graph = check(
        lambda x: (torch.floor(x), torch.round(x), torch.trunc(x)), values(torch.int32, 4)
    )
    assert graph[0].node_types == []


def test_bools_add_and_multiply_as_logic():
    x, y = values(torch.float32, 3, 5) > 0, values(torch.float32, 5) > 0
    check(lambda x, y: [x + y, x * y, x + 1, x * 2.5, torch.maximum(x, y)], x, y)


@pytest.mark.parametrize("shape", ((), (0, 3), (1,), (2, 1, 3)))
def test_shapes(shape):
    check(arithmetic, values(torch.float32, *shape), values(torch.float32, *shape[-1:]))


@pytest.mark.parametrize("dtype", (torch.float32, torch.int64))
def test_symbolic_sizes_as_numbers(dtype):
    def function(x):
        n = x.shape[0]
        scaled = torch.add(x, x, alpha=n)
        return [x + n, x * n, n - x, x / n, x // n, x % n, x.clamp(0, n), x.clamp(min=n), scaled]

    check(function, values(dtype, 6, 7), dynamic=True)


def test_integer_constants_wrap():
    x = torch.tensor([1, 2, 100], dtype=torch.int8)
    check(lambda x: [x * 300, x + 200, x == 300], x)
    check(lambda x: [x - 1 + 300, x * -1, x.clamp(-1, 3), x > -1], x.to(torch.uint8))


def test_mixed_dtypes_are_promoted():
    tensors = [values(d, 4) for d in (torch.float32, torch.float16, torch.int64, torch.int32)]

    def function(*tensors):
        pairs = itertools.combinations(tensors, 2)
        return [f(a, b) for a, b in pairs for f in (torch.add, torch.mul, torch.div)]

    check(function, *tensors)


@pytest.mark.parametrize(
    ("function", "wanted"),
    (
        (lambda x: x * 0.5, ["Muls"]),
        (lambda x: x / 8, ["Muls"]),
        (lambda x: x + 0.5, ["Adds"]),
        (lambda x: x - 0.5, ["Adds"]),
        (lambda x: x**2, ["Square"]),
        (lambda x: x**0.5, ["Sqrt"]),
        (lambda x: x.clamp(min=0), ["Relu"]),
        (lambda x: x.clamp(0, 6), ["Relu6"]),
        (lambda x: torch.add(x, x, alpha=0.5), ["Axpy"]),
        (lambda x: torch.log2(x), ["Log"]),
    ),
)
def test_number_of_nodes(function, wanted):
    for dtype in (torch.float32, torch.float16):
        assert check(function, values(dtype, 3, 5))[0].node_types == wanted


def test_float64_keeps_the_precision_of_numbers():
    function, graphs = build(lambda x: (x * 0.1, x + 0.1, torch.exp2(x)))
    x = torch.tensor([1.0, 3.0], dtype=torch.float64)
    assert torch.equal(function(x)[0], x * 0.1)
    assert isinstance(graphs[0], Compiled)
