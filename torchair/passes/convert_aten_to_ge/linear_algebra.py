"""Linear algebra: factorizations, solutions of linear systems, inverses and determinants.

GE's operators fail where a factorization does not exist, so the status that ATen's ``_ex``
operators return is zero whenever the graph comes to its end (except for ``Lu``, which goes on).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from xdsl.ir import Attribute, SSAValue

from torchair.dialects.ge import builder as ge
from torchair.errors import ConversionError
from torchair.ir import element_types, interned
from torchair.passes.convert_aten_to_ge import geometry, recipes
from torchair.passes.convert_aten_to_ge.operands import with_element
from torchair.passes.convert_aten_to_ge.pivots import info_of, pivots_of
from torchair.passes.convert_aten_to_ge.registry import converts


def is_complex(value: SSAValue) -> bool:
    """Whether a tensor has complex elements."""
    return element_types.is_complex(ge.element(value))


def transposed(value: SSAValue, conjugate: bool = True) -> SSAValue:
    """The (conjugate) transpose of the last two dimensions; of a transpose, its operand."""
    source, was_transposed = recipes.untransposed(value)
    if was_transposed and not (conjugate and is_complex(value)):
        return source
    sizes = [*geometry.shape(value)]
    sizes[-2:] = sizes[-1], sizes[-2]
    last = len(sizes) - 1
    perm = [*range(last - 1), last, last - 1]
    name = "ConjugateTranspose" if conjugate and is_complex(value) else "Transpose"
    return ge.call(name, value, perm, out=recipes.like(value.type, sizes))


def _adjoint_form(value: SSAValue) -> tuple[SSAValue, bool]:
    """A matrix as (matrix, adjoint): without a transpose that the flag can say."""
    if is_complex(value):
        return value, False
    return recipes.untransposed(value)


def _batch_sizes(values: Sequence[SSAValue]) -> list[geometry.Size]:
    """Sizes of the broadcast dimensions before the last two."""
    count = max(geometry.rank(v) for v in values) - 2
    found: list[geometry.Size] = [1] * count
    for position in range(count):
        for value in values:
            dim = position - count + geometry.rank(value) - 2
            if dim >= 0 and geometry.symbols(value)[dim] != 1:
                found[position] = ge.size(value, dim)
                break
    return found


def _with_batch(value: SSAValue, batch: Sequence[geometry.Size]) -> SSAValue:
    """A value broadcast to leading sizes, which are those of one of the operands."""
    rank = geometry.rank(value)
    own = [ge.size(value, dim) for dim in range(rank - 2)]
    if len(own) == len(batch) and all(a is b or a == b for a, b in zip(own, batch, strict=True)):
        return value
    wanted = [*batch, ge.size(value, rank - 2), ge.size(value, rank - 1)]
    sizes = [n if isinstance(n, int) else interned.DYNAMIC for n in wanted]
    return ge.BroadcastTo(value, wanted, out=recipes.like(value.type, sizes))


def _same_batch(*values: SSAValue) -> list[SSAValue]:
    """Operands broadcast to common leading sizes, which GE's solvers do not do."""
    known = [geometry.symbols(v)[:-2] for v in values]
    if all(k == known[0] and None not in k for k in known):
        return list(values)
    batch = _batch_sizes(values)
    return [_with_batch(v, batch) for v in values]


def _status(matrix: SSAValue, out: Attribute) -> SSAValue:
    """The zeros of ``info``: one per matrix."""
    sizes = [ge.size(matrix, dim) for dim in range(geometry.rank(matrix) - 2)]
    return recipes.filled(0, sizes, interned.element_type(out))


@converts("_linalg_check_errors(Tensor info, str api_name, *, bool is_matrix) -> ()")
def check_errors(info: Any, api_name: Any, is_matrix: Any) -> Any:
    """Nothing: GE's operators fail by themselves."""
    return []


@converts("linalg_inv_ex(Tensor A, *, bool check_errors=False) -> (Tensor inverse, Tensor info)")
def inv_ex(A: Any, out: Any, check_errors: Any = False) -> Any:
    recipes.require("MatrixInverse", A)
    matrix, adjoint = _adjoint_form(A)
    return ge.MatrixInverse(matrix, adjoint=adjoint, out=out[0]), _status(A, out[1])


