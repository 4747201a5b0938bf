"""Matrix products of dequantised int8 tensors, as PyTorch's quantisation flows write them."""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass
from typing import Any, ClassVar

from xdsl.ir import Attribute, SSAValue

from torchair.ir import interned
from torchair.ir.calls import CallOp
from torchair.ir.graph_pattern import (
    Call,
    Hole,
    Match,
    Node,
    OneOf,
    call,
    one_of,
    rewrites,
    shared,
    value,
)
from torchair.ir.rewrite import Pattern, Rewriter, defining_op, pattern
from torchair.passes.canonicalize.casts import CASTS
from torchair.passes.fuse_quant_codes import CodeProduct
from torchair.passes.fuse_quant_parameters import INTEGERS, Parameters, is_column, is_parameter
from torchair.passes.fusion_forms import (
    FLOATS,
    VIEWS,
    Size,
    cast_of,
    element_of,
    mul,
    sizes_of,
    type_with_sizes,
)
from torchair.passes.rewrite_pass import PatternPass

_SCALED = ("aten.mul.Tensor", "aten.mul.Scalar", *CASTS)
"""What a dequantised weight ends with."""
_LONGEST = 2**17
"""So many products of two int8 numbers always fit into an int32."""


def _less(left: Any, right: Any) -> Call:
    return shared(call(("aten.sub.Tensor", "aten.sub.Scalar"), left, right))


def _dequantised(name: str) -> OneOf:
    """``(codes - point) * scale``; both may be cast, and the point left out."""
    codes = value(name, lambda found: element_of(found) == interned.i8)
    wide, point = shared(cast_of(codes)), Hole(f"{name}_point")
    centred = one_of(_less(wide, point), _less(codes, point), wide)
    scaled = shared(mul(centred, Hole(f"{name}_scale")))
    return one_of(scaled, shared(cast_of(scaled)))


def _factors() -> tuple[Node, Node]:
    tokens, rows = _dequantised("x"), _dequantised("rows")
    viewed = shared(call(VIEWS, tokens, Hole("x_sizes")))
    return one_of(tokens, viewed), one_of(_dequantised("w"), shared(call("aten.t", rows)))


_X, _W = _factors()


@dataclass(frozen=True, slots=True)
class _Weight:
    """The dequantised weight of a match.

    Args:
        codes: int8 numbers, ``[columns, inner]`` when ``is_turned``, else ``[inner, columns]``.
        point, scale: a number, or a tensor of one per column.
    """

    codes: SSAValue
    point: Any
    scale: Any
    is_turned: bool

    @staticmethod
    def of(match: Match) -> _Weight:
        name = "rows" if match.get("w") is None else "w"
        point = match.get(f"{name}_point") or 0
        return _Weight(match[name], point, match[f"{name}_scale"], name == "rows")

    def sizes(self) -> list[Size]:
        """Of the matrix that the product reads, none when they are not known."""
        sizes = sizes_of(self.codes) or []
        return sizes[::-1] if self.is_turned else sizes

    def has(self, found: Any, elements: tuple[Attribute, ...]) -> bool:
        """Whether a parameter is a number, or a tensor of one or of one per column."""
        if not self.is_turned:
            return is_parameter(found, self.sizes(), elements)
        return is_parameter(found, [1], elements) or is_column(found, self.sizes()[1:], elements)


def _is_quantised(match: Match) -> bool:
    weight, tokens = _Weight.of(match), sizes_of(match["x"])
    if tokens is None or len(weight.sizes()) != 2 or sizes_of(match.root.results[0]) is None:
        return False
    inner = weight.sizes()[0]
    return (
        element_of(match.root.results[0]) in FLOATS
        and isinstance(inner, int)
        and inner < _LONGEST
        and tokens[-1] == inner
        and isinstance(match.get("x_point") or 0, int)
        and (is_parameter(match["x_scale"], [1], FLOATS) or _has_scale_per_row(match))
        and weight.has(weight.point, INTEGERS)
        and weight.has(weight.scale, FLOATS)
    )


