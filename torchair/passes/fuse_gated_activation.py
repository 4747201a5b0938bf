"""SwiGLU and GeGLU: one half of a tensor, activated, times the other half."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torchair.ir.graph_pattern import Match, call, rewrites, static, value
from torchair.ir.rewrite import Pattern, Rewriter
from torchair.passes.fusion_forms import FLOATS, are_halves, create, element_of, mul
from torchair.passes.rewrite_pass import PatternPass

_LOW, _HIGH = value("low"), value("high")
_SWIGLU = mul(call("aten.silu", _LOW), _HIGH)
_GEGLU = mul(call("aten.gelu", _HIGH, approximate=static("approximate")), _LOW)
_APPROXIMATE = {"none": 0, "tanh": 1}


def _are_halves(match: Match) -> bool:
    return (
        are_halves(match["low"], match["high"]) is not None and element_of(match["low"]) in FLOATS
    )


@rewrites(_SWIGLU, where=_are_halves)
def fuse_swiglu(match: Match, rewriter: Rewriter) -> None:
    half = are_halves(match["low"], match["high"])
    assert half is not None
    types = [match.root.results[0].type]
    fused = create(rewriter, "npu.npu_swiglu", [half.source, half.dim], types, match.root)
    rewriter.replace(match.root, fused.results)


@rewrites(_GEGLU, where=_are_halves)
def fuse_geglu(match: Match, rewriter: Rewriter) -> None:
    half = are_halves(match["low"], match["high"])
    assert half is not None
    type_ = match.root.results[0].type
    values = [half.source, half.dim, _APPROXIMATE[match["approximate"]]]
    fused = create(rewriter, "npu.npu_geglu", values, [type_, type_], match.root)
    rewriter.replace(match.root, fused.results[:1])


@dataclass(frozen=True)
class FuseGatedActivationPass(PatternPass):
    """Fuses SwiGLU and GeGLU over the two halves of a tensor.

        %a, %b = aten.chunk(%x, 2, -1)
        %1 = aten.silu(%a)                ->      %y = npu.npu_swiglu(%x, dim = 1)
        %y = aten.mul.Tensor(%1, %b)

    Numeric class: approximates (half precision rounds once, at the end).
    Shown by: test/lit/passes/fuse-gated-activation.mlir
    """

    name = "fuse-gated-activation"
    numeric_class: ClassVar[str] = "approximates"
    patterns: ClassVar[tuple[Pattern, ...]] = (fuse_swiglu, fuse_geglu)