def _cholesky(matrix: SSAValue, upper: bool, out: Attribute) -> SSAValue:
    """GE reads the lower triangle and returns a lower one."""
    recipes.require("Cholesky", matrix)
    if not upper:
        return ge.Cholesky(matrix, out=out)
    lower = ge.Cholesky(transposed(matrix), out=transposed_type(out))
    return transposed(lower)


def transposed_type(type_: Attribute) -> Attribute:
    """A matrix type with the last two sizes exchanged."""
    sizes = [*geometry.shape(type_)]
    sizes[-2:] = sizes[-1], sizes[-2]
    return recipes.like(type_, sizes)


@converts(
    "linalg_cholesky_ex(Tensor self, *, bool upper=False, bool check_errors=False) "
    "-> (Tensor L, Tensor info)"
)
def cholesky_ex(self: Any, out: Any, upper: Any = False, check_errors: Any = False) -> Any:
    return _cholesky(self, upper, out[0]), _status(self, out[1])


@converts("cholesky(Tensor self, bool upper=False) -> Tensor")
def cholesky(self: Any, out: Any, upper: Any = False) -> Any:
    return _cholesky(self, upper, out)


@converts('linalg_qr(Tensor A, str mode="reduced") -> (Tensor Q, Tensor R)')
def qr(A: Any, out: Any, mode: Any = "reduced") -> Any:
    recipes.require("Qr", A)
    if mode != "r":
        return ge.Qr(A, full_matrices=mode == "complete", out=tuple(out))
    rows, columns = geometry.shape(A)[-2:]
    known = interned.DYNAMIC not in (rows, columns)
    inner = min(rows, columns) if known else interned.DYNAMIC
    q_type = recipes.like(A.type, [*geometry.shape(A)[:-1], inner])
    _, upper = ge.Qr(A, full_matrices=False, out=(q_type, out[1]))
    return recipes.empty(interned.element_type(out[0])), upper


@converts(
    "_linalg_svd(Tensor A, bool full_matrices=False, bool compute_uv=True, *, str? driver=None) "
    "-> (Tensor U, Tensor S, Tensor Vh)"
)
def svd(
    A: Any, out: Any, full_matrices: Any = False, compute_uv: Any = True, driver: Any = None
) -> Any:
    recipes.require("Svd", A)
    left, values, right = out
    sigma = with_element(values, ge.element(A))
    v_type = transposed_type(right) if compute_uv else right
    found, u, v = ge.Svd(
        A, compute_uv=compute_uv, full_matrices=full_matrices, out=(sigma, left, v_type)
    )
    found = real_part(found, values)
    return (u, found, transposed(v)) if compute_uv else (u, found, v)


def real_part(value: SSAValue, out: Attribute) -> SSAValue:
    """Singular values and eigenvalues, which GE returns in the matrix's type, as real numbers."""
    if not is_complex(value):
        return value
    return ge.Real(value, Tout=interned.element_type(out), out=out)


@converts(
    '_linalg_eigh(Tensor A, str UPLO="L", bool compute_v=True) '
    "-> (Tensor eigenvalues, Tensor eigenvectors)"
)
def eigh(A: Any, out: Any, UPLO: Any = "L", compute_v: Any = True) -> Any:
    recipes.require("SelfAdjointEig", A)
    matrix = transposed(A) if UPLO.upper() == "U" else A
    values = with_element(out[0], ge.element(A))
    found, vectors = ge.SelfAdjointEig(matrix, compute_v=compute_v, out=(values, out[1]))
    return real_part(found, out[0]), vectors


def _lu(matrix: SSAValue, out: Attribute, pivot: bool = True) -> tuple[SSAValue, SSAValue]:
    """``Lu``: both factors in one matrix, and the order of the rows."""
    recipes.require("Lu", matrix)
    rows, columns = geometry.symbols(matrix)[-2:]
    if not pivot or rows != columns:
        raise ConversionError(
            "GE's Lu factors square matrices, with pivoting",
            expected="pivot=True and as many rows as columns",
            found=f"pivot={pivot}, {rows} x {columns}",
            hint="use torch.linalg.qr for a matrix that is not square",
        )
    order = recipes.like(interned.tensor([], interned.i32), geometry.shape(out)[:-1])
    return ge.Lu(matrix, output_idx_type=interned.i32, out=(out, order))


