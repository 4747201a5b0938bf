"""Matrix products; a transpose of the last two dimensions is folded into their attributes."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, cast

from xdsl.ir import Attribute, SSAValue

from torchair.dialects.ge import builder as ge
from torchair.errors import ConversionError
from torchair.ir import interned
from torchair.passes.convert_aten_to_ge.geometry import rank, shape
from torchair.passes.convert_aten_to_ge.recipes import (
    element_name,
    has_type,
    like,
    require,
    scale,
    unsqueeze,
    untransposed,
)
from torchair.passes.convert_aten_to_ge.registry import converts

_SMALL_INTS = ("int8", "int16", "uint8")
"""Products of these are computed in int32: exact, since both wrap around."""

_REDUCED = (interned.f16, interned.bf16)
_EXACT_TYPES = ("float64", "int64", "complex64", "complex128")
_MOST_PRODUCTS = 2**27


def _product(
    x1: SSAValue, x2: SSAValue, out: Attribute, operator: str, bias: SSAValue | None = None
) -> SSAValue:
    """``operator(x1, x2)``; small integers are widened and narrowed again."""
    result = interned.element_type(out)
    if element_name(x1) in _SMALL_INTS and result != interned.i32:
        wide = interned.tensor(shape(out), interned.i32)
        values = [v if v is None else ge.cast_to(v, interned.i32) for v in (x1, x2, bias)]
        product = _product(cast(SSAValue, values[0]), cast(SSAValue, values[1]), wide, operator)
        return ge.cast_to(product, result)
    if element_name(x1) in _EXACT_TYPES and not has_type(operator, ge.element(x1)):
        product = _sum_of_products(x1, x2, out)
        return product if bias is None else ge.Add(product, bias, out=out)
    require(operator, x1, x2)
    batched = operator.startswith("Batch")
    names = ("adj_x1", "adj_x2") if batched else ("transpose_x1", "transpose_x2")
    x1, first = untransposed(x1)
    x2, second = untransposed(x2)
    flags = {name: True for name, flag in zip(names, (first, second), strict=True) if flag}
    inputs = (x1, x2) if bias is None else (x1, x2, bias)
    return ge.call(operator, *inputs, out=out, **flags)


def _sum_of_products(x1: SSAValue, x2: SSAValue, out: Attribute) -> SSAValue:
    """A product in a type that GE multiplies only element by element.

    Raises:
        ConversionError: the products would take too much memory.
    """
    sizes = [*shape(out)[:-1], *shape(x2)[-2:]]
    count = math.prod(n for n in sizes if n != interned.DYNAMIC)
    if count > _MOST_PRODUCTS:
        raise ConversionError(
            f"a matrix product in {element_name(x1)} of this size",
            expected=f"at most {_MOST_PRODUCTS} products of two numbers",
            found=count,
            hint="multiply in float32",
        )
    left, right = unsqueeze(x1, [rank(x1)]), unsqueeze(x2, [rank(x2) - 2])
    products = ge.Mul(left, right, out=like(out, sizes))
    return ge.ReduceSum(products, [len(sizes) - 2], out=out)


def _combined(
    addend: SSAValue,
    product: Callable[[SSAValue, SSAValue, Attribute], SSAValue],
    factors: tuple[SSAValue, SSAValue],
    beta: Any,
    alpha: Any,
    out: Attribute,
) -> SSAValue:
    """``beta * addend + alpha * product``; ``addend`` is ignored when beta is 0, as in PyTorch.

    PyTorch rounds the scaled sum of 16-bit floats once, so it is computed in float32.
    """
    if interned.element_type(out) in _REDUCED and not (_is_one(beta) and _is_one(alpha)):
        wide = interned.tensor(shape(out), interned.f32)
        first, second = (ge.cast_to(v, interned.f32) for v in factors)
        total = _combined(
            ge.cast_to(addend, interned.f32), product, (first, second), beta, alpha, wide
        )
        return ge.cast_to(total, interned.element_type(out))
    scaled = scale(product(*factors, out), alpha)
    if isinstance(beta, int | float) and beta == 0:
        return scaled
    return ge.Add(scaled, scale(addend, beta), out=out)


def _is_one(number: Any) -> bool:
    return isinstance(number, int | float) and number == 1


def _is_row(bias: SSAValue, out: Attribute) -> bool:
    """Whether a bias is a vector as long as the result's rows."""
    size = shape(bias)
    return len(size) == 1 and (size[0] != 1 or shape(out)[-1] == 1)


