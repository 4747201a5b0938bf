"""Root mean square normalisation, in the forms that language models write it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from xdsl.ir import SSAValue

from torchair.ir import interned
from torchair.ir.calls import CallOp
from torchair.ir.graph_pattern import Match, call, one_of, rewrites, shared, static, value
from torchair.ir.rewrite import Pattern, Rewriter
from torchair.passes.fusion_forms import (
    FLOATS,
    HALVES,
    add,
    cast_of,
    create,
    div,
    element_of,
    is_available,
    is_last_dim,
    last_dims_type,
    maybe_cast,
    mul,
    resized,
    square,
)
from torchair.passes.rewrite_pass import PatternPass

_X, _WEIGHT, _EPSILON = value("x"), value("weight"), static("epsilon")
_WIDE = maybe_cast(_X)
_MEAN = call("aten.mean.dim", square(_WIDE), static("dims"), True)
_VARIANCE = add(_MEAN, _EPSILON)
_NORMALIZED = one_of(
    mul(_WIDE, call("aten.rsqrt", _VARIANCE)),
    mul(_WIDE, call("aten.reciprocal", call("aten.sqrt", _VARIANCE))),
    div(_WIDE, call("aten.sqrt", _VARIANCE)),
)
_SCALED = mul(maybe_cast(_NORMALIZED), _WEIGHT)
_NARROWED = cast_of(mul(_NORMALIZED, maybe_cast(_WEIGHT)))

_NORM = call("npu.npu_rms_norm", value("x"), value("weight"), static("epsilon"))
_CAST_NORM = cast_of(call("npu.npu_rms_norm", cast_of(value("x")), maybe_cast(_WEIGHT), _EPSILON))
_ADD_NORM = call(
    "npu.npu_rms_norm", shared(add(value("x1"), value("x2"))), _WEIGHT, static("epsilon")
)


def _is_weight_of(weight: SSAValue, x: SSAValue) -> bool:
    """Whether a weight covers the last dimension of ``x`` and has its element type."""
    element = element_of(x)
    return element in FLOATS and weight.type == last_dims_type(x.type, 1, element)


def _is_plain_norm(match: Match) -> bool:
    x = match["x"]
    return (
        is_last_dim(match["dims"], x)
        and _is_weight_of(match["weight"], x)
        and match.root.results[0].type == x.type
    )


@rewrites(_SCALED, _NARROWED, where=_is_plain_norm)
def fuse_rms_norm(match: Match, rewriter: Rewriter) -> None:
    _replace_by_norm(match, rewriter)


def _is_norm_of_cast(match: Match) -> bool:
    x = match["x"]
    return (
        match.root.results[0].type == x.type
        and _is_weight_of(match["weight"], x)
        and element_of(x) in HALVES
    )


@rewrites(_CAST_NORM, where=_is_norm_of_cast)
def drop_casts_around_rms_norm(match: Match, rewriter: Rewriter) -> None:
    """The operator computes in float32 whatever it takes."""
    _replace_by_norm(match, rewriter)


def _replace_by_norm(match: Match, rewriter: Rewriter) -> None:
    x = match["x"]
    types = [x.type, resized(x.type, {-1: 1}, interned.f32)]
    values = [x, match["weight"], match["epsilon"]]
    norm = create(rewriter, "npu.npu_rms_norm", values, types, match.root)
    rewriter.replace(match.root, [norm.results[0]])


def _is_residual_add(match: Match) -> bool:
    x1, x2 = match["x1"], match["x2"]
    total = match.root.operands[0]
    return x1.type == x2.type == total.type and is_available(match["weight"], total.owner)


@rewrites(_ADD_NORM, where=_is_residual_add)
def fuse_residual_add(match: Match, rewriter: Rewriter) -> None:
    total, (y, rstd) = match.root.operands[0], match.root.results
    values = [match["x1"], match["x2"], match["weight"], match["epsilon"]]
    types = [y.type, rstd.type, total.type]
    assert isinstance(total.owner, CallOp)
    fused = create(rewriter, "npu.npu_add_rms_norm", values, types, total.owner)
    rewriter.replace_value(total, fused.results[2])
    rewriter.replace(match.root, fused.results[:2])


@dataclass(frozen=True)
class FuseRmsNormPass(PatternPass):
    """Fuses root mean square normalisation, and the residual addition before it.

        %1 = aten.pow.Tensor_Scalar(%x, 2)
        %2 = aten.mean.dim(%1, [-1], true)        %y, %rstd, %x = npu.npu_add_rms_norm(
        %3 = aten.add.Tensor(%2, 1e-6)        ->      %a, %b, %weight, 1e-6)
        %4 = aten.rsqrt(%3)
        %5 = aten.mul.Tensor(%x, %4)
        %y = aten.mul.Tensor(%5, %weight)

    Numeric class: approximates (half precision rounds once, at the end).
    Shown by: test/lit/passes/fuse-rms-norm.mlir
    """

    name = "fuse-rms-norm"
    numeric_class: ClassVar[str] = "approximates"
    patterns: ClassVar[tuple[Pattern, ...]] = (
        fuse_rms_norm,
        drop_casts_around_rms_norm,
        fuse_residual_add,
    )