@converts(
    "linalg_lu_factor_ex(Tensor A, *, bool pivot=True, bool check_errors=False) "
    "-> (Tensor LU, Tensor pivots, Tensor info)"
)
def lu_factor_ex(A: Any, out: Any, pivot: Any = True, check_errors: Any = False) -> Any:
    factors, order = _lu(A, out[0], pivot)
    return factors, pivots_of(order), info_of(factors, out[2])


@converts("linalg_lu(Tensor A, *, bool pivot=True) -> (Tensor P, Tensor L, Tensor U)")
def lu(A: Any, out: Any, pivot: Any = True) -> Any:
    p_type, l_type, u_type = out
    factors, order = _lu(A, u_type, pivot)
    rank = geometry.rank(A)
    strict = ge.Tril(factors, diagonal=-1, out=l_type)
    ones = recipes.filled(1, geometry.all_sizes(factors)[:-1], ge.element(A))
    lower = ge.MatrixSetDiag(strict, ones, out=l_type)
    depth = ge.size(A, rank - 1)
    element = ge.element(A)
    on, off = (ge.current().constant(n, element) for n in (1, 0))
    count = ge.current().constant(depth, interned.i64) if isinstance(depth, int) else depth
    matrix = ge.OneHot(order, count, on, off, axis=rank - 2, out=p_type)
    return matrix, lower, ge.Triu(factors, diagonal=0, out=u_type)


def _factors_for_gradient(matrix: SSAValue, types: Sequence[Attribute]) -> tuple[Any, Any]:
    """LU factors and pivots as eager keeps them for the gradient.

    Those of the transpose for a real matrix (LAPACK's order of memory). Not computed in the end
    when nothing reads them.
    """
    rows, columns = geometry.symbols(matrix)[-2:]
    if rows != columns:
        raise ConversionError("a square matrix is expected", found=f"{rows} x {columns}")
    source = matrix if is_complex(matrix) else transposed(matrix)
    factors, order = _lu(source, types[0])
    return factors, pivots_of(order)


@converts(
    "_linalg_solve_ex(Tensor A, Tensor B, *, bool left=True, bool check_errors=False) "
    "-> (Tensor result, Tensor LU, Tensor pivots, Tensor info)"
)
def solve_ex(A: Any, B: Any, out: Any, left: Any = True, check_errors: Any = False) -> Any:
    recipes.require("MatrixSolve", A)
    found = _solved(A, B, left, out[0])
    return found, *_factors_for_gradient(A, out[1:3]), _status(A, out[3])


def _solved(matrix: SSAValue, right: SSAValue, left: bool, out: Attribute) -> SSAValue:
    is_vector = _is_vector_of(matrix, right)
    if is_vector:
        right = recipes.unsqueeze(right, [geometry.rank(right)])
    if not left:
        matrix = transposed(matrix, conjugate=False)
        right = transposed(right, conjugate=False)
    matrix, right = _same_batch(matrix, right)
    matrix, adjoint = _adjoint_form(matrix)
    found = ge.MatrixSolve(matrix, right, adjoint=adjoint, out=right.type)
    if is_vector:
        return ge.Squeeze(found, axis=[geometry.rank(found) - 1], out=out)
    return found if left else transposed(found, conjugate=False)


def _is_vector_of(matrix: SSAValue, right: SSAValue) -> bool:
    """Whether the right-hand side is one vector per matrix."""
    if geometry.rank(right) == 1:
        return True
    return geometry.symbols(right) == geometry.symbols(matrix)[:-1]


@converts("_linalg_det(Tensor A) -> (Tensor result, Tensor LU, Tensor pivots)")
def det(A: Any, out: Any) -> Any:
    recipes.require("MatrixDeterminant", A)
    return ge.MatrixDeterminant(A, out=out[0]), *_factors_for_gradient(A, out[1:])