@converts("mm(Tensor self, Tensor mat2) -> Tensor")
def mm(self: Any, mat2: Any, out: Any) -> Any:
    return _product(self, mat2, out, "MatMul")


@converts("_int_mm(Tensor self, Tensor mat2) -> Tensor")
def int_mm(self: Any, mat2: Any, out: Any) -> Any:
    return _product(self, mat2, out, "MatMulV2")


@converts("bmm(Tensor self, Tensor mat2) -> Tensor")
def bmm(self: Any, mat2: Any, out: Any) -> Any:
    return _product(self, mat2, out, "BatchMatMul")


def _rows(mat1: SSAValue, mat2: SSAValue, out: Attribute) -> SSAValue:
    return _product(mat1, mat2, out, "MatMulV2")


@converts(
    "addmm(Tensor self, Tensor mat1, Tensor mat2, *, Scalar beta=1, Scalar alpha=1) -> Tensor"
)
def addmm(self: Any, mat1: Any, mat2: Any, out: Any, beta: Any = 1, alpha: Any = 1) -> Any:
    fused = _is_one(beta) and _is_one(alpha) and _is_row(self, out)
    if fused and element_name(mat1) not in _SMALL_INTS:
        return _product(mat1, mat2, out, "MatMulV2", self)
    return _combined(self, _rows, (mat1, mat2), beta, alpha, out)


@converts(
    "baddbmm(Tensor self, Tensor batch1, Tensor batch2, *, Scalar beta=1, Scalar alpha=1) -> Tensor"
)
def baddbmm(self: Any, batch1: Any, batch2: Any, out: Any, beta: Any = 1, alpha: Any = 1) -> Any:
    return _combined(self, bmm, (batch1, batch2), beta, alpha, out)


@converts(
    "addbmm(Tensor self, Tensor batch1, Tensor batch2, *, Scalar beta=1, Scalar alpha=1) -> Tensor"
)
def addbmm(self: Any, batch1: Any, batch2: Any, out: Any, beta: Any = 1, alpha: Any = 1) -> Any:
    return _combined(self, _sum_of_matrices, (batch1, batch2), beta, alpha, out)


def _sum_of_matrices(batch1: SSAValue, batch2: SSAValue, out: Attribute) -> SSAValue:
    products = bmm(batch1, batch2, like(out, [shape(batch1)[0], *shape(out)]))
    return ge.ReduceSum(products, [0], out=out)


@converts("mv(Tensor self, Tensor vec) -> Tensor")
def mv(self: Any, vec: Any, out: Any) -> Any:
    column = like(out, [*shape(out), 1])
    return ge.Squeeze(_product(self, unsqueeze(vec, [1]), column, "MatMul"), axis=[1], out=out)


@converts("addmv(Tensor self, Tensor mat, Tensor vec, *, Scalar beta=1, Scalar alpha=1) -> Tensor")
def addmv(self: Any, mat: Any, vec: Any, out: Any, beta: Any = 1, alpha: Any = 1) -> Any:
    return _combined(self, mv, (mat, vec), beta, alpha, out)


@converts("dot(Tensor self, Tensor tensor) -> Tensor")
def dot(self: Any, tensor: Any, out: Any) -> Any:
    if not has_type("Dot", ge.element(self)):
        return ge.ReduceSum(ge.Mul(self, tensor, out=self.type), [0], out=out)
    one = like(out, [1])
    return ge.Squeeze(ge.Dot(self, tensor, out=one), axis=[0], out=out)