def _has_scale_per_row(match: Match) -> bool:
    return is_column(match["x_scale"], (sizes_of(match["x"]) or [])[:-1], FLOATS)


@rewrites(call("aten.mm", _X, _W), call("aten.addmm", value("bias"), _X, _W), where=_is_quantised)
def _fuse_codes(match: Match, rewriter: Rewriter) -> None:
    """Multiply the codes, and scale the product."""
    made, result = Parameters(rewriter, match.root), match.root.results[0]
    scaled = made.cast(_scaled(match, _codes(match, made), made), element_of(result))
    if match.get("bias") is not None:
        scaled = made.new("aten.add.Tensor", [scaled, match["bias"]], result.type)
    rewriter.replace(match.root, [scaled])


@pattern("aten.mm", "aten.addmm")
def fuse_product(op: CallOp, rewriter: Rewriter) -> None:
    """Match the whole only where the weight is scaled: most weights are arguments."""
    weight = op.operands[-1]
    turned = defining_op(weight, "aten.t")
    scaled = defining_op(weight if turned is None else turned.operands[0], *_SCALED)
    if scaled is not None:
        _fuse_codes.apply(op, rewriter)


def _codes(match: Match, made: Parameters) -> SSAValue:
    weight, x = _Weight.of(match), match["x"]
    rows, columns = sizes_of(match.root.results[0]) or []
    inner = weight.sizes()[0]
    assert isinstance(inner, int), "the guard says so"
    if match.get("x_sizes") is not None:
        tokens = type_with_sizes(x.type, [rows, inner])
        x = made.new("aten.view", [x, match["x_sizes"]], tokens)
    points, sizes = (match.get("x_point") or 0, weight.point), (rows, inner, columns)
    return CodeProduct(x, weight.codes, weight.is_turned, *points, sizes, made).build()


def _scaled(match: Match, codes: SSAValue, made: Parameters) -> SSAValue:
    """The product times the scales, in float32."""
    rows, columns = sizes_of(codes) or []
    wide = type_with_sizes(interned.tensor([], interned.f32), [rows, columns])
    scales: list[SSAValue | float] = [_Weight.of(match).scale]
    if not _has_scale_per_row(match):
        scales.append(match["x_scale"])
    number = math.prod(scale for scale in scales if not isinstance(scale, SSAValue))
    vectors = [
        made.vector(scale, columns, interned.f32) for scale in scales if isinstance(scale, SSAValue)
    ]
    others = [*vectors[1:], *([] if number == 1 else [number])]
    factor = functools.reduce(made.product, others, vectors[0]) if vectors else number
    if _has_scale_per_row(match):
        vector = made.vector(match["x_scale"], rows, interned.f32)
        column = type_with_sizes(wide, [rows, 1])
        by_row = made.new("aten.unsqueeze", [vector, -1], column)
        codes = made.new("aten.mul.Tensor", [codes, by_row], wide)
    return made.new("aten.mul.Tensor", [codes, factor], wide)


@dataclass(frozen=True)
class FuseQuantLinearPass(PatternPass):
    """Multiplies int8 numbers as they are, and scales the product.

        %1 = aten.sub.Tensor(cast of %x, 3) * 0.02        %1 = aten._int_mm(%x, %w)
        %2 = aten.mul.Tensor(cast of %w, %scale)    ->    %2 = aten.sum.dim_IntList(%w, [0]) * -3
        %y = aten.mm(%1, %2)                              %y = (%1 + %2) * (%scale * 0.02)

    ``fuse-quant-matmul`` then takes the scales into the product, when its result is in half
    precision. Dequantised tensors may have users that are not products: they stay for those.

    Numeric class: approximates (sums are exact before they are scaled).
    Shown by: test/lit/passes/fuse-quant-linear.mlir
    """

    name = "fuse-quant-linear"
    numeric_class: ClassVar[str] = "approximates"
    patterns: ClassVar[tuple[Pattern, ...]] = (fuse_product,)