@converts("_linalg_slogdet(Tensor A) -> (Tensor sign, Tensor logabsdet, Tensor LU, Tensor pivots)")
def slogdet(A: Any, out: Any) -> Any:
    recipes.require("LogMatrixDeterminant", A)
    logarithm = with_element(out[1], ge.element(A))
    sign, found = ge.LogMatrixDeterminant(A, out=(out[0], logarithm))
    return sign, real_part(found, out[1]), *_factors_for_gradient(A, out[2:])


def triangular(
    matrix: SSAValue,
    right: SSAValue,
    upper: bool,
    left: bool,
    unitriangular: bool,
    transpose: bool,
) -> SSAValue:
    """Solves ``op(matrix) X = right``, or ``X op(matrix) = right``, for a triangular matrix."""
    recipes.require("MatrixTriangularSolve", matrix)
    if unitriangular:
        ones = recipes.filled(1, geometry.all_sizes(matrix)[:-1], ge.element(matrix))
        matrix = ge.MatrixSetDiag(matrix, ones, out=matrix.type)
    if not left:
        transpose, right = not transpose, transposed(right, conjugate=False)
    matrix, adjoint = _adjoint_form(matrix)
    upper ^= adjoint
    adjoint ^= transpose
    if adjoint and is_complex(matrix):
        matrix, adjoint, upper = transposed(matrix, conjugate=False), False, not upper
    matrix, right = _same_batch(matrix, right)
    found = ge.MatrixTriangularSolve(
        matrix, right, lower=not upper, adjoint=adjoint, out=right.type
    )
    return found if left else transposed(found, conjugate=False)


@converts(
    "linalg_solve_triangular(Tensor self, Tensor B, *, bool upper, bool left=True, "
    "bool unitriangular=False) -> Tensor"
)
def solve_triangular(
    self: Any, B: Any, upper: Any, out: Any, left: Any = True, unitriangular: Any = False
) -> Any:
    return triangular(self, B, upper, left, unitriangular, False)


@converts(
    "triangular_solve(Tensor self, Tensor A, bool upper=True, bool transpose=False, "
    "bool unitriangular=False) -> (Tensor solution, Tensor cloned_coefficient)"
)
def triangular_solve(
    self: Any,
    A: Any,
    out: Any,
    upper: Any = True,
    transpose: Any = False,
    unitriangular: Any = False,
) -> Any:
    solution = triangular(A, self, upper, True, unitriangular, transpose)
    return solution, _same_batch(A, self)[0]


@converts(
    "cholesky_solve(Tensor self, Tensor input2, bool upper=False) -> Tensor",
    "_cholesky_solve_helper(Tensor self, Tensor A, bool upper) -> Tensor",
)
def cholesky_solve(
    self: Any, out: Any, upper: Any = False, input2: Any = None, A: Any = None
) -> Any:
    factor = A if input2 is None else input2
    if is_complex(factor) and upper:
        factor, upper = transposed(factor), False
    factor, right = _same_batch(factor, self)
    options: dict[str, Any] = {"lower": not upper, "out": right.type}
    recipes.require("MatrixTriangularSolve", factor)
    inner = ge.MatrixTriangularSolve(factor, right, adjoint=upper, **options)
    return ge.MatrixTriangularSolve(factor, inner, adjoint=not upper, **options)


@converts("linalg_cross(Tensor self, Tensor other, *, int dim=-1) -> Tensor")
def cross(self: Any, other: Any, out: Any, dim: Any = -1) -> Any:
    recipes.require("Cross", self, other)
    rank = geometry.rank(out)
    axis = geometry.axis(dim, rank)
    sizes = [_wider_size(self, other, d - rank) for d in range(rank)]
    operands = [
        v if geometry.symbols(v) == geometry.symbols(out) else ge.BroadcastTo(v, sizes, out=out)
        for v in (self, other)
    ]
    return ge.Cross(*operands, dim=axis, out=out)


def _wider_size(one: SSAValue, other: SSAValue, dim: int) -> geometry.Size:
    """The broadcast size at a dimension counted from the end."""
    for value in (one, other):
        rank = geometry.rank(value)
        if rank + dim >= 0 and geometry.symbols(value)[dim] != 1:
            return ge.size(value, rank + dim)
    return 1
