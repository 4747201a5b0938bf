"""Integer matrix products and the factors, bias and casts behind them: quantised products."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from xdsl.ir import Attribute, SSAValue

from torchair.ir import interned
from torchair.ir.calls import CallOp
from torchair.ir.rewrite import Pattern, Rewriter, defining_op, pattern
from torchair.passes.fuse_quant_factors import Dequantisation, Factor
from torchair.passes.fuse_quant_parameters import Parameters, source_of
from torchair.passes.fusion_forms import Size, element_of, sizes_of, type_with_sizes
from torchair.passes.rewrite_pass import PatternPass

_NUMBERS: dict[Attribute, int] = {interned.f16: 5, interned.bf16: 15}
"""PyTorch's numbers of the results' element types."""


@pattern("aten._int_mm")
def fuse_dequantisation(op: CallOp, rewriter: Rewriter) -> None:
    """Take what dequantises a product into it, up to the last result in half precision."""
    sizes, is_int8 = sizes_of(op.results[0]), {element_of(v) for v in op.operands} == {interned.i8}
    found = Dequantisation.behind(op) if is_int8 and sizes is not None else None
    if found is None or sizes is None:
        return
    last = found.last.results[0]
    made = Parameters(rewriter, found.last)
    scale, rows = _column_scale(found, sizes[1], made), found.factors.rows
    row_scale = _multiplied(rows, sizes[0], made) if rows else None
    values = [*op.operands, scale, None, row_scale, found.bias, _NUMBERS[element_of(last)]]
    type_ = type_with_sizes(interned.tensor([], element_of(last)), sizes)
    result = made.new("npu.npu_quant_matmul", values, type_)
    if found.view is not None:
        result = made.new("aten.view", [result, found.view.argument("size")], last.type)
    rewriter.replace_value(last, result)
    for call in reversed(found.calls):
        rewriter.erase(call)


def _column_scale(found: Dequantisation, columns: Size, made: Parameters) -> SSAValue:
    """All factors but those of rows, ``[columns]`` or ``[1]``: float32, or bfloat16 when one tensor
    of a product in bfloat16 is all there is."""
    factors, number = found.factors.columns, found.factors.number
    if not factors:
        return made.vector(number, 1, interned.f32)
    first = factors[0]
    elements = {element_of(first.value), element_of(found.last.results[0])}
    is_alone = len(factors) == 1 and number == 1 and not first.is_divisor
    if is_alone and elements == {interned.bf16}:
        return made.flat(first.value, columns)
    scale = _multiplied(factors, columns, made)
    return scale if number == 1 else made.product(scale, number)


def _multiplied(factors: Sequence[Factor], size: Size, made: Parameters) -> SSAValue:
    """The product of factors in float32, of one dimension of ``size`` or 1."""
    total, *others = (_vector(factor, size, made) for factor in factors)
    for value in others:
        total = made.product(total, value)
    return total


def _vector(factor: Factor, size: Size, made: Parameters) -> SSAValue:
    found, is_divisor = factor.value, factor.is_divisor
    while (inverse := defining_op(source_of(found), "aten.reciprocal")) is not None:
        found, is_divisor = inverse.operands[0], not is_divisor
    vector = made.vector(found, size, interned.f32)
    return made.new("aten.reciprocal", [vector], vector.type) if is_divisor else vector


@dataclass(frozen=True)
class FuseQuantMatmulPass(PatternPass):
    """Makes one operator of a product of int8 matrices and its dequantisation.

        %0 = aten._int_mm(%x, %w)
        %1 = aten.mul.Tensor(%0, %row_scale)       ->   %y = npu.npu_quant_matmul(%x, %w, %scale,
        %2 = aten.mul.Tensor(%1, %scale)                         pertoken_scale = %row_scale)
        %y = aten._to_copy(%2, dtype = f16)

    Factors per row, per column and of one number, products of them, divisors and a bias are taken
    in any order, with casts and reshapes between. A result in float32 stays as it is: the operator
    has none.

    Numeric class: approximates (factors are multiplied in another order, and nothing is rounded to
    half precision between). Shown by: test/lit/passes/fuse-quant-matmul.mlir
    """

    name = "fuse-quant-matmul"
    numeric_class: ClassVar[str] = "approximates"
    patterns: ClassVar[tuple[Pattern, ...]] = (fuse_dequantisation,)
