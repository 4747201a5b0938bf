"""Quantisation to int8 with one scale per token, which the token's largest value decides."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from xdsl.ir import Operation, SSAValue

from torchair.ir import interned
from torchair.ir.graph_pattern import (
    Match,
    call,
    erase_unused,
    one_of,
    rewrites,
    static,
    value,
)
from torchair.ir.rewrite import Pattern, Rewriter, defining_op
from torchair.passes.fuse_quant_scales import (
    LARGEST,
    Step,
    before_widening,
    is_factor,
    steps_to,
    widening_of,
)
from torchair.passes.fusion_forms import (
    HALVES,
    Size,
    cast_of,
    create,
    div,
    element_of,
    mul,
    sizes_of,
    type_with_sizes,
)
from torchair.passes.rewrite_pass import PatternPass

_X, _SCALE = value("x"), value("scale")
_SCALED = one_of(div(_X, _SCALE), mul(_X, _SCALE))
_ROUNDED = call("aten.round", _SCALED)
_LOW = static("low", lambda low: low in (-LARGEST - 1, -LARGEST))
_CODES = one_of(
    call("aten.clamp", _ROUNDED, _LOW, LARGEST),
    call("aten.round", call("aten.clamp", _SCALED, _LOW, LARGEST)),
    _ROUNDED,
)


def _steps(match: Match) -> list[Step] | None:
    """How the scale is computed, when it is the one that the fused operator computes."""
    token = before_widening(match["x"])
    steps = steps_to(match["scale"], token) if element_of(token) in HALVES else None
    is_division = any(op.name.startswith("aten.div") for op in match.calls)
    return None if steps is None or steps[-1].is_reciprocal is is_division else steps


def _is_dynamic(match: Match) -> bool:
    steps = _steps(match) if element_of(match.root.results[0]) == interned.i8 else None
    if steps is None:
        return False
    column = _column_of(match)
    return sizes_of(match["scale"]) == column and all(
        step.op.attributes == match.root.attributes and _is_replaceable(step, users, column)
        for step, users in _users(match, steps)
    )


def _users(match: Match, steps: list[Step]) -> list[tuple[Step, list[Operation]]]:
    """The steps and those users of their results that stay."""
    inside: set[Operation] = {*match.calls, *(step.op for step in steps)}
    return [(step, step.users_outside(inside)) for step in steps]


def _is_replaceable(step: Step, users: list[Operation], column: list[Size]) -> bool:
    """Whether the users of a step's result can take the fused operator's scale instead.

    Where the scale had a bound from below, only products may: the numbers are finer in the same
    measure.
    """
    if not users:
        return True
    is_alike = step.is_scale and sizes_of(step.op.results[0]) in (column, column[:-1])
    return is_alike and (step.floor == 0 or all(map(is_factor, users)))


def _column_of(match: Match) -> list[Size]:
    """Sizes of one number per token, as a column; none when they are not known."""
    return [*(sizes_of(before_widening(match["x"])) or [])[:-1], 1]


@rewrites(cast_of(_CODES), where=_is_dynamic)
def fuse_quantisation(match: Match, rewriter: Rewriter) -> None:
    steps = _steps(match)
    assert steps is not None, "the guard has found them"
    token, first = before_widening(match["x"]), steps[0].op
    tokens = type_with_sizes(interned.tensor([], interned.f32), _column_of(match)[:-1])
    types = [match.root.results[0].type, tokens]
    fused = create(rewriter, "npu.npu_dynamic_quant", [token], types, first)
    for step, users in _users(match, steps):
        if users:
            rewriter.replace_value(step.op.results[0], _like(step, fused.results[1], rewriter))
    rewriter.replace(match.root, fused.results[:1])
    sizes = defining_op(first.operands[0], "aten.abs")
    assert sizes is not None, "the steps begin there"
    casts = [widening_of(value) for value in (match["x"], sizes.operands[0])]
    unused = [*(step.op for step in steps), sizes, *(op for op in casts if op is not None)]
    erase_unused({**match.calls, **dict.fromkeys(unused, False)}, rewriter)


def _like(step: Step, scale: SSAValue, rewriter: Rewriter) -> SSAValue:
    """The fused operator's scale in the shape and element type of a step's result."""
    type_, value = step.op.results[0].type, scale
    if step.is_reciprocal:
        value = create(rewriter, "aten.reciprocal", [value], [value.type], step.op).results[0]
    if sizes_of(step.op.results[0]) != sizes_of(value):
        column = type_with_sizes(value.type, [*(sizes_of(value) or []), 1])
        value = create(rewriter, "aten.unsqueeze", [value, -1], [column], step.op).results[0]
    element = interned.element_type(type_)
    if element == interned.f32:
        return value
    return create(
        rewriter, "prims.convert_element_type", [value, element], [type_], step.op
    ).results[0]


@dataclass(frozen=True)
class FuseDynamicQuantPass(PatternPass):
    """Recognises symmetric quantisation per token.

        %1 = aten.amax(aten.abs(%x), [-1], true)
        %s = aten.div.Tensor(%1, 127)
        %2 = aten.round(aten.div.Tensor(%x, %s))        ->      %q, %s = npu.npu_dynamic_quant(%x)
        %3 = aten.clamp(%2, -128, 127)
        %q = aten._to_copy(%3, dtype = i8)

    Also with the reciprocal scale, and with a small bound of the scale from below, unless the scale
    is then used for more than products.

    Numeric class: approximates (the scale is float32, so numbers may differ by one).
    Shown by: test/lit/passes/fuse-dynamic-quant.mlir
    """

    name = "fuse-dynamic-quant"
    numeric_class: ClassVar[str] = "approximates"
    patterns: ClassVar[tuple[Pattern, ...]] = (fuse_quantisation,)
