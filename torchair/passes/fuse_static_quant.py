"""Quantisation to int8 with scales that are known before: numbers, or tensors of few."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, cast

from xdsl.ir import SSAValue

from torchair.ir import interned
from torchair.ir.graph_pattern import Hole, Match, call, erase_unused, one_of, rewrites, value
from torchair.ir.rewrite import Pattern, Rewriter
from torchair.passes.fuse_quant_parameters import INTEGERS, Parameters, is_parameter
from torchair.passes.fuse_quant_scales import before_widening, widening_of
from torchair.passes.fusion_forms import (
    FLOATS,
    Size,
    add,
    cast_of,
    div,
    element_of,
    mul,
    sizes_of,
)
from torchair.passes.rewrite_pass import PatternPass

_INT8 = 1
"""PyTorch's number of int8."""

_X = value("x")
_SCALED = one_of(
    div(_X, Hole("scale")),
    mul(_X, call("aten.reciprocal", value("scale"))),
    mul(_X, Hole("inverse")),
)
_ROUNDED = call("aten.round", _SCALED)
_CODES = one_of(
    call("aten.clamp", add(_ROUNDED, Hole("point")), -128, 127),
    call("aten.clamp", _ROUNDED, -128, 127),
    call("aten.round", call("aten.clamp", _SCALED, -128, 127)),
)


def _is_static(match: Match) -> bool:
    x, scale = match["x"], match.get("scale") or match.get("inverse")
    point, sizes = match.get("point"), sizes_of(x) or []
    return (
        element_of(match.root.results[0]) == interned.i8
        and element_of(x) in FLOATS
        and scale is not None
        and is_parameter(scale, sizes, FLOATS)
        and (point is None or is_parameter(point, sizes, INTEGERS))
    )


@rewrites(cast_of(_CODES), where=_is_static)
def fuse_quantisation(match: Match, rewriter: Rewriter) -> None:
    x, point = match["x"], match.get("point")
    columns, made = (sizes_of(x) or [1])[-1], Parameters(rewriter, match.root)
    points = None if point in (None, 0) else made.vector(point, columns, interned.i32)
    values = [before_widening(x), _scales(match, columns, made), points, _INT8, -1, True]
    result = made.new("npu.npu_quantize", values, match.root.results[0].type)
    rewriter.replace(match.root, [result])
    widening = widening_of(x)
    erase_unused(match.calls if widening is None else {**match.calls, widening: False}, rewriter)


def _scales(match: Match, columns: Size, made: Parameters) -> SSAValue:
    if match.get("scale") is not None:
        return made.vector(match["scale"], columns, interned.f32)
    inverse = match["inverse"]
    if not isinstance(inverse, SSAValue):
        return made.vector(1 / inverse, columns, interned.f32)
    scales = made.vector(cast(SSAValue, inverse), columns, interned.f32)
    return made.new("aten.reciprocal", [scales], scales.type)


@dataclass(frozen=True)
class FuseStaticQuantPass(PatternPass):
    """Recognises quantisation with one scale, or one per column.

        %1 = aten.round(aten.div.Tensor(%x, %scale))
        %2 = aten.clamp(aten.add.Tensor(%1, 3), -128, 127)   ->   %q = npu.npu_quantize(%x, %scale,
        %q = aten._to_copy(%2, dtype = i8)                                 %points, int8)

    Numeric class: approximates (a product with the reciprocal scale becomes a quotient, so numbers
    may differ by one). Shown by: test/lit/passes/fuse-static-quant.mlir
    """

    name = "fuse-static-quant"
    numeric_class: ClassVar[str] = "approximates"
    patterns: ClassVar[tuple[Pattern, ...]] = (fuse_quantisation,)
