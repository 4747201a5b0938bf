"""Orthogonal polynomials: Chebyshev's in closed form for any degrees, the others by their
recurrences for one fixed degree."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

aten = torch.ops.aten

_DEGREE_LIMIT = 64
"""Largest degree of a recurrence that is written out."""


def _power_of_minus_one(n: Tensor) -> Tensor:
    half = n * 0.5
    return 1 - 4 * (half - half.floor())


def _first_kind(n: Tensor, x: Tensor) -> Tensor:
    """T: cos(n t) with x = cos(t), and cosh(n t) with abs(x) = cosh(t) outside."""
    size = x.abs()
    near = (n * torch.where(size <= 1, x, 0.0).acos()).cos()
    far = (n * torch.where(size > 1, size, 1.0).acosh()).cosh()
    far = torch.where(x < 0, far * _power_of_minus_one(n), far)
    return torch.where(size <= 1, near, far)


def _second_kind(n: Tensor, x: Tensor) -> Tensor:
    """U: sin((n + 1) t) / sin(t), whose limit at the ends is n + 1 up to the sign."""
    size = x.abs()
    inner = torch.where(size < 1, x, 0.0).acos()
    outer = torch.where(size > 1, size, 2.0).acosh()
    far = torch.where(size == 1, n + 1, ((n + 1) * outer).sinh() / outer.sinh())
    far = torch.where(x < 0, far * _power_of_minus_one(n), far)
    return torch.where(size < 1, ((n + 1) * inner).sin() / inner.sin(), far)


def _third_kind(n: Tensor, x: Tensor) -> Tensor:
    """V = U_n - U_(n - 1) as cos((n + 1/2) t) / cos(t / 2)."""
    size = x.abs()
    inner = torch.where(size < 1, x, 0.0).acos()
    outer = torch.where(size > 1, size, 2.0).acosh()
    above = ((n + 0.5) * outer).cosh() / (outer * 0.5).cosh()
    below = ((n + 0.5) * outer).sinh() / (outer * 0.5).sinh()
    above = torch.where(size == 1, 1.0, above)
    below = torch.where(size == 1, 2 * n + 1, below) * _power_of_minus_one(n)
    near = ((n + 0.5) * inner).cos() / (inner * 0.5).cos()
    return torch.where(size < 1, near, torch.where(x > 0, above, below))


def _fourth_kind(n: Tensor, x: Tensor) -> Tensor:
    """W: V of -x up to the sign."""
    return _power_of_minus_one(n) * _third_kind(n, -x)


def _chebyshev(kind: Callable[[Tensor, Tensor], Tensor], shifted: bool) -> Callable[..., Tensor]:
    def run(x: Tensor, n: Tensor) -> Tensor:
        dtype = torch.result_type(x, n)
        dtype = dtype if dtype.is_floating_point else torch.get_default_dtype()
        value, degree = torch.broadcast_tensors(x.to(dtype), n.double().trunc())
        value = (value + value - 1 if shifted else value).double()
        found = torch.where(degree < 0, 0.0, kind(degree, value))
        return torch.where(value == value, found, math.nan).to(dtype)

    return run


def _of_degree(kind: Callable[..., Tensor], shifted: bool) -> Callable[..., Tensor]:
    tensors = _chebyshev(kind, shifted)

    def run(x: Tensor, n: float) -> Tensor:
        return tensors(x, x.new_full((), n))

    return run


def _recurrence(
    first: Callable[[Tensor], Tensor], step: Callable[[int, Tensor, Tensor, Tensor], Tensor]
) -> Callable[..., Tensor]:
    """A family by p0 = 1, p1 = first(x), p(k + 1) = step(k, x, pk, p(k - 1))."""

    def run(x: Tensor, n: float) -> Tensor:
        degree = int(n)
        if degree > _DEGREE_LIMIT:
            return NotImplemented
        x = x if x.dtype.is_floating_point else x.to(torch.get_default_dtype())
        if degree < 1:
            return torch.full_like(x, 1.0 if degree == 0 else 0.0)
        before, current = torch.ones_like(x), first(x)
        for k in range(1, degree):
            before, current = current, step(k, x, current, before)
        return current

    return run


_KINDS = {"t": _first_kind, "u": _second_kind, "v": _third_kind, "w": _fourth_kind}
_RECURRENCES: dict[Any, Callable[..., Tensor]] = {
    aten.special_hermite_polynomial_h.n_scalar: _recurrence(
        lambda x: x + x, lambda k, x, q, p: (x + x) * q - 2 * k * p
    ),
    aten.special_hermite_polynomial_he.n_scalar: _recurrence(
        lambda x: x, lambda k, x, q, p: x * q - k * p
    ),
    aten.special_laguerre_polynomial_l.n_scalar: _recurrence(
        lambda x: 1 - x, lambda k, x, q, p: ((2 * k + (1 - x)) * q - k * p) / (k + 1)
    ),
    aten.special_legendre_polynomial_p.n_scalar: _recurrence(
        lambda x: x, lambda k, x, q, p: ((2 * k + 1) * x * q - k * p) / (k + 1)
    ),
}


def _chebyshev_table() -> dict[Any, Callable[..., Any]]:
    table: dict[Any, Callable[..., Any]] = {}
    for letter, kind in _KINDS.items():
        for prefix, shifted in (("", False), ("shifted_", True)):
            packet = getattr(aten, f"special_{prefix}chebyshev_polynomial_{letter}")
            table[packet.default] = _chebyshev(kind, shifted)
            table[packet.n_scalar] = _of_degree(kind, shifted)
    return table


OWN_DECOMPOSITIONS: dict[Any, Callable[..., Any]] = {**_chebyshev_table(), **_RECURRENCES}
"""Decompositions by OpOverload; NotImplemented leaves a call whole."""
