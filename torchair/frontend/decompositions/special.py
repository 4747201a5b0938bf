"""Special functions that GE has no operator for, in terms of those it has.

The gamma functions and ``erfcx`` are computed in float64, where sums and reflections keep the
accuracy of float32 at least; orthogonal polynomials of a fixed degree follow their recurrences.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

aten = torch.ops.aten

_SHIFT = 10
"""Arguments of the asymptotic series are at least this large."""
_STIRLING = (1 / 12, -1 / 360, 1 / 1260, -1 / 1680, 1 / 1188, -691 / 360360, 1 / 156)
"""B(2k) / (2k (2k - 1)): Stirling's series of log gamma (DLMF 5.11.1)."""
_DIGAMMA = (1 / 12, -1 / 120, 1 / 252, -1 / 240, 1 / 132, -691 / 32760, 1 / 12)
"""B(2k) / 2k: the series of digamma (DLMF 5.11.2)."""


def _result_dtype(x: Tensor) -> torch.dtype:
    return x.dtype if x.dtype.is_floating_point else torch.get_default_dtype()


def in_double(function: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    """A function of float64 for tensors of any real type, rounded once."""

    def run(self: Tensor) -> Tensor:
        return function(self.double()).to(_result_dtype(self))

    return run


def series(coefficients: tuple[float, ...], z: Tensor) -> Tensor:
    """Horner's scheme for c0 + c1 z + c2 z**2 + ..."""
    total = torch.full_like(z, coefficients[-1])
    for coefficient in reversed(coefficients[:-1]):
        total = total * z + coefficient
    return total


def _lgamma(x: Tensor) -> Tensor:
    """log |gamma(x)|: Stirling's series after a shift, reflected for x < 1/2."""
    is_small = x < 0.5
    positive = torch.where(is_small, 1 - x, x)
    needs_shift = positive < _SHIFT
    start = torch.where(needs_shift, positive, 1.0)
    product = start
    for step in range(1, _SHIFT):
        product = product * (start + step)
    large = torch.where(needs_shift, positive + _SHIFT, positive)
    inverse = large.reciprocal()
    tail = inverse * series(_STIRLING, inverse * inverse)
    found = (large - 0.5) * large.log() - large + 0.5 * math.log(2 * math.pi) + tail
    found = torch.where(needs_shift, found - product.log(), found)
    found = torch.where(positive == math.inf, math.inf, found)
    fraction = (x - x.floor()) * math.pi
    reflected = math.log(math.pi) - fraction.sin().abs().log() - found
    is_pole = (x <= 0) & (x == x.floor())
    return torch.where(is_pole, math.inf, torch.where(is_small, reflected, found))


def _digamma(x: Tensor) -> Tensor:
    """The logarithmic derivative of gamma, -inf at 0 and nan at negative integers as eager."""
    is_small = x < 0.5
    positive = torch.where(is_small, 1 - x, x)
    needs_shift = positive < _SHIFT
    start = torch.where(needs_shift, positive, 1.0)
    steps = sum(((start + step).reciprocal() for step in range(1, _SHIFT)), start.reciprocal())
    large = torch.where(needs_shift, positive + _SHIFT, positive)
    inverse = large.reciprocal()
    square = inverse * inverse
    found = large.log() - 0.5 * inverse - square * series(_DIGAMMA, square)
    found = torch.where(needs_shift, found - steps, found)
    turn = (x - x.floor()) * math.pi
    found = torch.where(is_small, found - math.pi * turn.cos() / turn.sin(), found)
    is_pole = (x < 0) & (x == x.floor())
    at_zero = -torch.copysign(torch.full_like(x, math.inf), x)
    return torch.where(x == 0, at_zero, torch.where(is_pole, math.nan, found))


def _polygamma(n: int, self: Tensor) -> Tensor:
    """(-1)**(n + 1) n! zeta(n + 1, x); the first derivative is reflected for x < 1/2.

    Eager multiplies by pi in the argument's type, but at least in float32, which decides the value
    near a pole.
    """
    if n == 0:
        return torch.digamma(self)
    x = self.to(_result_dtype(self)) if n > 1 else self.double()
    order = torch.full_like(x, n + 1)
    if n > 1:
        sign = 1.0 if n % 2 else -1.0
        return sign * math.exp(math.lgamma(n + 1)) * torch.special.zeta(order, x)
    is_small = x < 0.5
    found = torch.special.zeta(order, torch.where(is_small, 1 - x, x))
    narrow = torch.promote_types(_result_dtype(self), torch.float32)
    sine = (self.to(narrow) * math.pi).sin().double()
    reflected = (math.pi / sine).square() - found
    return torch.where(is_small, reflected, found).to(_result_dtype(self))


_ERFCX_TAIL = (1.0, -1 / 2, 3 / 4, -15 / 8, 105 / 16, -945 / 32, 10395 / 64)
"""The asymptotic series of sqrt(pi) x erfcx(x) in 1 / x**2 (DLMF 7.12.1)."""


def _erfcx(x: Tensor) -> Tensor:
    """exp(x**2) erfc(x), by the asymptotic series where erfc comes near underflow."""
    is_large = x > 20
    near = torch.where(is_large, 0.0, x)
    inverse = torch.where(is_large, x, 20.0).reciprocal()
    far = inverse * series(_ERFCX_TAIL, inverse * inverse) / math.sqrt(math.pi)
    return torch.where(is_large, far, (near * near).exp() * torch.erfc(near))


def _hypot(self: Tensor, other: Tensor) -> Tensor:
    """sqrt(self**2 + other**2) without overflow: the larger side is factored out."""
    one, two = torch.broadcast_tensors(self.abs(), other.abs())
    large, small = torch.maximum(one, two), torch.minimum(one, two)
    ratio = small / torch.where(large == 0, 1.0, large)
    found = large * (ratio * ratio + 1).sqrt()
    return torch.where((one == math.inf) | (two == math.inf), math.inf, found)


def _spherical_bessel_j0(x: Tensor) -> Tensor:
    """sin(x) / x, by its power series near zero."""
    x = x.to(_result_dtype(x))
    square = x * x
    coefficients = tuple((-1) ** k / math.factorial(2 * k + 1) for k in range(7))
    near = series(coefficients, square)
    ratio = x.sin() / torch.where(x == 0, 1.0, x)
    found = torch.where(x.abs() < 0.5, near, ratio)
    return torch.where(x.abs() == math.inf, 0.0, found)


def _frexp(self: Tensor) -> tuple[Tensor, Tensor]:
    """Mantissa in [1/2, 1) and exponent; subnormal numbers are scaled up first."""
    x = self.double()
    is_finite = (x.abs() != math.inf) & (x == x) & (x != 0)
    size = torch.where(is_finite, x.abs(), 1.0)
    exponent = size.log2().floor() + 1
    mantissa = size * torch.exp2(-exponent)
    exponent = torch.where(mantissa >= 1, exponent + 1, exponent)
    exponent = torch.where(mantissa < 0.5, exponent - 1, exponent)
    mantissa = torch.copysign(size * torch.exp2(-exponent), x)
    exponent = torch.where(is_finite, exponent, 0.0)
    return torch.where(is_finite, mantissa, x).to(self.dtype), exponent.to(torch.int32)


def _next_after(self: Tensor, other: Tensor) -> Tensor:
    """The neighbour of a 16-bit float, whose bits are the number of steps from zero.

    GE reads the bytes of float32 but not of bfloat16, whose bits are the upper half of them.
    """
    dtype = torch.result_type(self, other)
    if dtype not in (torch.float16, torch.bfloat16):
        return NotImplemented
    wide = dtype is torch.bfloat16
    x, y = torch.broadcast_tensors(self.to(dtype), other.to(dtype))
    readable = x.float() if wide else x.contiguous()
    bits = readable.view(torch.int32 if wide else torch.int16)
    one = 1 << 16 if wide else 1
    step = torch.where((y > x) == (x > 0), bits + one, bits - one)
    smallest = torch.full_like(bits, one)
    step, smallest = (b.view(readable.dtype).to(dtype) for b in (step, smallest))
    step = torch.where(x == 0, torch.copysign(smallest, y), step)
    return torch.where((x == y) | (y != y), y, torch.where(x != x, x, step))


OWN_DECOMPOSITIONS: dict[Any, Callable[..., Any]] = {
    aten.lgamma.default: in_double(_lgamma),
    aten.digamma.default: in_double(_digamma),
    aten.polygamma.default: _polygamma,
    aten.special_erfcx.default: in_double(_erfcx),
    aten.hypot.default: _hypot,
    aten.special_spherical_bessel_j0.default: _spherical_bessel_j0,
    aten.frexp.Tensor: _frexp,
    aten.nextafter.default: _next_after,
}
"""Decompositions by OpOverload."""
