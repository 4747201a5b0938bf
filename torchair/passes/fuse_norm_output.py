"""What follows a residual addition and RMS norm: a cast to float32, or quantisation to int8."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, cast

from xdsl.ir import Attribute, SSAValue

from torchair.ir import interned
from torchair.ir.calls import CallOp
from torchair.ir.graph_pattern import (
    Hole,
    Match,
    call,
    one_of,
    rewrites,
    shared,
    static,
    value,
)
from torchair.ir.rewrite import Pattern, Rewriter, defining_op
from torchair.passes.canonicalize.casts import CASTS
from torchair.passes.fusion_forms import (
    HALVES,
    VIEWS,
    cast_of,
    create,
    element_of,
    is_available,
    is_last_dim,
    shape_of,
    sizes_of,
    type_with_sizes,
)
from torchair.passes.rewrite_pass import PatternPass

_NORM = shared(
    call("npu.npu_add_rms_norm", value("x1"), value("x2"), value("weight"), static("epsilon"))
)
_VIEW = call(VIEWS, _NORM, Hole("sizes"))
_NORMALISED = one_of(_NORM, _VIEW)
_SMOOTH = Hole("smooth", check=lambda found: found is None or not isinstance(found, list))
_INT8 = 1
"""PyTorch's number of int8."""
_ELEMENTS = ([interned.f32], [interned.f32, interned.i32])
"""Element types of scales, and of scales and zero points."""
_MOVABLE = ("aten.full", "aten.view", "aten.reciprocal", *CASTS)
"""What computes a parameter of quantisation, without which it may stand behind the norm."""


def _norm_of(match: Match) -> CallOp:
    norm = match.operation(_NORM)
    assert norm is not None, "the pattern says so"
    return norm


def _inputs(match: Match) -> list[SSAValue]:
    return [match["x1"], match["x2"], match["weight"]]


def _is_half(match: Match) -> bool:
    return element_of(match["x1"]) in HALVES


def _widens(match: Match) -> bool:
    return _is_half(match) and element_of(match.root.results[0]) == interned.f32


@rewrites(cast_of(_NORM), where=_widens)
def fuse_cast(match: Match, rewriter: Rewriter) -> None:
    norm, root = _norm_of(match), match.root
    y, rstd, total = norm.results
    values = [*_inputs(match), match["epsilon"]]
    types = [root.results[0].type, y.type, rstd.type, total.type]
    fused = create(rewriter, "npu.npu_add_rms_norm_cast", values, types, norm)
    rewriter.replace(root, fused.results[:1])
    rewriter.replace(norm, fused.results[1:])


def _is_quantised_alone(match: Match) -> bool:
    """Whether nobody else reads the normalised tensor, nor the reciprocal root."""
    y, rstd, _ = _norm_of(match).results
    return (
        _is_half(match)
        and rstd.first_use is None
        and y.first_use is not None
        and sum(1 for _ in y.uses) == 1
        and _keeps_last_dim(match)
        and element_of(match.root.results[0]) == interned.i8
    )


def _keeps_last_dim(match: Match) -> bool:
    view = match.operation(_VIEW)
    if view is None:
        return True
    before, after = sizes_of(view.operands[0]), sizes_of(view.results[0])
    return bool(before) and bool(after) and before[-1] == after[-1]


def _is_dynamic(match: Match) -> bool:
    smooth = match["smooth"]
    is_ready = smooth is None or is_available(smooth, _norm_of(match))
    return is_ready and _is_quantised_alone(match)


def _as_normalised(type_: Attribute, match: Match) -> Attribute:
    """The type of a quantised tensor before the view between."""
    sizes = sizes_of(_norm_of(match).results[0])
    return type_ if sizes is None else type_with_sizes(type_, sizes)


def _viewed(fused: SSAValue, like: SSAValue, sizes: object, rewriter: Rewriter) -> SSAValue:
    """A result of the fused operator as the one that it stands for was shaped."""
    if fused.type == like.type or sizes is None:
        return fused
    before = like.owner
    assert isinstance(before, CallOp), "it is a result of the call that is replaced"
    return create(rewriter, "aten.view", [fused, sizes], [like.type], before).results[0]


