"""Softmax of scores with a bias per head, and of scores of which a mask hides some."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

from xdsl.ir import SSAValue

from torchair.ir import interned
from torchair.ir.graph_pattern import (
    ANY,
    Call,
    Match,
    OneOf,
    call,
    one_of,
    rewrites,
    shared,
    static,
    value,
)
from torchair.ir.rewrite import Pattern, Rewriter
from torchair.passes.fusion_forms import (
    FLOATS,
    HALVES,
    VIEWS,
    Size,
    add,
    cast_of,
    create,
    div,
    element_of,
    is_last_dim,
    mul,
    sizes_of,
    type_with_sizes,
)
from torchair.passes.rewrite_pass import PatternPass

_LARGEST_WINDOW = 1024
"""Windows have fewer tokens: their rows and biases are held on the chip together."""
_LONGEST_ROW, _ROW_UNIT = 4096, 32
_LEAST = -1e4
"""What ScaledMaskedSoftmax puts in the place of hidden scores: their weights become zero, and those
of a row without other scores equal. Any smaller finite number does the same."""

_SCALED = one_of(mul(value("x"), static("factor")), div(value("x"), static("divisor")), value("x"))
_BIASED = add(_SCALED, value("bias"))
_IN_WINDOWS = call(VIEWS, add(call(VIEWS, _BIASED, ANY), value("mask")), ANY)
_BIASED_SOFTMAX = call("aten._softmax", one_of(_IN_WINDOWS, _BIASED), static("dim"), False)


def _is_biased(match: Match) -> bool:
    """Whether ``x`` is ``[batch * windows, heads, rows, columns]``, with a bias per head."""
    sizes, bias = sizes_of(match["x"]), sizes_of(match["bias"])
    root = match.root.results[0]
    return (
        sizes is not None
        and bias is not None
        and len(sizes) == 4
        and sizes == sizes_of(root)
        and bias in (sizes[1:], [1, *sizes[1:]])
        and all(isinstance(size, int) and size <= _LARGEST_WINDOW for size in sizes[1:])
        and element_of(root) in FLOATS
        and element_of(match["x"]) == element_of(match["bias"]) == element_of(root)
        and is_last_dim(match["dim"], root)
        and _is_of_windows(match, sizes)
    )


def _is_of_windows(match: Match, sizes: list[Size]) -> bool:
    """Whether the mask, if there is one, is ``[1, windows, 1, rows, columns]``."""
    added = match.operation(_IN_WINDOWS)
    if added is None:
        return True
    mask, total = sizes_of(match["mask"]), sizes_of(added.operands[0])
    return (
        total is not None
        and len(total) == 5
        and total[2:] == sizes[1:]
        and mask == [1, total[1], 1, *sizes[2:]]
        and element_of(match["mask"]) == element_of(match["x"])
    )


def _scale(match: Match) -> float:
    if match.get("factor") is not None:
        return float(match["factor"])
    return 1.0 / float(match["divisor"]) if match.get("divisor") is not None else 1.0


@rewrites(_BIASED_SOFTMAX, where=_is_biased)
def fuse_biased_softmax(match: Match, rewriter: Rewriter) -> None:
    root = match.root
    values = [match["x"], match.get("mask"), match["bias"], _scale(match)]
    name = "npu.npu_masked_softmax_with_rel_pos_bias"
    fused = create(rewriter, name, values, [root.results[0].type], root)
    rewriter.replace(root, fused.results)


def _number(name: str) -> OneOf:
    """A number as a tensor without dimensions."""
    named = {"dtype": ANY, "layout": ANY, "device": ANY, "pin_memory": ANY}
    return one_of(
        shared(Call(("aten.scalar_tensor",), (static(name),), named)),
        shared(Call(("aten.full",), ([], static(name)), named)),
    )


_MASKED = one_of(
    call("aten.masked_fill.Scalar", _SCALED, value("hidden"), static("least")),
    call("aten.where.self", value("shown"), _SCALED, _number("least")),
    call("aten.where.self", value("hidden"), _number("least"), _SCALED),
)
_WIDE_SOFTMAX = call("aten._softmax", cast_of(_MASKED), static("dim"), False)
_MASKED_SOFTMAX = one_of(
    cast_of(_WIDE_SOFTMAX), call("aten._softmax", _MASKED, static("dim"), False)
)


def _is_masked(match: Match) -> bool:
    """Whether the operator takes the scores ``[batch, heads, rows, columns]`` and the mask."""
    root = match.root.results[0]
    sizes, least = sizes_of(root), match["least"]
    wide = match.operation(_WIDE_SOFTMAX)
    return (
        sizes is not None
        and len(sizes) == 4
        and sizes == sizes_of(match["x"])
        and all(_is_fitting_length(size) for size in sizes[2:])
        and element_of(root) in HALVES
        and element_of(root) == element_of(match["x"])
        and (wide is None or element_of(wide.results[0]) == interned.f32)
        and isinstance(least, int | float)
        and math.isfinite(least)
        and least <= _LEAST
        and is_last_dim(match["dim"], root)
        and _is_fitting_mask(_mask(match), sizes)
    )


def _is_fitting_length(size: Size) -> bool:
    return isinstance(size, int) and _ROW_UNIT <= size <= _LONGEST_ROW and size % _ROW_UNIT == 0


def _mask(match: Match) -> SSAValue:
    hidden = match.get("hidden")
    return match["shown"] if hidden is None else hidden


def _is_fitting_mask(mask: SSAValue, sizes: list[Size]) -> bool:
    found = sizes_of(mask)
    if found is None or len(found) > 4 or element_of(mask) != interned.i1:
        return False
    pairs = zip(reversed(found), reversed(sizes), strict=False)
    return all(have in (1, want) for have, want in pairs)


@rewrites(_MASKED_SOFTMAX, where=_is_masked)
def fuse_masked_softmax(match: Match, rewriter: Rewriter) -> None:
    root, mask = match.root, _mask(match)
    if match.get("hidden") is None:
        mask = create(rewriter, "aten.logical_not", [mask], [mask.type], root).results[0]
    sizes, have = sizes_of(root.results[0]) or [], sizes_of(mask) or []
    leading = [1] * (4 - len(have))
    wanted = [*([*leading, *have])[:2], *sizes[2:]]
    if wanted != have:
        type_ = type_with_sizes(mask.type, wanted)
        target = [*leading, *([-1] * max(0, len(have) - 2)), *sizes[2:]]
        mask = create(rewriter, "aten.expand", [mask, target], [type_], root).results[0]
    values = [match["x"], mask, _scale(match)]
    name = "npu.npu_scaled_masked_softmax"
    fused = create(rewriter, name, values, [root.results[0].type], root)
    rewriter.replace(root, fused.results)


@dataclass(frozen=True)
class FuseMaskedSoftmaxPass(PatternPass):
    """Fuses what softmax is taken of: scaled scores with biases of heads or under a mask.

        %1 = aten.mul.Tensor(%x, 0.125)
        %2 = aten.masked_fill.Scalar(%1, %hidden, -3.4e38)    ->    %y = npu.npu_scaled_masked
        %y = aten._softmax(%2, dim = -1)                              _softmax(%x, %hidden, 0.125)

    Biases of heads (and masks of windows) are added in any float type; masks hide in 16-bit floats
    with a finite number, for the operator knows no infinity. Runs after ``fuse-attention``, which
    takes scores that nothing but attention reads.
    Numeric class: approximates. Shown by: test/lit/passes/fuse-masked-softmax.mlir
    """

    name = "fuse-masked-softmax"
    numeric_class: ClassVar[str] = "approximates"
    patterns: ClassVar[tuple[Pattern, ...]] = (fuse_biased_softmax, fuse_masked_softmax)
