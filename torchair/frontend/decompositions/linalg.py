"""Linear algebra that GE has no operator for, in terms of triangular solves, SVD and products."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch._decomp import get_decompositions
from torch.nn import functional

aten = torch.ops.aten


def row_order(pivots: Tensor, rows: int) -> Tensor:
    """The order of rows [.., rows] that LAPACK's interchanges [.., n] lead to.

    Interchange k, from 1, exchanges rows k and ``pivots[k]``; each becomes an index vector, and
    neighbours are composed until one is left.
    """
    count = int(pivots.shape[-1])
    place = torch.arange(rows, device=pivots.device)
    if count == 0:
        return place.expand(*pivots.shape[:-1], rows)
    step = torch.arange(count, device=pivots.device).unsqueeze(-1)
    partner = pivots.long().unsqueeze(-1) - 1
    swapped = torch.where(place == partner, step, place)
    tables = torch.where(place == step, partner, swapped)
    while count > 1:
        pairs = count // 2
        first = tables.narrow(-2, 0, 2 * pairs).unflatten(-2, (pairs, 2))
        joined = torch.gather(first.select(-2, 0), -1, first.select(-2, 1))
        if count % 2:
            joined = torch.cat([joined, tables.narrow(-2, count - 1, 1)], -2)
        tables, count = joined, pairs + count % 2
    return tables.squeeze(-2)


def _rows(values: Tensor, order: Tensor) -> Tensor:
    """The rows [.., n, k] of a matrix in an order [.., n]."""
    index = order.unsqueeze(-1)
    batch = torch.broadcast_shapes(values.shape[:-2], index.shape[:-2])
    values = values.expand(*batch, *values.shape[-2:])
    return torch.gather(values, -2, index.expand(*batch, index.shape[-2], values.shape[-1]))


def _inverse_order(order: Tensor) -> Tensor:
    line = torch.arange(order.shape[-1], device=order.device).expand(order.shape)
    return torch.scatter(torch.zeros_like(order), -1, order, line)


def _lu_unpack(
    LU_data: Tensor, LU_pivots: Tensor, unpack_data: bool = True, unpack_pivots: bool = True
) -> tuple[Tensor, Tensor, Tensor]:
    rows, columns = LU_data.shape[-2:]
    inner = min(rows, columns)
    empty = LU_data.new_empty(0)
    lower = upper = matrix = empty
    if unpack_data:
        eye = torch.eye(rows, inner, dtype=LU_data.dtype, device=LU_data.device)
        lower = LU_data[..., :inner].tril(-1) + eye
        upper = LU_data[..., :inner, :].triu()
    if unpack_pivots:
        order = row_order(LU_pivots, rows).unsqueeze(-2)
        line = torch.arange(rows, device=order.device).unsqueeze(-1)
        matrix = (order == line).to(LU_data.dtype)
    return matrix, lower, upper


def _lu_solve(
    LU: Tensor, pivots: Tensor, B: Tensor, *, left: bool = True, adjoint: bool = False
) -> Tensor:
    """Solves A X = B (or X A = B, or with the adjoint of A) from the factors of A."""
    if not left:
        return _lu_solve(LU, pivots, B.mH, adjoint=not adjoint).mH
    order = row_order(pivots, LU.shape[-1])
    solve = torch.linalg.solve_triangular
    if not adjoint:
        inner = solve(LU, _rows(B, order), upper=False, unitriangular=True)
        return solve(LU, inner, upper=True)
    inner = solve(LU.mH, B, upper=False)
    return _rows(solve(LU.mH, inner, upper=True, unitriangular=True), _inverse_order(order))


def _lu_of_rectangle(
    A: Tensor, *, pivot: bool = True, check_errors: bool = False
) -> tuple[Tensor, Tensor, Tensor]:
    """LU of a matrix that is not square, by that of a square one."""
    rows, columns = A.shape[-2:]
    if rows == columns or not pivot:
        return NotImplemented
    return _lu_of_tall(A) if rows > columns else _lu_of_wide(A)


def _lu_of_wide(A: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """More columns than rows: the square part is factored, the rest solved for."""
    rows = A.shape[-2]
    factors, pivots, info = torch.linalg.lu_factor_ex(A[..., :rows])
    rest = _rows(A[..., rows:], row_order(pivots, rows))
    solved = torch.linalg.solve_triangular(factors, rest, upper=False, unitriangular=True)
    return torch.cat([factors, solved], -1), pivots, info


def _lu_of_tall(A: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """More rows than columns: unit vectors are appended. They do not change the first columns but
    for the order of the lower rows, which is brought back to that of the first interchanges."""
    rows, columns = A.shape[-2:]
    unit = torch.eye(rows, dtype=A.dtype, device=A.device)[:, columns:]
    square = torch.cat([A, unit.expand(*A.shape[:-2], rows, rows - columns)], -1)
    factors, pivots, info = torch.linalg.lu_factor_ex(square)
    first = pivots[..., :columns]
    wanted, found = row_order(first, rows), row_order(pivots, rows)
    place = torch.gather(_inverse_order(found), -1, wanted)
    info = torch.where(info > columns, torch.zeros_like(info), info)
    return _rows(factors[..., :columns], place), first, info


def _lu_apart(A: Tensor, *, pivot: bool = True) -> tuple[Tensor, Tensor, Tensor]:
    if A.shape[-2] == A.shape[-1] or not pivot:
        return NotImplemented
    factors, pivots, _ = torch.linalg.lu_factor_ex(A)
    return _lu_unpack(factors, pivots)


def _solve_of_transpose(
    A: Tensor, B: Tensor, *, left: bool = True, check_errors: bool = False
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Eager keeps the factors of the transpose of a contiguous real matrix, else of the matrix."""
    if A.is_complex() or A.is_contiguous():
        return NotImplemented
    whole = aten._linalg_solve_ex.default(A.contiguous(), B, left=left)
    return whole[0], *torch.linalg.lu_factor_ex(A)


