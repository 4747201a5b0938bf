"""What follows a residual addition and RMS norm: a cast to float32, or quantisation per token."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torchair.ir import interned
from torchair.ir.calls import CallOp
from torchair.ir.graph_pattern import Hole, Match, call, rewrites, shared, static, value
from torchair.ir.rewrite import Pattern, Rewriter
from torchair.passes.fusion_forms import HALVES, cast_of, create, element_of, is_available
from torchair.passes.rewrite_pass import PatternPass

_NORM = shared(
    call("npu.npu_add_rms_norm", value("x1"), value("x2"), value("weight"), static("epsilon"))
)
_SMOOTH = Hole("smooth", check=lambda found: found is None or not isinstance(found, list))


def _norm_of(match: Match) -> CallOp:
    norm = match.root.operands[0].owner
    assert isinstance(norm, CallOp), "the pattern says so"
    return norm


def _is_half(match: Match) -> bool:
    return element_of(match["x1"]) in HALVES


def _widens(match: Match) -> bool:
    return _is_half(match) and element_of(match.root.results[0]) == interned.f32


@rewrites(cast_of(_NORM), where=_widens)
def fuse_cast(match: Match, rewriter: Rewriter) -> None:
    norm, root = _norm_of(match), match.root
    y, rstd, total = norm.results
    values = [match["x1"], match["x2"], match["weight"], match["epsilon"]]
    types = [root.results[0].type, y.type, rstd.type, total.type]
    fused = create(rewriter, "npu.npu_add_rms_norm_cast", values, types, norm)
    rewriter.replace(root, fused.results[:1])
    rewriter.replace(norm, fused.results[1:])


def _is_quantised_alone(match: Match) -> bool:
    """Whether nobody else reads the normalised tensor, nor the reciprocal root."""
    norm = _norm_of(match)
    y, rstd, _ = norm.results
    smooth = match["smooth"]
    return (
        _is_half(match)
        and rstd.first_use is None
        and y.first_use is not None
        and sum(1 for _ in y.uses) == 1
        and element_of(match.root.results[0]) == interned.i8
        and (smooth is None or is_available(smooth, norm))
    )


@rewrites(call("npu.npu_dynamic_quant", _NORM, smooth_scales=_SMOOTH), where=_is_quantised_alone)
def fuse_dynamic_quant(match: Match, rewriter: Rewriter) -> None:
    norm, root = _norm_of(match), match.root
    quantised, scale = (result.type for result in root.results)
    values = [match["x1"], match["x2"], match["weight"], match["smooth"], None, None]
    values.append(match["epsilon"])
    total = norm.results[2].type
    nothing = (interned.tensor([0], interned.i8), interned.tensor([0], interned.f32))
    types = [quantised, nothing[0], total, scale, nothing[1]]
    fused = create(rewriter, "npu.npu_add_rms_norm_dynamic_quant", values, types, norm)
    rewriter.replace(root, [fused.results[0], fused.results[3]])
    rewriter.replace(norm, [None, None, fused.results[2]])


@dataclass(frozen=True)
class FuseNormOutputPass(PatternPass):
    """Fuses what reads the result of a residual addition and RMS norm.

        %y, %r, %x = npu.npu_add_rms_norm(%a, %b, %w)        %q, %_, %x, %s, %_ =
        %q, %s = npu.npu_dynamic_quant(%y)               ->    npu.npu_add_rms_norm_dynamic_quant(
                                                                 %a, %b, %w)

    Numeric class: approximates (the normalised tensor is not rounded to half precision between).
    Shown by: test/lit/passes/fuse-norm-output.mlir
    """

    name = "fuse-norm-output"
    numeric_class: ClassVar[str] = "approximates"
    patterns: ClassVar[tuple[Pattern, ...]] = (fuse_cast, fuse_dynamic_quant)
