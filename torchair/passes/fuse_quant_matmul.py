"""Integer matrix products and the factors, bias and casts behind them: quantised products."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from xdsl.ir import Attribute, Operation, SSAValue

from torchair.ir import interned
from torchair.ir.calls import CallOp
from torchair.ir.rewrite import Pattern, Rewriter, defining_op, pattern
from torchair.passes.canonicalize.casts import CASTS
from torchair.passes.fuse_quant_factors import Dequantisation, Factor
from torchair.passes.fusion_forms import VIEWS, Size, create, element_of, sizes_of, type_with_sizes
from torchair.passes.rewrite_pass import PatternPass

_NUMBERS: dict[Attribute, int] = {interned.f16: 5, interned.bf16: 15}
"""PyTorch's numbers of the results' element types."""
_RESHAPES = (*VIEWS, "aten.unsqueeze", "aten.squeeze.dim")


@pattern("aten._int_mm")
def fuse_dequantisation(op: CallOp, rewriter: Rewriter) -> None:
    """Take what dequantises a product into it, up to the last result in half precision."""
    sizes, is_int8 = sizes_of(op.results[0]), {element_of(v) for v in op.operands} == {interned.i8}
    found = Dequantisation.behind(op) if is_int8 and sizes is not None else None
    if found is None or sizes is None:
        return
    last = found.last
    result_type = last.results[0].type
    element = interned.element_type(result_type)
    edit = _Edit(rewriter, last)
    scale, rows = edit.column_scale(found, sizes[1]), found.factors.rows
    row_scale = edit.product(rows, sizes[0]) if rows else None
    values = [*op.operands, scale, None, row_scale, found.bias, _NUMBERS[element]]
    type_ = type_with_sizes(edit.typed(result_type, element), sizes)
    result = edit.new("npu.npu_quant_matmul", values, type_)
    if found.view is not None:
        result = edit.new("aten.view", [result, found.view.argument("size")], result_type)
    rewriter.replace_value(last.results[0], result)
    for call in reversed(found.calls):
        rewriter.erase(call)


@dataclass(frozen=True, slots=True)
class _Edit:
    """New operations before one place."""

    rewriter: Rewriter
    before: Operation

    def new(self, name: str, values: Sequence[Any], type_: Attribute) -> SSAValue:
        return create(self.rewriter, name, list(values), [type_], self.before).results[0]

    def column_scale(self, found: Dequantisation, columns: Size) -> SSAValue:
        """All factors but those of rows, ``[columns]`` or ``[1]``: float32, or bfloat16 when one
        tensor of a product in bfloat16 is all there is."""
        factors, number = found.factors.columns, found.factors.number
        if not factors:
            one = interned.tensor([1], interned.f32)
            return self.new("aten.full", [[1], number, interned.f32], one)
        first = factors[0]
        elements = {element_of(first.value), element_of(found.last.results[0])}
        is_alone = len(factors) == 1 and number == 1 and not first.is_divisor
        if is_alone and elements == {interned.bf16}:
            return self.flat(first.value, columns)
        scale = self.product(factors, columns)
        return scale if number == 1 else self.new("aten.mul.Tensor", [scale, number], scale.type)

    def product(self, factors: Sequence[Factor], size: Size) -> SSAValue:
        """The product of factors in float32, of one dimension of ``size`` or 1."""
        values = [self.widened(factor, size) for factor in factors]
        total = values[0]
        for value in values[1:]:
            type_ = total.type if sizes_of(value) == [1] else value.type
            total = self.new("aten.mul.Tensor", [total, value], type_)
        return total

    def widened(self, factor: Factor, size: Size) -> SSAValue:
        inverse = defining_op(_source(factor.value), "aten.reciprocal")
        if inverse is not None and factor.is_divisor:
            factor = Factor(inverse.operands[0], False)
        value = self.flat(factor.value, size)
        if element_of(value) != interned.f32:
            type_ = self.typed(value.type, interned.f32)
            value = self.new("prims.convert_element_type", [value, interned.f32], type_)
        return self.new("aten.reciprocal", [value], value.type) if factor.is_divisor else value

    def flat(self, value: SSAValue, size: Size) -> SSAValue:
        """In one dimension, and before it was rounded to half precision."""
        sizes = sizes_of(value) or []
        target: list[Size] = [1] if all(found == 1 for found in sizes) else [size]
        source = _source(value)
        if sizes_of(source) == target:
            return source
        return self.new("aten.view", [source, [-1]], type_with_sizes(source.type, target))

    @staticmethod
    def typed(type_: Attribute, element: Attribute) -> Attribute:
        shape = interned.shape_of(type_)
        assert shape is not None, "its sizes are known"
        return interned.tensor(shape, element, interned.symbols_of(type_))


def _source(value: SSAValue) -> SSAValue:
    """What was reshaped, or rounded to half precision, to give a value."""
    while isinstance(value.owner, CallOp):
        op = value.owner
        rounds = op.name in CASTS and element_of(op.operands[0]) == interned.f32
        if not rounds and op.name not in _RESHAPES:
            break
        value = op.operands[0]
    return value


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
