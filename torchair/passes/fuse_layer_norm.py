"""Layer normalisation, where a model writes it out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torchair.ir import interned
from torchair.ir.graph_pattern import Match, call, one_of, result, rewrites, shared, static, value
from torchair.ir.rewrite import Pattern, Rewriter
from torchair.passes.fusion_forms import (
    FLOATS,
    add,
    create,
    div,
    element_of,
    is_last_dim,
    last_dims_type,
    mul,
    resized,
    shape_of,
    square,
)
from torchair.passes.rewrite_pass import PatternPass

_X, _EPSILON = value("x"), static("epsilon")
_DIMS = static("dims")
_MEAN = shared(call("aten.mean.dim", _X, _DIMS, True))
_CENTERED = call("aten.sub.Tensor", _X, _MEAN)
_VAR_MEAN = call("aten.var_mean.correction", _X, _DIMS, correction=0, keepdim=True)
_VARIANCE = one_of(
    call("aten.mean.dim", square(_CENTERED), _DIMS, True),
    call("aten.var.correction", _X, _DIMS, correction=0, keepdim=True),
)
_NORMALIZED = one_of(
    *(
        form
        for centered, variance in (
            (_CENTERED, _VARIANCE),
            (call("aten.sub.Tensor", _X, result(_VAR_MEAN, 1)), _VAR_MEAN),
        )
        for form in (
            div(centered, call("aten.sqrt", add(variance, _EPSILON))),
            mul(centered, call("aten.rsqrt", add(variance, _EPSILON))),
        )
    )
)
_AFFINE = add(mul(_NORMALIZED, value("weight")), value("bias"))


def _is_layer_norm(match: Match) -> bool:
    x = match["x"]
    sizes = shape_of(x)
    covers = last_dims_type(x.type, 1, element_of(x))
    return (
        sizes is not None
        and sizes[-1] != interned.DYNAMIC
        and is_last_dim(match["dims"], x)
        and element_of(x) in FLOATS
        and match["weight"].type == match["bias"].type == covers
        and match.root.results[0].type == x.type
    )


@rewrites(_AFFINE, where=_is_layer_norm)
def fuse_layer_norm(match: Match, rewriter: Rewriter) -> None:
    x = match["x"]
    moment = resized(x.type, {-1: 1}, element_of(x))
    sizes = shape_of(match["weight"])
    assert sizes is not None, "the guard has compared its type"
    values = [x, list(sizes), match["weight"], match["bias"], match["epsilon"]]
    types = [x.type, moment, moment]
    fused = create(rewriter, "aten.native_layer_norm", values, types, match.root)
    rewriter.replace(match.root, fused.results[:1])


@dataclass(frozen=True)
class FuseLayerNormPass(PatternPass):
    """Recognises layer normalisation over the last dimension.

        %1 = aten.mean.dim(%x, [-1], true)
        %2 = aten.sub.Tensor(%x, %1)
        %3 = aten.mean.dim(%2 * %2, [-1], true)
        %4 = aten.rsqrt(%3 + 1e-5)                ->      %y, %m, %r = aten.native_layer_norm(
        %5 = aten.mul.Tensor(%2, %4)                          %x, [8], %weight, %bias, 1e-5)
        %y = %5 * %weight + %bias

    Numeric class: approximates. Shown by: test/lit/passes/fuse-layer-norm.mlir
    """

    name = "fuse-layer-norm"
    numeric_class: ClassVar[str] = "approximates"
    patterns: ClassVar[tuple[Pattern, ...]] = (fuse_layer_norm,)
