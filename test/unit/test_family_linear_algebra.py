"""Linear algebra: factorizations, solvers, determinants, and what is written in terms of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from family_check import check, check_gradients

linalg = torch.linalg


def matrix(*shape: int, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    """A well-conditioned matrix: random plus a multiple of the identity."""
    generator = torch.Generator().manual_seed(sum(shape))
    noise = torch.randn(*shape, dtype=dtype, generator=generator)
    return noise + 3 * torch.eye(shape[-2], shape[-1], dtype=dtype)


def positive(*shape: int, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    """A positive definite matrix."""
    half = matrix(*shape, dtype=dtype)
    return half @ half.mH


def _lu_solve(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    return linalg.lu_solve(*linalg.lu_factor(a), b)


def _lu_solve_adjoint(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    return linalg.lu_solve(*linalg.lu_factor(a), b.mT, left=False, adjoint=True)


CASES: list[tuple[str, Callable[..., Any], tuple[tuple[int, ...], ...]]] = [
    ("inv", linalg.inv, ((2, 4, 4),)),
    ("inv_of_transpose", lambda a: linalg.inv(a.mT), ((4, 4),)),
    ("inv_empty", linalg.inv, ((0, 0),)),
    ("solve", linalg.solve, ((3, 4, 4), (3, 4, 2))),
    ("solve_vector", linalg.solve, ((4, 4), (4,))),
    ("solve_vectors", linalg.solve, ((3, 4, 4), (3, 4))),
    ("solve_batch", linalg.solve, ((2, 1, 4, 4), (3, 4, 2))),
    ("solve_right", lambda a, b: linalg.solve(a, b, left=False), ((4, 4), (2, 4))),
    ("solve_of_transpose", lambda a, b: linalg.solve(a.mT, b), ((4, 4), (4, 2))),
    ("det", linalg.det, ((2, 4, 4),)),
    ("slogdet", linalg.slogdet, ((2, 4, 4),)),
    ("qr", linalg.qr, ((2, 5, 3),)),
    ("qr_complete", lambda a: linalg.qr(a, "complete"), ((5, 3),)),
    ("qr_r", lambda a: linalg.qr(a, "r")[1], ((3, 5),)),
    ("svdvals", linalg.svdvals, ((2, 5, 3),)),
    ("svd", lambda a: linalg.svd(a, full_matrices=False), ((2, 3, 5),)),
    ("lu_factor", lambda a: linalg.lu_factor_ex(a), ((2, 5, 5),)),
    ("lu_factor_wide", lambda a: linalg.lu_factor_ex(a), ((3, 5),)),
    ("lu_of_one", lambda a: linalg.lu_factor_ex(a), ((1, 1),)),
    ("lu", linalg.lu, ((2, 5, 5),)),
    ("lu_wide", linalg.lu, ((3, 5),)),
    ("lu_unpack", lambda a: torch.lu_unpack(*linalg.lu_factor(a)), ((2, 7, 7),)),
    ("lu_solve", _lu_solve, ((2, 5, 5), (2, 5, 3))),
    ("lu_solve_adjoint", _lu_solve_adjoint, ((5, 5), (5, 3))),
    ("triangular", lambda a, b: linalg.solve_triangular(a, b, upper=True), ((4, 4), (4, 2))),
    (
        "triangular_right_unit",
        lambda a, b: linalg.solve_triangular(a, b, upper=False, left=False, unitriangular=True),
        ((4, 4), (2, 4)),
    ),
    (
        "triangular_of_transpose",
        lambda a, b: linalg.solve_triangular(a.mT, b, upper=True),
        ((3, 4, 4), (4, 2)),
    ),
    ("triangular_old", lambda b, a: torch.triangular_solve(b, a, False, True), ((4, 2), (4, 4))),
    ("householder", lambda a, t: linalg.householder_product(a, t[..., 0]), ((5, 3), (3, 1))),
    ("ormqr", lambda a, t, b: torch.ormqr(a, t[..., 0], b), ((5, 3), (3, 1), (5, 2))),
    ("matrix_exp", linalg.matrix_exp, ((2, 3, 3),)),
    ("pinv", linalg.pinv, ((2, 5, 3),)),
    ("matrix_power", lambda a: linalg.matrix_power(a, -2), ((3, 3),)),
    ("cross", lambda a, b: linalg.cross(a, b, dim=0), ((3, 4), (3, 1))),
]


@pytest.mark.parametrize("dynamic", [False, True], ids=["static", "dynamic"])
@pytest.mark.parametrize(("name", "function", "shapes"), CASES, ids=[c[0] for c in CASES])
def test_like_eager(name: str, function: Any, shapes: Any, dynamic: bool) -> None:
    values = [matrix(*s) if len(s) > 1 else torch.linspace(1, 2, s[0]) for s in shapes]
    check(function, *values, dynamic=dynamic, exact=False)


DEFINITE: list[tuple[str, Callable[[torch.Tensor], Any]]] = [
    ("cholesky", linalg.cholesky),
    ("cholesky_upper", lambda a: linalg.cholesky_ex(a, upper=True)),
    ("cholesky_inverse", torch.cholesky_inverse),
    ("cholesky_solve", lambda a: torch.cholesky_solve(a, torch.linalg.cholesky(a))),
    ("eigvalsh", lambda a: linalg.eigvalsh(a, UPLO="U")),
    ("eigh", linalg.eigh),
    ("pinv_hermitian", lambda a: linalg.pinv(a, hermitian=True)),
    ("inv", linalg.inv),
    ("det", linalg.slogdet),
]


@pytest.mark.parametrize("dtype", [torch.float64, torch.complex64], ids=str)
@pytest.mark.parametrize(("name", "function"), DEFINITE, ids=[c[0] for c in DEFINITE])
def test_definite(name: str, function: Any, dtype: torch.dtype) -> None:
    check(function, positive(2, 4, 4, dtype=dtype), exact=False)


@pytest.mark.parametrize("size", [1, 2, 3, 8, 13])
@pytest.mark.parametrize("dynamic", [False, True], ids=["static", "dynamic"])
def test_pivots_of_many_interchanges(size: int, dynamic: bool) -> None:
    generator = torch.Generator().manual_seed(size)
    values = torch.randn(20, size, size, generator=generator)
    (graph,) = check(linalg.lu_factor_ex, values, dynamic=dynamic)
    assert not graph.interpreted


@pytest.mark.parametrize("dtype", [torch.float64, torch.complex64], ids=str)
@pytest.mark.parametrize("shape", [(6, 3), (2, 5, 4), (3, 6), (1, 1), (4, 4)])
def test_factors_of_rectangles(shape: tuple[int, ...], dtype: torch.dtype) -> None:
    values = matrix(*shape, dtype=dtype)

    def factored(a: torch.Tensor) -> Any:
        return linalg.lu_factor_ex(a), linalg.lu(a), torch.geqrf(a)

    check(factored, values, exact=False)


def test_reflections_of_finished_columns() -> None:
    check(torch.geqrf, torch.tensor([[2.0, 1, 0], [0, 3, 1], [0, 0, -4]]), exact=False)


def test_status_of_a_tall_matrix() -> None:
    values = torch.tensor([[1.0, 0], [2, 0], [3, 0]])
    check(lambda a: linalg.lu_factor_ex(a).info, values)
    check(lambda a: linalg.lu_factor_ex(a).info, torch.tensor([[1.0, 2], [2, 0], [3, 0]]))


def test_status_tells_the_first_zero_pivot() -> None:
    values = torch.diag_embed(torch.tensor([[1.0, 2, 3], [1, 0, 0], [0, 1, 1]]))
    check(lambda a: linalg.lu_factor_ex(a).info, values)


@pytest.mark.parametrize("name", ["inv", "det", "slogdet", "solve", "cholesky"])
def test_gradient(name: str) -> None:
    def function(a: torch.Tensor) -> torch.Tensor:
        if name == "solve":
            return linalg.solve(a, a[:, :2])
        result = getattr(linalg, name)(a)
        return result[1] if isinstance(result, tuple) else result

    check_gradients(function, positive(4, 4), exact=False)


def test_node_counts() -> None:
    (graph,) = check(linalg.solve, matrix(4, 4), matrix(4, 2), exact=False)
    assert graph.node_types == ["MatrixSolve"]
    (graph,) = check(lambda a: linalg.inv(a.mT), matrix(4, 4), exact=False)
    assert graph.node_types == ["MatrixInverse"]
    (graph,) = check(linalg.det, matrix(4, 4), exact=False)
    assert graph.node_types == ["MatrixDeterminant"]
