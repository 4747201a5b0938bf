"""The choice of experts: softmax over the router's scores, the best k, and their normalisation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from xdsl.ir import SSAValue

from torchair.ir import interned
from torchair.ir.calls import CallOp
from torchair.ir.graph_pattern import ANY, Match, call, rewrites, shared, static, value
from torchair.ir.rewrite import Pattern, Rewriter
from torchair.passes.fusion_forms import FLOATS, create, div, element_of, is_last_dim, shape_of
from torchair.passes.rewrite_pass import PatternPass

_GATING = "npu.npu_moe_gating_top_k_softmax_v2"
_SOFTMAX = call("aten._softmax", value("scores"), static("dim"), False)
_TOP = shared(call("aten.topk", _SOFTMAX, static("k"), static("top_dim"), True, True))
_TOTAL = call("aten.sum.dim_IntList", _TOP, static("sum_dim"), True, dtype=ANY)


def _is_gating(match: Match) -> bool:
    scores = match["scores"]
    return (
        element_of(scores) in FLOATS
        and len(shape_of(scores) or ()) == 2
        and is_last_dim(match["dim"], scores)
        and is_last_dim(match["top_dim"], scores)
    )


def _is_normalized_gating(match: Match) -> bool:
    """Whether nobody else reads the best scores before they are divided by their sum."""
    return (
        _is_gating(match)
        and is_last_dim(match["sum_dim"], match["scores"])
        and sum(1 for _ in match.root.operands[0].uses) == 2
        and match.root.results[0].type == match.root.operands[0].type
    )


def _fuse(match: Match, top: CallOp, renormalize: int, rewriter: Rewriter) -> SSAValue:
    """Put the fused operator in the place of ``topk``; returns its scores."""
    values, indices = top.results
    places = interned.tensor(
        shape_of(indices) or (), interned.i32, interned.symbols_of(indices.type)
    )
    nothing = interned.tensor([0], interned.f32)
    arguments = [match["scores"], match["k"], None, renormalize]
    types = [values.type, places, nothing]
    fused = create(rewriter, _GATING, arguments, types, top)
    wide = create(
        rewriter,
        "prims.convert_element_type",
        [fused.results[1], interned.i64],
        [indices.type],
        top,
    )
    rewriter.replace(top, [fused.results[0], wide.results[0]])
    return fused.results[0]


def _producer(value: SSAValue) -> CallOp:
    assert isinstance(value.owner, CallOp), "the pattern says so"
    return value.owner


@rewrites(div(_TOP, _TOTAL), where=_is_normalized_gating)
def fuse_normalized(match: Match, rewriter: Rewriter) -> None:
    top, total = (_producer(operand) for operand in match.root.operands)
    scores = _fuse(match, top, 1, rewriter)
    rewriter.replace(match.root, [scores])
    rewriter.erase(total)


def _is_not_normalized(match: Match) -> bool:
    users = {use.operation.name for use in match.root.results[0].uses}
    return _is_gating(match) and "aten.sum.dim_IntList" not in users


@rewrites(_TOP, where=_is_not_normalized)
def fuse_plain(match: Match, rewriter: Rewriter) -> None:
    _fuse(match, match.root, 0, rewriter)


@dataclass(frozen=True)
class FuseMoeGatingPass(PatternPass):
    """Fuses the softmax, top-k and normalisation of a router of experts.

        %1 = aten._softmax(%scores, -1)
        %2, %i = aten.topk(%1, k)                       %w, %j, %_ = npu.npu_moe_gating_top_k
        %3 = aten.sum.dim_IntList(%2, [-1], true)   ->      _softmax_v2(%scores, k, renorm = 1)
        %w = aten.div.Tensor(%2, %3)                    %i = cast of %j to i64

    Numeric class: approximates. Shown by: test/lit/passes/fuse-moe-gating.mlir
    """

    name = "fuse-moe-gating"
    numeric_class: ClassVar[str] = "approximates"
    patterns: ClassVar[tuple[Pattern, ...]] = (fuse_normalized, fuse_plain)