@converts(
    "_trilinear(Tensor i1, Tensor i2, Tensor i3, int[] expand1, int[] expand2, int[] expand3, "
    "int[] sumdim, int unroll_dim=1) -> Tensor"
)
def trilinear(
    i1: Any,
    i2: Any,
    i3: Any,
    expand1: Any,
    expand2: Any,
    expand3: Any,
    sumdim: Any,
    out: Any,
    unroll_dim: Any = 1,
) -> Any:
    """Product of three tensors with dimensions added, summed over some dimensions."""
    kind = ge.element(i1)
    wide = interned.f32 if kind in _REDUCED else kind
    values = [ge.cast_to(v, wide) for v in (i1, i2, i3)]
    places = (expand1, expand2, expand3)
    first, second, third = (
        unsqueeze(v, sorted(e)) if e else v for v, e in zip(values, places, strict=True)
    )
    total = ge.Mul(ge.Mul(first, second, out=wide), third, out=wide)
    if sumdim:
        total = ge.ReduceSum(total, sorted(sumdim), out=interned.tensor(shape(out), wide))
    return ge.cast_to(total, kind)


@converts("linear(Tensor input, Tensor weight, Tensor? bias=None) -> Tensor")
def linear(input: Any, weight: Any, out: Any, bias: Any = None) -> Any:
    if len(shape(weight)) == 1:
        product = matmul(input, weight, out)
        return product if bias is None else ge.Add(product, bias, out=out)
    if len(shape(input)) == 1:
        row = like(out, [1, *shape(out)])
        return ge.Squeeze(linear(unsqueeze(input, [0]), weight, row, bias), axis=[0], out=out)
    batched = len(shape(input)) > 2
    operator, name = ("BatchMatMulV2", "adj_x2") if batched else ("MatMulV2", "transpose_x2")
    if not has_type(operator, ge.element(input)):
        columns, rows = shape(weight)
        transposed = ge.Transpose(weight, [1, 0], out=like(out, [rows, columns]))
        return _product(input, transposed, out, operator, bias)
    if bias is not None and not _is_row(bias, out):
        return ge.Add(linear(input, weight, out), bias, out=out)
    inputs = (input, weight) if bias is None else (input, weight, bias)
    original, transposed = untransposed(weight)
    if transposed:
        return ge.call(operator, input, original, *inputs[2:], out=out)
    return ge.call(operator, *inputs, out=out, **{name: True})


@converts("matmul(Tensor self, Tensor other) -> Tensor")
def matmul(self: Any, other: Any, out: Any) -> Any:
    left, right = len(shape(self)), len(shape(other))
    if left == 1 and right == 1:
        return dot(self, other, out)
    sizes = list(shape(out))
    first = unsqueeze(self, [0]) if left == 1 else self
    second = unsqueeze(other, [1]) if right == 1 else other
    axis = len(sizes) - 1 if left == 1 else len(sizes)
    operator = "MatMul" if left <= 2 and right <= 2 else "BatchMatMul"
    if left > 1 and right > 1:
        return _product(self, other, out, operator)
    sizes.insert(axis, 1)
    full = like(out, sizes)
    return ge.Squeeze(_product(first, second, full, operator), axis=[axis], out=out)


@converts(
    "matmul_backward(Tensor grad, Tensor self, Tensor other, bool[2] mask) -> (Tensor, Tensor)"
)
def matmul_backward(grad: Any, self: Any, other: Any, mask: Any) -> Any:
    """Gradients of a product of two stacks of matrices of one shape.

    Raises:
        ConversionError: the product broadcast one of them.
    """
    if shape(self)[:-2] != shape(other)[:-2] or rank(self) < 2 or rank(other) < 2:
        raise ConversionError(
            "the gradient of a matrix product that broadcasts",
            expected=self.type,
            found=other.type,
            hint="expand both operands to the same number of matrices first",
        )
    operator = "MatMul" if rank(self) == 2 else "BatchMatMul"
    require(operator, grad, self, other)
    first, second = ("transpose_x1", "transpose_x2") if rank(self) == 2 else ("adj_x1", "adj_x2")
    left = ge.call(operator, grad, other, out=self.type, **{second: True}) if mask[0] else None
    right = ge.call(operator, self, grad, out=other.type, **{first: True}) if mask[1] else None
    return [left, right]