@rewrites(call("npu.npu_dynamic_quant", _NORMALISED, smooth_scales=_SMOOTH), where=_is_dynamic)
def fuse_dynamic_quant(match: Match, rewriter: Rewriter) -> None:
    norm, root, sizes = _norm_of(match), match.root, match.get("sizes")
    quantised, scale = root.results
    values = [*_inputs(match), match["smooth"], None, None, match["epsilon"]]
    y_type = _as_normalised(quantised.type, match)
    tokens = (sizes_of(norm.results[0]) or [])[:-1]
    scale_type = scale.type if sizes is None else type_with_sizes(scale.type, tokens)
    nothing = (interned.tensor([0], interned.i8), interned.tensor([0], interned.f32))
    types = [y_type, nothing[0], norm.results[2].type, scale_type, nothing[1]]
    fused = create(rewriter, "npu.npu_add_rms_norm_dynamic_quant", values, types, norm)
    y = _viewed(fused.results[0], quantised, sizes, rewriter)
    scales = _viewed(fused.results[3], scale, sizes[:-1] if sizes else None, rewriter)
    rewriter.replace(root, [y, scales])
    _finish(match, fused.results[2], rewriter)


def _finish(match: Match, total: SSAValue, rewriter: Rewriter) -> None:
    """Erase the norm and the view of its result."""
    view = match.operation(_VIEW)
    if view is not None:
        rewriter.erase(view)
    rewriter.replace(_norm_of(match), [None, None, total])


def _is_static(match: Match) -> bool:
    found = [match["scales"], match["points"]]
    columns = (shape_of(match["weight"]) or (interned.DYNAMIC,))[-1]
    return (
        _is_quantised_alone(match)
        and columns != interned.DYNAMIC
        and is_last_dim(match["axis"], match.root.results[0])
        and [element_of(v) for v in found if v is not None] in _ELEMENTS
        and all(shape_of(v) in ((1,), (columns,)) for v in found if v is not None)
        and all(_is_early(v, _norm_of(match)) for v in found if v is not None)
    )


def _is_early(parameter: SSAValue, norm: CallOp) -> bool:
    """Whether a parameter can be had before the norm, though it may stand behind it."""
    op = defining_op(parameter, *_MOVABLE)
    return is_available(parameter, norm) or (
        op is not None and all(_is_early(operand, norm) for operand in op.operands)
    )


def _early(parameter: SSAValue, norm: CallOp, rewriter: Rewriter) -> SSAValue:
    """A parameter before the norm."""
    if is_available(parameter, norm):
        return parameter
    op = defining_op(parameter, *_MOVABLE)
    assert op is not None, "the guard says so"
    values = [
        _early(cast(SSAValue, found), norm, rewriter) if isinstance(found, SSAValue) else found
        for found in op.arguments()
    ]
    return create(rewriter, op.name, values, [op.results[0].type], norm).results[0]


def _for_columns(parameter: SSAValue | None, norm: CallOp, rewriter: Rewriter) -> SSAValue | None:
    """One number per column: the operator takes no single one."""
    shape = shape_of(norm.operands[2])
    if parameter is None or shape is None:
        return None
    value = _early(parameter, norm, rewriter)
    if shape_of(value) == shape:
        return value
    type_ = interned.tensor(shape, element_of(value))
    return create(rewriter, "aten.expand", [value, list(shape)], [type_], norm).results[0]


_QUANTISED = call(
    "npu.npu_quantize", _NORMALISED, value("scales"), Hole("points"), _INT8, static("axis"), True
)


@rewrites(_QUANTISED, where=_is_static)
def fuse_static_quant(match: Match, rewriter: Rewriter) -> None:
    norm, quantised = _norm_of(match), match.root.results[0]
    scales, points = (_for_columns(match[name], norm, rewriter) for name in ("scales", "points"))
    values = [*_inputs(match), scales, points, None, None, None, -1, match["epsilon"]]
    y_type = _as_normalised(quantised.type, match)
    types = [y_type, y_type, norm.results[2].type]
    fused = create(rewriter, "npu.npu_add_rms_norm_quant", values, types, norm)
    y = _viewed(fused.results[0], quantised, match.get("sizes"), rewriter)
    rewriter.replace(match.root, [y])
    _finish(match, fused.results[2], rewriter)


@dataclass(frozen=True)
class FuseNormOutputPass(PatternPass):
    """Fuses what reads the result of a residual addition and RMS norm.

        %y, %r, %x = npu.npu_add_rms_norm(%a, %b, %w)        %q, %_, %x, %s, %_ =
        %q, %s = npu.npu_dynamic_quant(%y)               ->    npu.npu_add_rms_norm_dynamic_quant(
                                                                 %a, %b, %w)

    Also quantisation with known scales (``npu_quantize``) and a cast to float32. A view between
    moves behind the fused operator.

    Numeric class: approximates (the normalised tensor is not rounded to half precision between).
    Shown by: test/lit/passes/fuse-norm-output.mlir
    """

    name = "fuse-norm-output"
    numeric_class: ClassVar[str] = "approximates"
    patterns: ClassVar[tuple[Pattern, ...]] = (fuse_cast, fuse_dynamic_quant, fuse_static_quant)
