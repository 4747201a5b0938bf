"""Special functions, those of GE and those written in terms of others; and arguments that are
attributes in GE but symbolic in the graph."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from family_check import check, check_gradients
from torch.nn import functional

special = torch.special

INFINITY, NAN = float("inf"), float("nan")
POINTS = torch.tensor(
    [-30.5, -4.25, -2, -0.75, -0.0, 0, 1e-4, 0.3, 1, 1.5, 2, 7.9, 8.5, 25, 1e3, INFINITY, NAN]
)
POSITIVE = torch.tensor([1e-3, 0.4, 1.0, 2.5, 9.75, 40.0, 1e3])

UNARY: list[tuple[str, Callable[[torch.Tensor], Any], torch.Tensor]] = [
    ("lgamma", torch.lgamma, POINTS),
    ("digamma", torch.digamma, POINTS),
    ("trigamma", lambda x: torch.polygamma(1, x), POSITIVE),
    ("polygamma_3", lambda x: torch.polygamma(3, x), POSITIVE),
    ("erfcx", special.erfcx, POINTS),
    ("log_ndtr", special.log_ndtr, POINTS),
    ("mvlgamma", lambda x: torch.mvlgamma(x, 3), POSITIVE + 2),
    ("i0", torch.i0, POSITIVE[:5]),
    ("i1", special.i1, -POSITIVE[:5]),
    ("i0e", special.i0e, POINTS),
    ("i1e", special.i1e, POINTS),
    ("ndtri", special.ndtri, torch.linspace(0, 1, 9)),
    ("spherical_bessel_j0", special.spherical_bessel_j0, POINTS),
    ("frexp", torch.frexp, POINTS[:-2]),
]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize(("name", "function", "values"), UNARY, ids=[c[0] for c in UNARY])
def test_of_one(name: str, function: Any, values: torch.Tensor, dtype: torch.dtype) -> None:
    check(function, values.to(dtype), exact=False)


NAMED = [
    *("bessel_j0", "bessel_j1", "bessel_y0", "bessel_y1", "airy_ai"),
    *("modified_bessel_k0", "modified_bessel_k1"),
    *("scaled_modified_bessel_k0", "scaled_modified_bessel_k1"),
]
FINE = torch.linspace(-29.5, 30, 120)


@pytest.mark.parametrize("name", NAMED)
def test_of_bessel_and_airy(name: str) -> None:
    values = torch.cat([FINE, POINTS[POINTS.abs() < 1e3]])
    check(getattr(special, name), values, exact=False)
    check(getattr(special, name), torch.arange(-9, 10), exact=False)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
def test_neighbours_of_16_bit_numbers(dtype: torch.dtype) -> None:
    x = torch.tensor([0.0, -0.0, 1, -1, 1, 6e4, -6e4, INFINITY, NAN, 1, 2]).to(dtype)
    y = torch.tensor([1, -1, 2, -2, 0, INFINITY, 0, 0, 1, NAN, 2]).to(dtype)
    check(torch.nextafter, x, y)
    subnormal = torch.nextafter(torch.zeros(2, dtype=dtype), torch.ones(2, dtype=dtype))
    check(torch.nextafter, subnormal, torch.tensor([0.0, -1.0]).to(dtype))


@pytest.mark.parametrize("dtype", [torch.int64, torch.int32, torch.uint8], ids=str)
def test_common_divisors_and_multiples(dtype: torch.dtype) -> None:
    x = torch.tensor([0, 0, 4, 6, 12, 35, 120, 97]).to(dtype)
    check(lambda x, y: (torch.gcd(x, y), torch.lcm(x, y)), x, x.flip(0).unsqueeze(1))


def test_common_divisors_of_wide_numbers() -> None:
    fibonacci = [1, 1]
    while fibonacci[-1] + fibonacci[-2] < 2**63:
        fibonacci.append(fibonacci[-1] + fibonacci[-2])
    x = torch.tensor([fibonacci[-1], 2**62, -(3**39), 2**63 - 1, -(2**63)])
    y = torch.tensor([fibonacci[-2], 2**33 * 3, 3**20 * 7, 0, 1])
    check(torch.gcd, x, y)


BINARY: list[tuple[str, Callable[..., Any]]] = [
    ("igamma", torch.igamma),
    ("igammac", torch.igammac),
    ("zeta", lambda x, y: special.zeta(x + 1, y)),
    ("zeta_of_number", lambda x, y: special.zeta(2.0, y)),
    ("hypot", torch.hypot),
    ("nextafter", torch.nextafter),
]


@pytest.mark.parametrize("dynamic", [False, True], ids=["static", "dynamic"])
@pytest.mark.parametrize(("name", "function"), BINARY, ids=[c[0] for c in BINARY])
def test_of_two(name: str, function: Any, dynamic: bool) -> None:
    check(function, POSITIVE, POSITIVE.flip(0).unsqueeze(1), dynamic=dynamic, exact=False)


def test_hypot_does_not_overflow() -> None:
    big = torch.tensor([1e30, 0.0, float("inf")])
    check(torch.hypot, big, torch.tensor([1e30, 0.0, float("nan")]), exact=False)


SYMBOLIC: list[tuple[str, Callable[..., Any], Any]] = [
    ("vector_norm", torch.linalg.vector_norm, 3),
    ("elu", functional.elu, 3),
    ("softplus", functional.softplus, 3),
    ("leaky_relu", functional.leaky_relu, 2),
    ("select_scatter", lambda x, i: torch.select_scatter(x, x[0] + 1, 0, i), -2),
    ("select_scatter_of_size", lambda x, i: torch.select_scatter(x, x[0] + 1, 0, 1 - i), 3),
]


@pytest.mark.parametrize(("name", "function", "number"), SYMBOLIC, ids=[c[0] for c in SYMBOLIC])
def test_symbolic_number(name: str, function: Any, number: Any) -> None:
    check(function, torch.linspace(-2, 2, 24).reshape(4, 6), number, dynamic=True)


@pytest.mark.parametrize("reduce", ["sum", "mean", "prod", "max", "min"])
@pytest.mark.parametrize("initial", [None, 2.0])
def test_segments(reduce: str, initial: float | None) -> None:
    data = torch.linspace(-2, 2, 14).reshape(7, 2)
    lengths = torch.tensor([2, 0, 4, 1])

    def function(x: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        return torch.segment_reduce(x, reduce, lengths=lengths, initial=initial)

    check(function, data, lengths, exact=False)


@pytest.mark.parametrize("reduce", ["sum", "mean", "prod", "max", "min"])
def test_gradient_of_segments(reduce: str) -> None:
    lengths = torch.tensor([2, 0, 4, 1])
    data = torch.tensor([[1.0, 0], [2, 3], [0, 0], [2, 5], [2, 0], [-1, 4], [7, 0]])

    def function(x: torch.Tensor) -> torch.Tensor:
        return torch.segment_reduce(x, reduce, lengths=lengths, initial=1.0)

    check_gradients(function, data, exact=False)


@pytest.mark.parametrize("source", [torch.float32, torch.bfloat16, torch.int32], ids=str)
def test_mean_into_a_narrow_type(source: torch.dtype) -> None:
    values = (torch.linspace(0, 3, 4000) ** 5).reshape(4, 1000).to(source)
    check(lambda x: x.mean(1, dtype=torch.float16), values)


@pytest.mark.parametrize("dynamic", [False, True], ids=["static", "dynamic"])
def test_gradient_of_group_norm_of_nothing(dynamic: bool) -> None:
    def function(grad: torch.Tensor, x: torch.Tensor, weight: torch.Tensor) -> Any:
        sizes = (x.shape[0], 4, 9, 2)
        _, mean, rstd = torch.native_group_norm(x, weight, weight, *sizes, 1e-5)
        return torch.ops.aten.native_group_norm_backward(
            grad, x, mean, rstd, weight, *sizes, [True, True, True]
        )

    empty = torch.zeros(0, 4, 3, 3)
    check(function, empty, empty, torch.ones(4), dynamic=dynamic)


POLYNOMIALS = [
    *(f"chebyshev_polynomial_{letter}" for letter in "tuvw"),
    *(f"shifted_chebyshev_polynomial_{letter}" for letter in "tw"),
    "hermite_polynomial_h",
    "hermite_polynomial_he",
    "laguerre_polynomial_l",
    "legendre_polynomial_p",
]
DEGREES = torch.tensor([[-1.0], [0.0], [1.0], [2.0], [5.0], [8.0]])


@pytest.mark.parametrize("name", POLYNOMIALS)
def test_polynomial(name: str) -> None:
    function = getattr(special, name)
    points = torch.tensor([-2.5, -1.0, -0.3, 0.0, 0.7, 1.0, 1.5])
    check(lambda x: [function(x, n) for n in (-1, 0, 1, 5)], points, exact=False)
    if "chebyshev" in name:
        check(function, points, DEGREES, dynamic=True, exact=False)
