"""Bessel functions of order 0 and 1 and the Airy function: power series near zero and asymptotic
series far from it, in float64. Formulas: DLMF chapters 9 and 10."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import accumulate
from typing import Any

import torch
from torch import Tensor

from torchair.frontend.decompositions.special import in_double, series

aten = torch.ops.aten

_NEAR, _NEAR_MODIFIED, _NEAR_AIRY = 12.0, 9.0, 5.6
"""Where the series meet: the power series loses exp(x) (modified: exp(2 x)) of its digits, the
asymptotic one ends at an error of exp(-2 x)."""
_TERMS, _TAIL = 44, 18
_EULER = 0.57721566490153286

_HARMONIC = tuple(accumulate((1.0 / k for k in range(1, _TERMS + 1)), initial=0.0))
_J = {
    0: tuple(1.0 / math.factorial(k) ** 2 for k in range(_TERMS)),
    1: tuple(1.0 / (math.factorial(k) * math.factorial(k + 1)) for k in range(_TERMS)),
}
"""Coefficients of J0 and 2 J1 / x in -(x / 2)**2, and of I0 and 2 I1 / x in (x / 2)**2."""
_LOGARITHMIC = {
    0: tuple(2 * h * c for h, c in zip(_HARMONIC, _J[0], strict=False)),
    1: tuple(
        (_HARMONIC[k] + _HARMONIC[k + 1] - 2 * _EULER) * _J[1][k] for k in range(_TERMS)
    ),
}  # fmt: skip
"""Coefficients of what Y and K add to the logarithm times J and I (DLMF 10.8.1, 10.31.1)."""


def _asymptotic(order: int) -> tuple[float, ...]:
    """a(k) of DLMF 10.17.1."""
    mu = 4.0 * order * order
    steps = ((mu - (2 * k - 1) ** 2) / (8 * k) for k in range(1, _TAIL))
    return tuple(accumulate(steps, lambda a, b: a * b, initial=1.0))


def _alternating(coefficients: tuple[float, ...], first: int) -> tuple[float, ...]:
    """Every second coefficient, with alternating signs."""
    return tuple((-1) ** k * a for k, a in enumerate(coefficients[first::2]))


def _oscillating(order: int, x: Tensor, second: bool) -> Tensor:
    """J or Y far from zero (DLMF 10.17.3, 10.17.4)."""
    inverse = x.reciprocal()
    square, a = inverse * inverse, _asymptotic(order)
    even = series(_alternating(a, 0), square)
    odd = inverse * series(_alternating(a, 1), square)
    turn = x - (0.5 * order + 0.25) * math.pi
    sine, cosine = turn.sin(), turn.cos()
    wave = sine * even + cosine * odd if second else cosine * even - sine * odd
    return (inverse * (2 / math.pi)).sqrt() * wave


def _first_kind(order: int) -> Callable[[Tensor], Tensor]:
    def run(x: Tensor) -> Tensor:
        size = x.abs()
        is_near = size < _NEAR
        half = torch.where(is_near, size, 0.0) * 0.5
        near = series(_J[order], -half * half) * (half if order else 1.0)
        far = _oscillating(order, torch.where(is_near, _NEAR, size), second=False)
        found = torch.where(is_near, near, far)
        return torch.copysign(torch.ones_like(x), x) * found if order else found

    return run


def _second_kind(order: int) -> Callable[[Tensor], Tensor]:
    def run(x: Tensor) -> Tensor:
        is_near = (x < _NEAR) & (x > 0)
        half = torch.where(is_near, x, 1.0) * 0.5
        q = -half * half
        j = series(_J[order], q) * (half if order else 1.0)
        added = series(_LOGARITHMIC[order], q)
        if order:
            near = (2 * half.log() * j - half * added - half.reciprocal()) / math.pi
        else:
            near = (2 * (half.log() + _EULER) * j - added) / math.pi
        far = _oscillating(order, torch.where(is_near | (x <= 0), _NEAR, x), second=True)
        return _of_positive(x, torch.where(is_near, near, far), -math.inf)

    return run


def _modified(order: int, scaled: bool) -> Callable[[Tensor], Tensor]:
    """K, or K times exp(x)."""

    def run(x: Tensor) -> Tensor:
        is_near = (x < _NEAR_MODIFIED) & (x > 0)
        half = torch.where(is_near, x, 1.0) * 0.5
        q = half * half
        i = series(_J[order], q) * (half if order else 1.0)
        added = 0.5 * series(_LOGARITHMIC[order], q)
        if order:
            near = half.reciprocal() * 0.5 + half.log() * i - half * added
        else:
            near = added - (half.log() + _EULER) * i
        large = torch.where(is_near | (x <= 0), _NEAR_MODIFIED, x)
        inverse = large.reciprocal()
        far = (inverse * (math.pi / 2)).sqrt() * series(_asymptotic(order), inverse)
        if scaled:
            near = near * (2 * half).exp()
        else:
            far = far * (-large).exp()
        return _of_positive(x, torch.where(is_near, near, far), math.inf)

    return run


def _of_positive(x: Tensor, found: Tensor, at_zero: float) -> Tensor:
    """The function has a pole at zero and is not real below."""
    return torch.where(x > 0, found, torch.where(x == 0, at_zero, math.nan))


_AIRY_TERMS, _AIRY_TAIL = 36, 14
_AIRY_F = tuple(
    accumulate(
        (1.0 / (3 * k * (3 * k - 1)) for k in range(1, _AIRY_TERMS)),
        lambda a, b: a * b,
        initial=0.35502805388781724,  # Ai(0)
    )
)
_AIRY_G = tuple(
    accumulate(
        (1.0 / (3 * k * (3 * k + 1)) for k in range(1, _AIRY_TERMS)),
        lambda a, b: a * b,
        initial=-0.25881940379280680,  # Ai'(0)
    )
)
_AIRY_U = tuple(
    accumulate(
        ((6 * k - 5) * (6 * k - 3) * (6 * k - 1) / (216 * k * (2 * k - 1))
         for k in range(1, _AIRY_TAIL)),
        lambda a, b: a * b,
        initial=1.0,
    )
)  # fmt: skip
"""u(k) of DLMF 9.7.2."""


def _airy(x: Tensor) -> Tensor:
    """Ai (DLMF 9.4.1, 9.7.5, 9.7.9); not a number at infinity, as eager."""
    size = x.abs()
    is_near = size < _NEAR_AIRY
    small = torch.where(is_near, x, 0.0)
    cube = small * small * small
    near = series(_AIRY_F, cube) + small * series(_AIRY_G, cube)
    large = torch.where(is_near, _NEAR_AIRY, size)
    zeta = large * large.sqrt() * (2 / 3)
    inverse = zeta.reciprocal()
    falling = 0.5 * (-zeta).exp() * series(_AIRY_U, -inverse)
    square = inverse * inverse
    even = series(_alternating(_AIRY_U, 0), square)
    odd = inverse * series(_alternating(_AIRY_U, 1), square)
    turn = zeta - math.pi / 4
    waving = turn.cos() * even + turn.sin() * odd
    far = torch.where(x > 0, falling, waving) / (math.sqrt(math.pi) * large.sqrt().sqrt())
    found = torch.where(is_near, near, far)
    return torch.where(size == math.inf, math.nan, found)


OWN_DECOMPOSITIONS: dict[Any, Callable[..., Any]] = {
    aten.special_bessel_j0.default: in_double(_first_kind(0)),
    aten.special_bessel_j1.default: in_double(_first_kind(1)),
    aten.special_bessel_y0.default: in_double(_second_kind(0)),
    aten.special_bessel_y1.default: in_double(_second_kind(1)),
    aten.special_modified_bessel_k0.default: in_double(_modified(0, scaled=False)),
    aten.special_modified_bessel_k1.default: in_double(_modified(1, scaled=False)),
    aten.special_scaled_modified_bessel_k0.default: in_double(_modified(0, scaled=True)),
    aten.special_scaled_modified_bessel_k1.default: in_double(_modified(1, scaled=True)),
    aten.special_airy_ai.default: in_double(_airy),
}
"""Decompositions by OpOverload."""
