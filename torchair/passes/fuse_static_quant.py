"""Quantisation to int8 with scales that are known before: numbers, or tensors of few."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, cast

from xdsl.ir import Attribute, SSAValue

from torchair.ir import interned
from torchair.ir.graph_pattern import Hole, Match, call, erase_unused, one_of, rewrites, value
from torchair.ir.rewrite import Pattern, Rewriter
from torchair.passes.fuse_quant_scales import before_widening, widening_of
from torchair.passes.fusion_forms import (
    FLOATS,
    add,
    cast_of,
    create,
    div,
    element_of,
    mul,
    sizes_of,
    type_with_sizes,
)
from torchair.passes.rewrite_pass import PatternPass

_INT8 = 1
"""PyTorch's number of int8."""
_INTEGERS = (interned.i8, interned.i32, interned.i64)

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
    if element_of(match.root.results[0]) != interned.i8 or element_of(match["x"]) not in FLOATS:
        return False
    scale = match.get("inverse") if match.get("scale") is None else match["scale"]
    point = match.get("point")
    is_point = point is None or _is_for_columns(point, match["x"], _INTEGERS)
    return is_point and scale != 0 and _is_for_columns(scale, match["x"], FLOATS)


def _is_for_columns(found: Any, x: SSAValue, elements: Sequence[Attribute]) -> bool:
    """Whether an argument is a number, or a tensor of one or of one per column."""
    if not isinstance(found, SSAValue):
        wanted = int if elements is _INTEGERS else int | float
        return isinstance(found, wanted) and not isinstance(found, bool)
    parameter = cast(SSAValue, found)
    sizes, columns = sizes_of(parameter), sizes_of(x)
    if sizes is None or columns is None or element_of(parameter) not in elements:
        return False
    is_row = all(size == 1 for size in sizes[:-1]) and len(sizes) <= len(columns)
    return is_row and (not sizes or sizes[-1] in (1, columns[-1]))


@rewrites(cast_of(_CODES), where=_is_static)
def fuse_quantisation(match: Match, rewriter: Rewriter) -> None:
    scale, point = match.get("scale"), match.get("point")
    scales = _parameter(scale, interned.f32, match, rewriter)
    if scales is None:
        scales = _inverted(match["inverse"], match, rewriter)
    points = None if point == 0 else _parameter(point, interned.i32, match, rewriter)
    values = [before_widening(match["x"]), scales, points, _INT8, -1, True]
    types = [match.root.results[0].type]
    fused = create(rewriter, "npu.npu_quantize", values, types, match.root)
    rewriter.replace(match.root, fused.results)
    widening = widening_of(match["x"])
    erase_unused(match.calls if widening is None else {**match.calls, widening: False}, rewriter)


def _inverted(inverse: SSAValue | float, match: Match, rewriter: Rewriter) -> SSAValue | None:
    if not isinstance(inverse, SSAValue):
        return _parameter(1 / inverse, interned.f32, match, rewriter)
    scales = _parameter(inverse, interned.f32, match, rewriter)
    assert scales is not None, "it is a tensor"
    return create(rewriter, "aten.reciprocal", [scales], [scales.type], match.root).results[0]


def _parameter(
    found: SSAValue | float | None, element: Attribute, match: Match, rewriter: Rewriter
) -> SSAValue | None:
    """A number or a tensor as a tensor of one dimension."""
    if found is None:
        return None
    if not isinstance(found, SSAValue):
        type_ = interned.tensor([1], element)
        return create(rewriter, "aten.full", [[1], found, element], [type_], match.root).results[0]
    sizes = sizes_of(found)
    if sizes is not None and len(sizes) != 1:
        flat = type_with_sizes(found.type, sizes[-1:] or [1])
        found = create(rewriter, "aten.view", [found, [-1]], [flat], match.root).results[0]
    if element_of(found) == element:
        return found
    type_ = type_with_sizes(interned.tensor([], element), sizes_of(found) or [])
    values = [found, element]
    return create(rewriter, "prims.convert_element_type", values, [type_], match.root).results[0]


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
