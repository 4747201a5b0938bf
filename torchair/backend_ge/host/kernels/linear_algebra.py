"""Kernels of factorizations, solvers, inverses and determinants. Like GE's operators, they raise
where the factorization does not exist."""

from __future__ import annotations

import torch
from torch import Tensor

from torchair.backend_ge.host.kernels.registry import ints, kernel


def adjoint_of(x: Tensor) -> Tensor:
    """The conjugate transpose of the last two dimensions, without a pending conjugation."""
    turned = x.transpose(-2, -1)
    return torch.conj_physical(turned) if x.is_complex() else turned


@kernel("ConjugateTranspose")
def conjugate_transpose(x: Tensor, perm: Tensor) -> Tensor:
    turned = x.permute(ints(perm))
    return torch.conj_physical(turned) if x.is_complex() else turned


@kernel("Cholesky")
def cholesky(x: Tensor) -> Tensor:
    return torch.linalg.cholesky_ex(x, check_errors=True).L


@kernel("MatrixInverse")
def matrix_inverse(x: Tensor, adjoint: bool) -> Tensor:
    matrix = adjoint_of(x) if adjoint else x
    return torch.linalg.inv_ex(matrix, check_errors=True).inverse


@kernel("MatrixSolve")
def matrix_solve(matrix: Tensor, rhs: Tensor, adjoint: bool) -> Tensor:
    matrix = adjoint_of(matrix) if adjoint else matrix
    return torch.linalg.solve_ex(matrix, rhs, check_errors=True).result


@kernel("MatrixTriangularSolve")
def matrix_triangular_solve(matrix: Tensor, rhs: Tensor, lower: bool, adjoint: bool) -> Tensor:
    if adjoint:
        matrix, lower = adjoint_of(matrix), not lower
    return torch.linalg.solve_triangular(matrix, rhs, upper=not lower)


@kernel("MatrixDeterminant")
def matrix_determinant(x: Tensor) -> Tensor:
    return torch.linalg.det(x)


@kernel("LogMatrixDeterminant")
def log_matrix_determinant(x: Tensor) -> tuple[Tensor, Tensor]:
    sign, logarithm = torch.linalg.slogdet(x)
    return sign, logarithm.to(x.dtype)


@kernel("Qr")
def qr(x: Tensor, full_matrices: bool) -> tuple[Tensor, Tensor]:
    q, r = torch.linalg.qr(x, "complete" if full_matrices else "reduced")
    return q, r


@kernel("Svd")
def svd(x: Tensor, compute_uv: bool, full_matrices: bool) -> tuple[Tensor, Tensor, Tensor]:
    """x = u @ diag(sigma) @ v^H."""
    u, sigma, vh = torch.ops.aten._linalg_svd(x, full_matrices, compute_uv)
    v = adjoint_of(vh) if compute_uv else vh
    return sigma.to(x.dtype), u, v


@kernel("SelfAdjointEig")
def self_adjoint_eig(x: Tensor, compute_v: bool) -> tuple[Tensor, Tensor]:
    """Reads the lower triangle; eigenvalues ascend."""
    values, vectors = torch.ops.aten._linalg_eigh(x, "L", compute_v)
    return values.to(x.dtype), vectors


@kernel("Lu")
def lu(input: Tensor, output_idx_type: torch.dtype) -> tuple[Tensor, Tensor]:
    """Both factors in one matrix, and the row of the input that each row of the product is."""
    factors, pivots, _ = torch.linalg.lu_factor_ex(input)
    if input.numel() == 0:
        return factors, torch.zeros_like(pivots, dtype=output_idx_type)
    matrix, _, _ = torch.lu_unpack(factors, pivots, unpack_data=False)
    real = matrix.real if matrix.is_complex() else matrix
    return factors, torch.argmax(real, -2).to(output_idx_type)


@kernel("Cross")
def cross(x1: Tensor, x2: Tensor, dim: int) -> Tensor:
    """Without ``dim``, along the first dimension of size 3."""
    axis = list(x1.shape).index(3) if dim == _FIRST_OF_SIZE_3 else dim
    return torch.linalg.cross(x1, x2, dim=axis)


_FIRST_OF_SIZE_3 = -65530
