"""Products with int8 weights that are dequantised per output channel (w8a16)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from xdsl.ir import SSAValue

from torchair.ir import interned
from torchair.ir.graph_pattern import Match, call, one_of, rewrites, value
from torchair.ir.rewrite import Pattern, Rewriter
from torchair.passes.fusion_forms import (
    HALVES,
    cast_of,
    create,
    element_of,
    mul,
    sizes_of,
    type_with_sizes,
)
from torchair.passes.rewrite_pass import PatternPass

_COLUMNS = mul(cast_of(value("weight")), value("scale"))
_ROWS = call("aten.t", mul(cast_of(value("weight_rows")), value("scale_rows")))
_MATRIX = one_of(_COLUMNS, _ROWS)
_PRODUCT = call("aten.mm", value("x"), _MATRIX)
_BIASED = call("aten.addmm", value("bias"), value("x"), _MATRIX)


def _is_dequantised(match: Match) -> bool:
    """Whether an int8 matrix is scaled by one number per column of the product."""
    is_turned = match.get("weight") is None
    weight = match["weight_rows" if is_turned else "weight"]
    scale = match["scale_rows" if is_turned else "scale"]
    x, bias = match["x"], match.get("bias")
    sizes, factors = sizes_of(weight), sizes_of(scale)
    if sizes is None or factors is None or element_of(x) not in HALVES:
        return False
    channels = [sizes[0], 1] if is_turned else [1, sizes[1]]
    return (
        element_of(weight) == interned.i8
        and element_of(scale) == element_of(x) == element_of(match.root.results[0])
        and (factors == channels or (not is_turned and factors == channels[1:]))
        and (bias is None or _is_fitting_bias(bias, match))
    )


def _is_fitting_bias(bias: SSAValue, match: Match) -> bool:
    product = sizes_of(match.root.results[0])
    return (
        element_of(bias) == interned.f16 and product is not None and sizes_of(bias) == product[1:]
    )


@rewrites(_PRODUCT, _BIASED, where=_is_dequantised)
def fuse_product(match: Match, rewriter: Rewriter) -> None:
    weight, scale = match.get("weight"), match.get("scale")
    if weight is None:
        weight = _turned(match["weight_rows"], match, rewriter)
        scale = _turned(match["scale_rows"], match, rewriter)
    values: list[Any] = [match["x"], weight, scale, None, None, None, match.get("bias")]
    types = [match.root.results[0].type]
    fused = create(rewriter, "npu.npu_weight_quant_batchmatmul", values, types, match.root)
    rewriter.replace(match.root, fused.results)


def _turned(matrix: SSAValue, match: Match, rewriter: Rewriter) -> SSAValue:
    sizes = sizes_of(matrix)
    assert sizes is not None, "the guard has read them"
    types = [type_with_sizes(matrix.type, sizes[::-1])]
    return create(rewriter, "aten.t", [matrix], types, match.root).results[0]


@dataclass(frozen=True)
class FuseWeightQuantMatmulPass(PatternPass):
    """Passes int8 weights to the product as they are.

        %1 = aten._to_copy(%w, dtype = f16)
        %2 = aten.mul.Tensor(%1, %scale)          ->      %y = npu.npu_weight_quant_batchmatmul(
        %y = aten.mm(%x, %2)                                  %x, %w, %scale)

    Numeric class: approximates (the weights are not rounded to half precision).
    Shown by: test/lit/passes/fuse-weight-quant-matmul.mlir
    """

    name = "fuse-weight-quant-matmul"
    numeric_class: ClassVar[str] = "approximates"
    patterns: ClassVar[tuple[Pattern, ...]] = (fuse_product,)