def _det_of_transpose(A: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    if A.is_complex() or A.is_contiguous():
        return NotImplemented
    factors, pivots, _ = torch.linalg.lu_factor_ex(A)
    return aten._linalg_det.default(A.contiguous())[0], factors, pivots


def _slogdet_of_transpose(A: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    if A.is_complex() or A.is_contiguous():
        return NotImplemented
    factors, pivots, _ = torch.linalg.lu_factor_ex(A)
    sign, logarithm, _, _ = aten._linalg_slogdet.default(A.contiguous())
    return sign, logarithm, factors, pivots


def _cholesky_inverse(self: Tensor, upper: bool = False) -> Tensor:
    eye = torch.eye(self.shape[-1], dtype=self.dtype, device=self.device)
    return torch.cholesky_solve(eye.expand(self.shape), self, upper)


def _bound(A: Tensor, largest: Tensor, atol: Tensor | None, rtol: Tensor | None) -> Tensor:
    """Singular values up to this count as zero: max(atol, rtol * largest), [.., 1]."""
    epsilon = torch.finfo(A.dtype).eps * max(A.shape[-2], A.shape[-1])
    absolute = largest.new_zeros(()) if atol is None else atol
    if rtol is not None:
        relative = rtol
    elif atol is None:
        relative = largest.new_full((), epsilon)
    else:
        relative = torch.where(absolute > 0, 0.0, epsilon).to(largest.dtype)
    return torch.maximum(absolute.unsqueeze(-1), relative.unsqueeze(-1) * largest)


def _pinv(
    self: Tensor, *, atol: Tensor | None = None, rtol: Tensor | None = None, hermitian: bool = False
) -> Tensor:
    """The pseudoinverse, by eigenvalues or singular values."""
    if self.numel() == 0:
        return self.new_empty(*self.shape[:-2], self.shape[-1], self.shape[-2])
    if hermitian:
        values, left = torch.linalg.eigh(self)
        right = left.mH
        size = values.abs()
        largest = size.amax(-1, keepdim=True)
    else:
        left, values, right = torch.linalg.svd(self, full_matrices=False)
        size, largest = values, values.narrow(-1, 0, 1)
    kept = size > _bound(self, largest, atol, rtol)
    inverse = torch.where(kept, values.reciprocal(), torch.zeros_like(values)).to(self.dtype)
    return right.mH @ (inverse.unsqueeze(-1) * left.mH)


def _householder_product(input: Tensor, tau: Tensor) -> Tensor:
    """The first columns of the product of reflections I - tau v v^H."""
    rows, columns = input.shape[-2:]
    product = torch.eye(rows, columns, dtype=input.dtype, device=input.device)
    product = product.expand(*input.shape[:-2], rows, columns)
    vectors = input.tril(-1) + torch.eye(rows, columns, dtype=input.dtype, device=input.device)
    for k in reversed(range(int(tau.shape[-1]))):
        vector = vectors.narrow(-1, k, 1)
        factor = tau.narrow(-1, k, 1).unsqueeze(-1)
        product = product - factor * vector @ (vector.mH @ product)
    return product


_MOST_REFLECTIONS = 64
"""Largest number of reflections that are written out."""


def _geqrf(a: Tensor) -> tuple[Tensor, Tensor]:
    """QR by Householder reflections with LAPACK's signs: R above, the vectors below."""
    rows, columns = (int(n) for n in a.shape[-2:])
    count = min(rows, columns)
    if count > _MOST_REFLECTIONS:
        return NotImplemented
    rest, upper, lower, taus = a, [], [], []
    for k in range(count):
        top, vector, tau, rest = _reflect(rest)
        upper.append(functional.pad(top, (k, 0)))
        lower.append(functional.pad(vector, (0, 0, k + 1, 0)))
        taus.append(tau)
    if not count:
        return a.clone(), a.new_zeros(*a.shape[:-2], 0)
    r = functional.pad(torch.cat(upper, -2), (0, 0, 0, rows - count))
    vectors = functional.pad(torch.cat(lower, -1), (0, columns - count))
    return r + vectors, torch.cat(taus, -1)


def _reflect(a: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """One step: the first row of R, the vector below its leading 1, tau, and what is left."""
    alpha, below = a[..., :1, 0], a[..., 1:, 0]
    tail = below.abs().square().sum(-1, keepdim=True)
    real = alpha.real if a.is_complex() else alpha
    size = (alpha.abs().square() + tail).sqrt()
    beta = -torch.copysign(size, real)
    is_done = (tail == 0) & (alpha == real)
    beta = torch.where(is_done, alpha, beta)
    divisor = torch.where(is_done, torch.ones_like(alpha), alpha - beta)
    scale = torch.where(is_done, torch.ones_like(alpha), beta)
    tau = torch.where(is_done, torch.zeros_like(alpha), (beta - alpha) / scale)
    vector = (below / divisor).unsqueeze(-1)
    block = a[..., 1:]
    full = torch.cat([torch.ones_like(alpha).unsqueeze(-1), vector], -2)
    block = block - tau.conj().unsqueeze(-1) * full @ (full.mH @ block)
    return torch.cat([beta.unsqueeze(-1), block[..., :1, :]], -1), vector, tau, block[..., 1:, :]


_CROSS = next(iter(get_decompositions([aten.linalg_cross]).values()), None)
_WITHOUT_CROSS = (torch.float64, torch.int64, torch.complex64, torch.complex128)


def _cross(self: Tensor, other: Tensor, *, dim: int = -1) -> Tensor:
    """Taken apart in the types that GE's ``Cross`` lacks."""
    if torch.result_type(self, other) not in _WITHOUT_CROSS or _CROSS is None:
        return NotImplemented
    return _CROSS(self, other, dim=dim)


def _ormqr(
    self: Tensor, input2: Tensor, input3: Tensor, left: bool = True, transpose: bool = False
) -> Tensor:
    """A matrix times the product of reflections I - tau v v^H (or its adjoint)."""
    if not left:
        return _ormqr(self, input2, input3.mH, transpose=not transpose).mH
    rows, columns = self.shape[-2:]
    unit = torch.eye(rows, columns, dtype=self.dtype, device=self.device)
    vectors = self.tril(-1) + unit
    found = input3
    order = range(int(input2.shape[-1]))
    for k in order if transpose else reversed(order):
        vector = vectors.narrow(-1, k, 1)
        factor = input2.narrow(-1, k, 1).unsqueeze(-1)
        factor = factor.conj() if transpose else factor
        found = found - factor * vector @ (vector.mH @ found)
    return found


_EXP_DEGREE, _EXP_DOUBLINGS = 20, 14
"""Taylor terms for a norm of at most 2, and how often its exponential may be squared."""


def _matrix_exp(self: Tensor) -> Tensor:
    """Scaling and squaring with a Taylor polynomial; each matrix is squared as often as its norm
    asks for, at most 14 times; nan for a 1-norm above 2**15."""
    if self.shape[-1] == 0:
        return self.clone()
    if self.dtype in (torch.float16, torch.bfloat16):
        return _matrix_exp(self.float()).to(self.dtype)
    norm = self.abs().sum(-2).amax(-1)[..., None, None]
    needed = torch.where(norm > 2, norm, 2.0).log2().ceil() - 1
    needed = needed.clamp(0, _EXP_DOUBLINGS)
    scaled = self * torch.exp2(-needed)
    unit = torch.eye(self.shape[-1], dtype=self.dtype, device=self.device).expand(self.shape)
    found = unit
    for k in range(_EXP_DEGREE, 0, -1):
        found = unit + scaled @ found / k
    for k in range(_EXP_DOUBLINGS):
        found = torch.where(needed > k, found @ found, found)
    return torch.where(norm <= 2 ** (_EXP_DOUBLINGS + 1), found, math.nan)


OWN_DECOMPOSITIONS: dict[Any, Callable[..., Any]] = {
    aten.lu_unpack.default: _lu_unpack,
    aten.linalg_lu_solve.default: _lu_solve,
    aten.linalg_lu_factor_ex.default: _lu_of_rectangle,
    aten.linalg_lu.default: _lu_apart,
    aten._linalg_solve_ex.default: _solve_of_transpose,
    aten._linalg_det.default: _det_of_transpose,
    aten._linalg_slogdet.default: _slogdet_of_transpose,
    aten.cholesky_inverse.default: _cholesky_inverse,
    aten.linalg_pinv.atol_rtol_tensor: _pinv,
    aten.linalg_householder_product.default: _householder_product,
    aten.linalg_cross.default: _cross,
    aten.ormqr.default: _ormqr,
    aten.geqrf.default: _geqrf,
    aten.linalg_matrix_exp.default: _matrix_exp,
}
"""Decompositions by OpOverload; NotImplemented leaves a call whole."""
